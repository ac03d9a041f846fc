"""Layers scored together on an accelerator: their matrices are decomposed in one call.

An accelerator decomposes many small matrices in little more time than one. Every layer has a thread of its own,
which waits at each decomposition until all threads that are still at work have come to one. Then those that are at
the earliest place of the code have their turn: their matrices are stacked. So a layer that needs another step meets
the others again after it. What is decomposed together depends on the layers and not on how fast each thread was, so
that the same layers give the same bits.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

T = TypeVar("T")

_linalg: Any = torch.linalg  # partly without annotations

#: What is brought together: functions of matrices, with options by name.
DECOMPOSITIONS = {
    _linalg.cholesky,
    _linalg.cholesky_ex,
    _linalg.eigh,
    _linalg.pinv,
    _linalg.qr,
    _linalg.solve,
    _linalg.solve_triangular,
    _linalg.svd,
}


def together(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Run each task in a thread of its own, with matrices on accelerators decomposed together.

    A task that fails does not disturb the others. A single one decomposes as it would without this.

    Returns:
        The results, in the order of the tasks, when all are done.

    Raises:
        BaseException: What the first task that failed has raised.

    Example:
        >>> together([lambda: 1, lambda: 2])
        [1, 2]
    """
    meeting, results, threads = _Meeting(len(tasks)), [Future[T]() for _ in tasks], list[Thread]()
    try:
        for number, task in enumerate(tasks):
            thread = Thread(target=_attend, args=(meeting, number, task, results[number]), name="together")
            thread.start()
            threads.append(thread)
    finally:
        for _ in tasks[len(threads) :]:  # none, unless the system starts no more threads
            meeting.leave()
        for thread in threads:
            thread.join()
    return [result.result() for result in results]


@dataclass(eq=False)
class _Request:
    """A decomposition that a thread waits for.

    Attributes:
        number: Of the task.
        position: Lines of the calls that lead to it, outermost first. Threads that run the same code are in order.
        function: What decomposes the matrices, with these options.
        kind: Equal for those that can be stacked.
        outcome: The result, when it is there.
    """

    number: int
    position: tuple[int, ...]
    function: Callable[..., Any]
    matrices: tuple[torch.Tensor, ...]
    options: dict[str, Any]
    kind: tuple[Any, ...]
    outcome: Future[Any] = field(default_factory=Future)


class _Meeting:
    """Where threads wait for one another."""

    def __init__(self, count: int) -> None:
        self._at_work = count
        self._requests: list[_Request] = []
        self._changed = Condition()

    def leave(self) -> None:
        """Be no longer one of those that are waited for."""
        with self._changed:
            self._at_work -= 1
            self._decompose_if_all_wait()

    def decomposed(self, request: _Request) -> Any:
        """The result of a request, when all others have made one or left, and it is its turn."""
        with self._changed:
            self._requests.append(request)
            self._decompose_if_all_wait()
            self._changed.wait_for(request.outcome.done)
        return request.outcome.result()

    def _decompose_if_all_wait(self) -> None:
        if not self._requests or len(self._requests) < self._at_work:
            return
        earliest = min(request.position for request in self._requests)
        kinds: dict[Any, list[_Request]] = {}
        for request in sorted(self._requests, key=lambda request: request.number):
            if request.position == earliest:
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
        options = kwargs or {}
        if func not in DECOMPOSITIONS or not args or not all(map(_on_accelerator, args)):
            return func(*args, **options)
        position = tuple(line for _, line in traceback.walk_stack(inspect.currentframe()))[::-1]
        described = ((tuple(matrix.shape), matrix.dtype, matrix.device) for matrix in args)
        kind = (func, *sorted(options.items()), *described)
        return self._meeting.decomposed(_Request(self._number, position, func, args, options, kind))


def _on_accelerator(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type != "cpu"


def _attend(meeting: _Meeting, number: int, task: Callable[[], T], result: Future[T]) -> None:
    try:
        with _Attending(meeting, number):
            result.set_result(task())
    except BaseException as error:
        result.set_exception(error)
    finally:
        meeting.leave()


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
    """The outcomes of requests of one kind, from one call."""
    stacks = [torch.stack(matrices) for matrices in zip(*(each.matrices for each in requests), strict=True)]
    found = requests[0].function(*stacks, **requests[0].options)
    if isinstance(found, torch.Tensor):
        return list(found)
    # A factor that was not asked for is empty, whatever the number of matrices: Q of ``qr(mode="r")``.
    factors = [factor if len(factor) else [factor] * len(requests) for factor in found]
    return list(zip(*factors, strict=True))
