"""Best-of-n as a way to write: the reference answers n times, and one answer is chosen for the camps.

The choice follows a lottery over weights of the camps, found on other prompts by any optimiser (`Candidates` is their world).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.language.belonging import heard
from pluralign.language.candidates import Candidates, Chooser
from pluralign.language.text_belief import TextBelief, load_text_belief
from pluralign.language.writer import Writer, Written, load_writer
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.saving import appearing, read, write
from pluralign.streams import Seed, Streams

FORMAT = 1


@dataclass(frozen=True)
class Steered:
    """A writer whose answers are chosen.

    Attributes:
        writer: the reference.
        judge: reads answers.
        voices: G camps, or one rater.
        weight: (L, G) ways to weigh them. chance: (L,) of each.
        n: answers to choose from.
    """

    writer: Writer
    judge: TextBelief
    voices: Voices
    weight: Float[Tensor, "L G"]
    chance: Float[Tensor, " L"]
    n: int

    def write(self, prompts: Sequence[str], n: int = 1, *, seed: Seed = 0) -> Written:
        """n answers to each prompt, each the best of `self.n` by weights that are drawn for it."""
        streams = Streams.of(seed).below("steered")
        asked = [prompt for prompt in prompts for _ in range(n)]
        drawn = self.writer.write(asked, self.n, seed=streams.number("answers"))
        worth = heard(self.judge, self.voices)(drawn.prompts, drawn.answers).double()
        worth = worth.reshape(-1, self.n, worth.shape[-1])
        way = torch.multinomial(self.chance, len(asked), replacement=True, generator=streams("which weights"))
        best = torch.einsum("png,pg->pn", worth, self.weight.double()[way]).argmax(-1)
        rows = (torch.arange(len(asked)) * self.n + best).tolist()
        pick = lambda values: tuple(values[k] for k in rows)
        return Written(pick(drawn.prompts), pick(drawn.answers), pick(drawn.pieces))

    def save(self, folder: str | Path) -> None:
        """Write a new folder, complete or not at all; of the reference where it lies is kept, not the weights.

        Raises:
            FileExistsError: the folder exists.
        """
        with appearing(folder) as half:
            half.mkdir(parents=True)
            self.judge.save(half / "judge")
            write((self.voices, self.weight, self.chance), half / "choice", "choice")
            told = {"format": FORMAT, "writer": self.writer.name, "n": self.n}
            told |= {name: getattr(self.writer, name) for name in ("most", "temperature", "side", "chat")}
            (half / "steered.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def load_language_policy(folder: str | Path, *, device: str | None = None) -> Writer | Steered:
    """What `Writer.save` or `Steered.save` wrote."""
    folder = Path(folder)
    if not (folder / "steered.json").is_file():
        return load_writer(folder, device=device)
    told = json.loads((folder / "steered.json").read_text("utf-8"))
    if told.pop("format") != FORMAT:
        raise ValueError(f"{folder} is of another format, this version reads {FORMAT}; steer again.")
    n = told.pop("n")
    writer = load_writer(told.pop("writer"), device=device, **told)
    voices, weight, chance = read(folder / "choice", "choice", "steer")
    return Steered(writer, load_text_belief(folder / "judge", device=device), voices, weight, chance, n)


def weights_behind(lottery: Lottery, candidates: Candidates, voices: Voices) -> Float[Tensor, "L G"]:
    """(L, G) weights, in the voices' own units, whose best choice each policy of a lottery is; for the policies that are drawn."""
    asked = lottery.diagnostics.get("asked")
    if asked is None:
        return torch.as_tensor(lottery.diagnostics["weight"])[None]
    factor = lottery.diagnostics.get("scale_factor", torch.ones(len(voices)))
    every = asked.double() * torch.as_tensor(factor).double()
    made = [candidates.improve(voices, weight).chance for weight in every]
    found = []
    for policy in lottery.policies:
        assert isinstance(policy, Chooser)
        gap = torch.stack([(policy.chance - chance).abs().sum() for chance in made])
        found.append(every[int(gap.argmin())])
    return torch.stack(found)


def steered(
    writer: Writer, judge: TextBelief, voices: Voices, lottery: Lottery, candidates: Candidates
) -> Steered:
    """The way to write that a lottery over choices among `candidates` amounts to on any prompts."""
    weight = weights_behind(lottery, candidates, voices)
    return Steered(
        replace(writer),
        judge,
        voices,
        weight,
        lottery.chance.double() / lottery.chance.double().sum(),
        candidates.answers,
    )
