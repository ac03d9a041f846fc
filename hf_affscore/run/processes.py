"""The processes that share one analysis, as started by Accelerate: one, or several on one or more machines."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from hf_affscore.errors import AffscoreError, redacted

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")


class _Failure(NamedTuple):
    """Sent by a process in place of a value after an error."""

    error: BaseException


@dataclass
class Processes:
    """The rank of this process, the number of processes, and their communication.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        connections: The process group of torch that they communicate over; default: Accelerate's.
    """

    rank: int = 0
    size: int = 1
    connections: ProcessGroup | None = field(default=None, repr=False)
    # False once an error was sent or received, or an exchange was broken off: a further error is not sent.
    _in_step: bool = field(default=True, init=False, repr=False)

    @classmethod
    def current(cls, device: str | None = None) -> Processes:
        """The processes started by ``accelerate launch`` or ``torchrun``; a process started otherwise is alone.

        On a machine without an accelerator, Accelerate connects processes only if it is told to use the CPU.
        """
        import torch
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu" or not torch.accelerator.is_available())
        if state.num_processes > 1:
            _disconnect_at_exit()
        return cls(rank=state.process_index, size=state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def is_mine(self, number: int) -> bool:
        """Whether this process runs the batch with this number: batches are assigned in turn."""
        return number % self.size == self.rank

    def gather(self, value: T) -> list[T]:
        """One value from each process, by rank, in every process; also a barrier.

        Raises:
            Exception: The error that another process shared in place of its value.
        """
        self._in_step = False  # until all have answered
        values = self._exchanged(value)
        for each in values:
            if isinstance(each, _Failure):
                raise each.error
        self._in_step = True
        return values

    def broadcast(self, value: T) -> T:
        """The main process's value, in every process; the values of the others are not used."""
        return self.gather(value)[0]

    def from_main(self, action: Callable[[], T]) -> T:
        """The result of ``action`` in the main process, in every process; the others do not call it.

        Raises:
            Exception: What ``action`` raised; inside :meth:`sharing_errors` in every process.
        """
        return cast("T", self.broadcast(action() if self.is_main else None))

    def gather_at(self, rank: int, value: T) -> list[T]:
        """One value from each process, by rank, in process ``rank``; an empty list in the others."""
        if self.size == 1:
            return [value]
        from torch import distributed

        self._in_step = False
        gathered: list[Any] = []
        if self.rank == rank:  # its own value need not travel
            gathered = [None] * self.size
            distributed.gather_object(None, gathered, dst=rank, group=self.connections)
            gathered[rank] = value
        else:
            distributed.gather_object(value, dst=rank, group=self.connections)
        self._in_step = True
        return gathered

    @contextmanager
    def sharing_errors(self) -> Iterator[None]:
        """The body succeeds in all processes or in none.

        An error of one process is raised in the others at their next exchange, at the latest at the end of the
        body: an error of this package unchanged, any other as a RuntimeError that names the process. An
        interruption is not shared, since the next exchange of the others may be far off; the launcher ends them.
        """
        self._in_step = True
        try:
            yield
            self.gather(None)
        except Exception as error:
            self.share(error)
            raise

    def share(self, error: BaseException) -> None:
        """Send ``error`` to the others at their next exchange, unless they know of an error already."""
        if self._in_step:
            with suppress(
                BaseException
            ):  # it comes back here too; others may have failed as well, or be gone
                self.gather(_Failure(self._sendable(error)))

    def _exchanged(self, value: Any) -> list[Any]:
        if self.size == 1:
            return [value]
        from torch import distributed

        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, value, group=self.connections)
        return gathered

    def _sendable(self, error: BaseException) -> BaseException:
        """The error in a form that can be pickled, with the same message."""
        if isinstance(error, AffscoreError | KeyboardInterrupt):
            return type(error)(str(error))
        if isinstance(error, SystemExit):
            return SystemExit(error.code if isinstance(error.code, int) else str(error))
        return RuntimeError(redacted(f"Process {self.rank} failed: {type(error).__name__}: {error}"))

    def with_own_connections(self) -> Processes:
        """The same processes over separate connections, for use in another thread at the same time.

        They use gloo on CPUs, so that data does not pass through an accelerator's memory.
        """
        if self.size == 1:
            return self
        from torch import distributed

        return replace(self, connections=_second_connections(distributed.group.WORLD))

    def disconnect(self) -> None:
        """Close all connections when the work is done: gloo's threads may otherwise abort the process at exit."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()
            _second_connections.cache_clear()


@functools.cache
def _disconnect_at_exit() -> None:
    """Close connections before the process exits: otherwise gloo aborts one in ten after its work is done."""
    from torch import distributed

    def disconnect() -> None:
        if not distributed.is_initialized():
            return
        if distributed.get_backend() == "gloo":
            distributed.destroy_process_group()  # all connections there are
        elif _second_connections.cache_info().currsize:
            distributed.destroy_process_group(_second_connections(distributed.group.WORLD))
        _second_connections.cache_clear()

    atexit.register(disconnect)


@functools.cache
def _second_connections(first: ProcessGroup) -> ProcessGroup:
    """A gloo process group, made once for the ``first`` connections and closed with them."""
    from torch import distributed

    return cast("ProcessGroup", distributed.new_group(backend="gloo"))
