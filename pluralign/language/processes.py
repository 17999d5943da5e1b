"""Training by several processes, as `accelerate launch` or `torchrun` starts them; nothing of it where there is one.

Each process holds the model and reads its own prompts of a step; accelerate's DistributedDataParallel adds gradients up.
The population is fitted in every process alike, from hidden states that each has gathered.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
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
    """

    rank: int = 0
    count: int = 1
    engine: Any = None

    @staticmethod
    def here() -> "Processes":
        """What the launcher said in the environment."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return Processes()
        accelerate = need("accelerate")
        # Processes read different numbers of batches, so that nothing may be exchanged on the way forward.
        wrapping = accelerate.DistributedDataParallelKwargs(
            broadcast_buffers=False, find_unused_parameters=True
        )
        engine = accelerate.Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[wrapping])
        if str(engine.distributed_type).endswith("FSDP"):
            raise ValueError(
                "FSDP exchanges weights in every forward pass, and processes here make different numbers of them; "
                "launch without FSDP, and train adapters where the model is large."
            )
        return Processes(engine.process_index, engine.num_processes, engine)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def wrapped(self, model: Any) -> Any:
        """The model, with gradients added up over processes; it keeps its `config`."""
        if self.engine is None:
            return model
        made = self.engine.prepare_model(model)
        made.config = model.config
        return made

    def part(self, data: Comparisons, group: Tensor) -> Comparisons:
        """The answers of this process: those about its prompts, every `count`-th of the step."""
        if self.count == 1:
            return data
        _, place = torch.unique(group[data.slate[:, 0]], return_inverse=True)
        return data.take(place % self.count == self.rank)

    def gathered(self, mine: Tensor) -> Tensor:
        """Rows that process r holds as r, r + count, r + 2 count, ... of the whole, in their order again."""
        if self.engine is None:
            return mine
        parts = need("accelerate.utils").gather_object([mine.cpu()])
        out = torch.empty(sum(map(len, parts)), *mine.shape[1:], dtype=mine.dtype)
        for rank, part in enumerate(parts):
            out[rank :: self.count] = part
        return out

    def total(self, number: int) -> int:
        """The sum over processes."""
        return number if self.engine is None else sum(need("accelerate.utils").gather_object([number]))

    def agreed(self, value: Any) -> Any:
        """What the first process says."""
        if self.engine is None:
            return value
        box: Sequence[Any] = need("accelerate.utils").broadcast_object_list([value])
        return box[0]
