"""What goes wrong between a client and the Hub, on order and a stated number of times."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field


@dataclass
class Fault:
    """The next ``times`` requests that match get an error, or a cut connection, instead of an answer.

    Attributes:
        method: The HTTP method it waits for.
        path: A regular expression that must be found in the request's path.
        status: The status of the answer; ``None`` cuts the connection before the body has been read whole.
        headers: Sent with the answer, such as ``Retry-After``.
        times: How often.
        after: Whether the request takes effect first, so that only the answer is lost.
    """

    method: str
    path: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: bool = False


class Faults:
    """The faults still to come."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, used up by asking."""
        with self._lock:
            for fault in self._waiting:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None
