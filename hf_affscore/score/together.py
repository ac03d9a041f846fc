"""Layers scored together on an accelerator: their matrices are decomposed in one call.

An accelerator decomposes many small matrices in little more time than one. Every layer has a thread of its own,
which waits at each decomposition until all threads that are still at work have come to one. Then it is the turn of
those that are furthest behind in the code, all at one place of it: their matrices are stacked. A layer that needs
another step meets the others again after it. What is decomposed together depends on the layers and not on how fast
each thread was, so that the same layers give the same bits.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

T = TypeVar("T")

#: Called with matrices, and named options that say the same of all of them.
_linalg: Any = torch.linalg  # partly without annotations
DECOMPOSITIONS = {
    *(_linalg.cholesky, _linalg.cholesky_ex, _linalg.eigh, _linalg.pinv, _linalg.qr),
    *(_linalg.solve, _linalg.solve_triangular, _linalg.svd),
}


def together(tasks: Sequence[Callable[[], T]]) -> list[Future[T]]:
    """Run each task in a thread of its own, with matrices on accelerators decomposed together.

    A task of its own decomposes as it would without this. One that fails does not disturb the others.

    Returns:
        For each task a future that is done: it has the result, or raises what the task has raised.

    Example:
        >>> first, second = together([lambda: 1, lambda: 1 // 0])
        >>> first.result(), second.exception()
        (1, ZeroDivisionError('integer division or modulo by zero'))
    """
    meeting = _Meeting(len(tasks))
    with ThreadPoolExecutor(max(1, len(tasks)), "together") as threads:
        futures = [threads.submit(_attend, meeting, number, task) for number, task in enumerate(tasks)]
        wait(futures)
    return futures


@dataclass(eq=False)
class _Request:
    """A decomposition that a thread waits for.

    Attributes:
        number: Of the task.
        position: Lines of the calls that lead to it, outermost first: where threads run the same code, the smaller
            is behind.
        function: What decomposes the matrices, with these options.
        outcome: The result, when it is there.
    """

    number: int
    position: tuple[int, ...]
    function: Callable[..., Any]
    matrices: tuple[torch.Tensor, ...]
    options: dict[str, Any]
    outcome: Future[Any] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for those that can be stacked."""
        described = ((tuple(matrix.shape), matrix.dtype, matrix.device) for matrix in self.matrices)
        return (self.function, *sorted(self.options.items()), *described)


class _Meeting:
    """Where threads wait for one another."""

    def __init__(self, count: int) -> None:
        self._at_work = count
        self._requests: list[_Request] = []
        self._changed = Condition()

    def decomposed(self, request: _Request) -> Any:
        """The result of a request, when all threads have made one or left, and it is its turn."""
        with self._changed:
            self._requests.append(request)
            self._decompose_if_all_wait()
            self._changed.wait_for(request.outcome.done)
        return request.outcome.result()

    def leave(self) -> None:
        """Called once by each thread, at its end."""
        with self._changed:
            self._at_work -= 1
            self._decompose_if_all_wait()

    def _decompose_if_all_wait(self) -> None:
        if not self._requests or len(self._requests) < self._at_work:
            return
        behind = min(request.position for request in self._requests)
        kinds: dict[Any, list[_Request]] = {}
        for request in sorted(self._requests, key=lambda request: request.number):
            if request.position == behind:
                kinds.setdefault(request.kind, []).append(request)
        for alike in kinds.values():
            _decompose(alike)
        self._requests = [request for request in self._requests if not request.outcome.done()]
        self._changed.notify_all()


class _Attending(TorchFunctionMode):
    """Brings the decompositions of one thread to the meeting."""

    def __init__(self, meeting: _Meeting, number: int) -> None:
        super().__init__()
        self._meeting = meeting
        self._number = number

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func not in DECOMPOSITIONS or args[0].device.type == "cpu":
            return func(*args, **(kwargs or {}))
        return self._meeting.decomposed(_Request(self._number, _position(), func, args, kwargs or {}))


def _attend(meeting: _Meeting, number: int, task: Callable[[], T]) -> T:
    try:
        with _Attending(meeting, number):
            return task()
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the memory of the layer
        raise
    finally:
        meeting.leave()


def _position() -> tuple[int, ...]:
    """The lines of all calls of this thread, outermost first."""
    return tuple(line for _, line in traceback.walk_stack(None))[::-1]


def _decompose(requests: Sequence[_Request]) -> None:
    """Give every request its outcome: from one call or, where that fails, from one each."""
    try:
        outcomes = _decomposed(requests) if len(requests) > 1 else None
    except Exception:  # one matrix is to blame, or a want of memory
        outcomes = None
    for i, request in enumerate(requests):
        try:
            outcome = (
                request.function(*request.matrices, **request.options) if outcomes is None else outcomes[i]
            )
            request.outcome.set_result(outcome)
        except BaseException as error:
            request.outcome.set_exception(error)


def _decomposed(requests: Sequence[_Request]) -> list[Any]:
    stacks = map(torch.stack, zip(*(request.matrices for request in requests), strict=True))
    found = requests[0].function(*stacks, **requests[0].options)
    if isinstance(found, torch.Tensor):
        return list(found)
    factors = [factor if len(factor) else [factor] * len(requests) for factor in found]  # some have no Q
    return list(zip(*factors, strict=True))
