"""The one training loop of writers: AdamW step by step, put aside on the way so that a stopped run goes on."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pluralign.language.processes import Processes

Descend = Callable[
    [Iterable[Tensor]], None
]  # losses that are added up, each with its gradient taken before the next
Row = dict[str, Any]
NAME = "aside"


@dataclass(frozen=True)
class Steps:
    """Settings of the loop.

    Attributes:
        updates: steps.
        rate: of AdamW, falling to a tenth of it.
        clip: largest norm of a step's gradient.
        momentum: of AdamW; little of it where two sides answer each other, as it makes them overshoot.
        average: the share of the last steps whose weights are averaged at the end, so that what still swings is evened out.
        every: steps between two times that everything is put aside.
    """

    updates: int
    rate: float
    clip: float = 1.0
    momentum: float = 0.9
    average: float = 0.0
    every: int = 20

    def run(
        self,
        moving: Sequence[Tensor],
        step: Callable[[int, Descend], Row],
        state: dict[str, Tensor],
        *,
        folder: Path | None = None,
        progress: Callable[[int], Any] | None = None,
        group: Processes | None = None,
    ) -> list[Row]:
        """Rows that the steps returned.

        Args:
            moving: weights that learn.
            step: gets its number and a way to descend; changes the tensors of `state` in place by name.
            state: what it remembers from step to step.
            folder: where to put things aside, and to go on from; a step must draw all chance by its number.
            progress: told 1 after each step.
            group: of processes, each of which descends its share of the losses; the first puts things aside.
        """
        group = group or Processes()
        optimiser = torch.optim.AdamW(moving, lr=self.rate, betas=(self.momentum, 0.999), weight_decay=0.0)
        late = self.updates - round(self.average * self.updates)
        if late < self.updates:
            state |= {f"mean {k}": torch.zeros_like(value) for k, value in enumerate(moving)}
        rows = [] if folder is None else _back(folder / NAME, moving, optimiser, state)
        if progress is not None and rows:
            progress(len(rows))
        for number in range(len(rows), self.updates):
            for some in optimiser.param_groups:
                some["lr"] = self.rate * (1 - 0.9 * number / self.updates)

            def descend(losses: Iterable[Tensor]) -> None:
                optimiser.zero_grad()
                for loss in losses:
                    loss.backward()
                group.added(moving)
                torch.nn.utils.clip_grad_norm_(moving, self.clip)
                optimiser.step()

            rows.append({"step": number, **step(number, descend)})
            if number >= late:
                for k, value in enumerate(moving):
                    state[f"mean {k}"].add_(value.detach(), alpha=1 / (self.updates - late))
            if folder is not None and group.first and (number + 1) % self.every == 0:
                _aside(folder / NAME, moving, optimiser, state, rows)
            if progress is not None:
                progress(1)
        if late < self.updates:
            with torch.no_grad():
                for k, value in enumerate(moving):
                    value.copy_(state[f"mean {k}"])
        return rows


def _aside(
    place: Path,
    moving: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    state: dict[str, Tensor],
    rows: list[Row],
) -> None:
    from safetensors.torch import save_file

    half = place.with_name(place.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    found = {f"moving.{k}": value.detach().contiguous() for k, value in enumerate(moving)}
    for k, value in enumerate(moving):
        found |= {f"adam.{k}.{name}": x.contiguous() for name, x in optimiser.state[value].items()}
    found |= {f"state.{name}": value.clone() for name, value in state.items()}
    save_file(found, half / "steps.safetensors")
    (half / "steps.json").write_text(json.dumps(rows), "utf-8")
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    half.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _back(
    place: Path, moving: Sequence[Tensor], optimiser: torch.optim.Optimizer, state: dict[str, Tensor]
) -> list[Row]:
    from safetensors.torch import load_file

    if not (place / "steps.json").is_file():
        return []
    found = load_file(place / "steps.safetensors")
    with torch.no_grad():
        for k, value in enumerate(moving):
            value.copy_(found[f"moving.{k}"])
            mine = f"adam.{k}."
            optimiser.state[value] = {
                name.removeprefix(mine): x.to(value.device) if x.dim() else x
                for name, x in found.items()
                if name.startswith(mine)
            }
    for name in state:
        state[name] = found[f"state.{name}"].to(state[name].device)
    return list(json.loads((place / "steps.json").read_text("utf-8")))
