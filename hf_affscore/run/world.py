"""The processes that share one analysis, as Accelerate started them: one, several on a machine, or on many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Which of how many processes this is.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

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
        from accelerate.utils import gather_object

        gathered: list[T] = gather_object([value])
        return gathered

    def gather_at(self, rank: int, value: T) -> list[T]:
        """One value from each process, by rank, in one of them; nothing in the others."""
        if self.size == 1:
            return [value]
        from torch import distributed

        gathered: list[Any] | None = [None] * self.size if self.rank == rank else None
        distributed.gather_object(value, gathered, dst=rank)
        return gathered or []

    def leave(self) -> None:
        """Part from the others, when all is done: threads of the transport may abort a process that just ends."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()
