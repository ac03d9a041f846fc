"""The processes that share one analysis, as Accelerate started them: one, several on a machine, or on many."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from hf_affscore.errors import AffscoreError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")


class _Failure(NamedTuple):
    """What a process tells the others in place of a value, because it cannot go on."""

    error: Exception


@dataclass
class Processes:
    """Which of how many processes this is.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        group: The connections between them; Accelerate's by default.
    """

    rank: int = 0
    size: int = 1
    group: ProcessGroup | None = field(default=None, repr=False)
    # An error was told or heard, or nobody answers: a further one is not told.
    _parted: bool = field(default=False, init=False, repr=False)

    @classmethod
    def current(cls, device: str | None = None) -> Processes:
        """What ``accelerate launch`` or ``torchrun`` started; by itself a process is alone.

        Without an accelerator in the machine, Accelerate joins processes only if it is told to use the CPU.
        """
        import torch
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu" or not torch.accelerator.is_available())
        if state.num_processes > 1:
            _part_at_exit()
        return cls(rank=state.process_index, size=state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def is_mine(self, number: int) -> bool:
        """Whether the batch with this number is this process's work: they are dealt out in turn."""
        return number % self.size == self.rank

    def gather(self, value: T) -> list[T]:
        """One value from each process, by rank, in every process; or the error that one of them tells."""
        self._parted = True  # unless all answer
        everybodys = self._exchanged(value)
        for told in everybodys:
            if isinstance(told, _Failure):
                raise told.error
        self._parted = False
        return everybodys

    def gather_at(self, rank: int, value: T) -> list[T]:
        """One value from each process, by rank, in one of them; nothing in the others."""
        if self.size == 1:
            return [value]
        from torch import distributed

        self._parted = True
        gathered: list[Any] = []
        if self.rank == rank:  # its own value need not travel
            gathered = [None] * self.size
            distributed.gather_object(None, gathered, dst=rank, group=self.group)
            gathered[rank] = value
        else:
            distributed.gather_object(value, dst=rank, group=self.group)
        self._parted = False
        return gathered

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is inside succeeds in all processes or in none.

        An error of one is raised in the others, where they gather next, at the latest at the end: one of this
        package as it is, another as a RuntimeError that names the process.
        """
        self._parted = False
        try:
            yield
            self.gather(None)
        except Exception as error:
            if not self._parted:
                with suppress(Exception):  # others may fail at the same time, or be gone
                    self.gather(_Failure(self._to_be_told(error)))
            raise

    def _exchanged(self, value: Any) -> list[Any]:
        if self.size == 1:
            return [value]
        from torch import distributed

        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, value, group=self.group)
        return gathered

    def _to_be_told(self, error: Exception) -> Exception:
        if isinstance(error, AffscoreError):
            return type(error)(str(error))
        return RuntimeError(f"Process {self.rank} failed: {type(error).__name__}: {error}")

    def apart(self) -> Processes:
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
            _second_connections.cache_clear()


@functools.cache
def _part_at_exit() -> None:
    """Have a process that just ends part first: gloo aborts one in ten otherwise, whatever it has achieved."""
    from torch import distributed

    def part() -> None:
        if not distributed.is_initialized():
            return
        if distributed.get_backend() == "gloo":
            distributed.destroy_process_group()  # all connections there are
        elif _second_connections.cache_info().currsize:
            distributed.destroy_process_group(_second_connections(distributed.group.WORLD))
        _second_connections.cache_clear()

    atexit.register(part)


@functools.cache
def _second_connections(first: ProcessGroup) -> ProcessGroup:
    """Made once beside the ``first`` ones; they end with them."""
    from torch import distributed

    return cast("ProcessGroup", distributed.new_group(backend="gloo"))
