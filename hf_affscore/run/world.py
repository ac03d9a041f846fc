"""The processes that share one analysis, as Accelerate started them: one, several on a machine, or on many."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Which of how many processes this is.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        group: The connections between them; Accelerate's by default.
    """

    rank: int = 0
    size: int = 1
    group: ProcessGroup | None = field(default=None, repr=False)

    @classmethod
    def current(cls, device: str | None = None) -> World:
        """What ``accelerate launch`` or ``torchrun`` started; by itself a process is alone.

        Without an accelerator in the machine, Accelerate joins processes only if it is told to use the CPU.
        """
        import torch
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu" or not torch.accelerator.is_available())
        return cls(rank=state.process_index, size=state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def owns(self, number: int) -> bool:
        """Whether the batch with this number is this process's work: they are dealt out in turn."""
        return number % self.size == self.rank

    def gather(self, value: T) -> list[T]:
        """One value from each process, by rank, in every process."""
        if self.size == 1:
            return [value]
        from torch import distributed

        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, value, group=self.group)
        return gathered

    def gather_at(self, rank: int, value: T) -> list[T]:
        """One value from each process, by rank, in one of them; nothing in the others."""
        if self.size == 1:
            return [value]
        from torch import distributed

        if self.rank != rank:
            distributed.gather_object(value, dst=rank, group=self.group)
            return []
        gathered: list[Any] = [None] * self.size
        distributed.gather_object(None, gathered, dst=rank, group=self.group)
        gathered[rank] = value  # its own need not travel
        return gathered

    def apart(self) -> World:
        """The same processes over connections of their own, so that another thread may use them meanwhile.

        They join CPUs: what they carry does not pass through an accelerator's memory.
        """
        if self.size == 1:
            return self
        from torch import distributed

        return replace(self, group=_second_connections(distributed.group.WORLD))

    def leave(self) -> None:
        """Part from the others, when all is done: threads of the transport may abort a process that just ends."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()


@functools.cache
def _second_connections(first: ProcessGroup) -> ProcessGroup:
    """Made once beside the ``first`` ones; they end with them."""
    from torch import distributed

    return cast("ProcessGroup", distributed.new_group(backend="gloo"))
