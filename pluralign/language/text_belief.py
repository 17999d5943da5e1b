"""A belief about texts: a backbone, and a population whose tastes read its hidden states."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import nearest
from pluralign.data.judgements import text_id
from pluralign.data.options import Texts
from pluralign.language.backbone import Backbone, load_backbone
from pluralign.language.once import encode, pieces_of
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.saving import load as load_belief
from pluralign.saving import appearing

FORMAT = 1
_KEPT = ("layer", "pooling", "longest", "side", "chat")


@dataclass(frozen=True)
class TextBelief:
    """What a population believes about texts.

    Attributes:
        belief: over hidden states.
        backbone: that gives them.
        tune: what was trained of the backbone: "lora", "full" or "none".
        base: where the untrained backbone came from.
        notes: numbers about the fit: work done, held-out loss by round.
    """

    belief: Belief
    backbone: Backbone
    tune: str
    base: str
    notes: Mapping[str, Any] = field(default_factory=dict)

    def texts(self, prompts: Sequence[str], answers: Sequence[str], *, at_once: int = 8192) -> Texts:
        """N texts with their hidden states."""
        with torch.no_grad():
            states = encode(self.backbone, pieces_of(self.backbone, prompts, answers), at_once=at_once).states
        whole = tuple(f"{p}\n\n{a}" if p else a for p, a in zip(prompts, answers))
        ids = tuple(f"{text_id(text)} {k}" for k, text in enumerate(whole))
        return Texts(whole, states.cpu(), ids)

    def reward(
        self, prompts: Sequence[str], answers: Sequence[str], rater: str | None = None
    ) -> Float[Tensor, " N"]:
        """Expected worth in utils of N answers to one rater, or to somebody not met; only differences mean anything.

        Raises:
            KeyError: the rater was never met.
        """
        return self.belief.utility(self.texts(prompts, answers), self.of(rater))[0]

    def of(self, rater: str | None) -> Draws:
        """Tastes of one rater, or those of the population."""
        if rater is None:
            nobody = Comparisons(
                Texts(("",), torch.zeros(1, self.backbone.width)),
                torch.zeros(0, 2, dtype=torch.long),
                torch.zeros(0, dtype=torch.long),
                torch.zeros(0, 2),
                rater_ids=("new",),
            )
            return self.belief.adapt(nobody)
        if rater not in self.belief.rater_ids:
            raise KeyError(
                f"no rater {rater!r} was met in training{nearest(rater, self.belief.rater_ids)}; give their answers to "
                "belief.adapt, or leave the rater out."
            )
        return self.belief.draws.take(torch.tensor([self.belief.rater_ids.index(rater)]))

    def seen(self, data: Comparisons, prompts: Sequence[str], answers: Sequence[str]) -> Comparisons:
        """The same answers over options with hidden states, for `belief.predict`, `adapt` and `evaluate`."""
        read = self.texts(prompts, answers)
        return dataclasses.replace(data, options=dataclasses.replace(read, ids=data.options.ids))

    def save(self, folder: str | Path) -> None:
        """Write a new folder, complete or not at all: adapters as peft reads them (or a model as transformers does), the
        tokenizer, text.json, and `belief/`.

        Raises:
            FileExistsError: the folder exists.
        """
        with appearing(folder) as half:
            half.mkdir(parents=True)
            if self.tune != "none":
                self.backbone.model.save_pretrained(half)
            self.backbone.tokenizer.save_pretrained(half)
            self.belief.save(half / "belief")
            told = {name: getattr(self.backbone, name) for name in _KEPT}
            told |= {"format": FORMAT, "tune": self.tune, "base": self.base, "notes": dict(self.notes)}
            (half / "text.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def load_text_belief(folder: str | Path, *, device: str | None = None) -> TextBelief:
    """What `TextBelief.save` wrote.

    Raises:
        FileNotFoundError: no such belief lies there.
        ValueError: the backbone it was trained on is not where it was.
    """
    folder = Path(folder)
    if not (folder / "text.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no belief about texts (text.json is missing); give a folder that `pluralign fit --backbone` wrote."
        )
    told = json.loads((folder / "text.json").read_text("utf-8"))
    if told.get("format") != FORMAT:
        raise ValueError(
            f"{folder} is of format {told.get('format')!r}, this version reads {FORMAT}; fit again."
        )
    source = told["base"] if told["tune"] == "none" else folder
    body = load_backbone(source, device=device, **{name: told[name] for name in _KEPT})
    return TextBelief(load_belief(folder / "belief"), body, told["tune"], told["base"], told["notes"])
