"""Training by several processes, as `accelerate launch` or `torchrun` starts them; nothing of it where there is one.

Each process reads its own prompts of a step. Either it holds the model, and DistributedDataParallel adds gradients up; or
it holds a slice of every weight, gradient and moment (FSDP, version 2), which come together layer by layer on every way
through. The population is fitted in every process alike, from hidden states that each has gathered.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.language.needs import need


@dataclass(frozen=True)
class Processes:
    """This process and how many there are.

    Attributes:
        rank: from 0. count: of all. engine: an `accelerate.Accelerator`, or None where there is one process.
        sharded: whether weights are held in slices.
    """

    rank: int = 0
    count: int = 1
    engine: Any = None
    sharded: bool = False

    @staticmethod
    def here() -> "Processes":
        """What the launcher said in the environment.

        Raises:
            ValueError: it asks for the first version of FSDP.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return Processes()
        return _met(os.environ.get("RANK", "0"), sharding())

    @staticmethod
    def whole_models() -> "Processes":
        """The same, for work in which each process holds a model whole.

        Raises:
            ValueError: the launcher asks for slices.
        """
        if sharding():
            raise ValueError(
                "a language policy is held whole by every process, and this launch asks for FSDP; launch without it."
            )
        return Processes.here()

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def wrapped(self, model: Any, optimiser: Any) -> tuple[Any, Any]:
        """The model and its optimiser, with gradients added up over processes; the model keeps its `config`."""
        if self.engine is None:
            return model, optimiser
        made, optimiser = self.engine.prepare(model, optimiser)
        made.config = model.config
        return made, optimiser

    def part(self, data: Comparisons, group: Tensor) -> Comparisons:
        """The answers of this process: those about its prompts, every `count`-th of the step."""
        if self.count == 1:
            return data
        _, place = torch.unique(group[data.slate[:, 0]], return_inverse=True)
        return data.take(place % self.count == self.rank)

    def ways(self, mine: int) -> int:
        """How often this process must go through the model, which needs `mine` times: as often as any, where weights
        come together on the way."""
        if not self.sharded:
            return mine
        return max(need("accelerate.utils").gather_object([mine]))

    def sliced(self, model: Any) -> None:
        """Leave slices of weights alone in memory, so that the next way through sees what was changed in them."""
        if self.sharded:
            from torch.distributed.fsdp import FSDPModule

            for module in model.modules():
                if isinstance(module, FSDPModule):
                    module.reshard()

    def whole(self, model: Any) -> dict[str, Tensor]:
        """All weights, put together in the first process; nothing in others."""
        found: dict[str, Tensor] = {}
        for name, value in model.state_dict().items():
            full = value.full_tensor() if hasattr(value, "full_tensor") else value
            if self.first:
                found[name] = full.cpu()
        return found

    def gathered(self, mine: Tensor) -> Tensor:
        """Rows that process r holds as r, r + count, r + 2 count, ... of the whole, in their order again."""
        if self.engine is None:
            return mine
        parts = need("accelerate.utils").gather_object([mine.cpu()])
        out = torch.empty(sum(map(len, parts)), *mine.shape[1:], dtype=mine.dtype)
        for rank, part in enumerate(parts):
            out[rank :: self.count] = part
        return out

    def added(self, weights: Sequence[Tensor]) -> None:
        """Add up over processes the gradients that each found of some of the losses, in place."""
        if self.engine is None:
            return
        every = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        whole = need("accelerate.utils").reduce(torch.cat([one.reshape(-1) for one in every]), "sum")
        for one, part in zip(weights, whole.split([one.numel() for one in every]), strict=True):
            one.grad = part.view_as(one)

    def joined(self, mine: Sequence[Any]) -> list[Any]:
        """What process r holds as number r, r + count, r + 2 count, ... of the whole, in order again."""
        if self.engine is None:
            return list(mine)
        parts = need("accelerate.utils").gather_object([list(mine)])
        out = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            out[rank :: self.count] = part
        return out

    def total(self, number: float | int) -> float | int:
        """The sum over processes."""
        return number if self.engine is None else sum(need("accelerate.utils").gather_object([number]))

    def agreed(self, value: Any) -> Any:
        """What the first process says."""
        if self.engine is None:
            return value
        box: Sequence[Any] = need("accelerate.utils").broadcast_object_list([value])
        return box[0]


def device() -> str:
    """Where this process puts a model: its own GPU, where there are any."""
    if not torch.cuda.is_available():
        return "cpu"
    mine = os.environ.get("LOCAL_RANK")
    return "cuda" if mine is None else f"cuda:{int(mine) % torch.cuda.device_count()}"


def sharding() -> bool:
    """Whether the launcher asked that weights be held in slices."""
    return (
        os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        and int(os.environ.get("WORLD_SIZE", "1")) > 1
    )


@cache
def _met(rank: str, sharded: bool) -> Processes:
    """The engine of this process, made once."""
    if sharded and os.environ.get("FSDP_VERSION", "1") != "2":
        raise ValueError(
            "FSDP is supported in its version 2, and this launch asks for version 1; add --fsdp_version 2."
        )
    accelerate = need("accelerate")
    # Processes read different numbers of batches, so that nothing may be exchanged on the way forward.
    wrapping = accelerate.DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=True)
    plugin = need("accelerate.utils").FullyShardedDataParallelPlugin(fsdp_version=2) if sharded else None
    engine = accelerate.Accelerator(
        cpu=not torch.cuda.is_available(), kwargs_handlers=[wrapping], fsdp_plugin=plugin
    )
    if sharded and engine.device.type == "cpu":
        # accelerate leaves FSDP to accelerators and forgets it here; torch does it on processors as well.
        engine.state.distributed_type = need("accelerate.utils").DistributedType.FSDP
        engine.state.fsdp_plugin = plugin
    return Processes(engine.process_index, engine.num_processes, engine, sharded)
