"""Repeats requests to the Hub after conflicts and temporary faults, as late as the Hub asks for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from hf_affscore.compat import client_error, is_connection_error, status_of, unresolved_errors

CONFLICTS = 30  # most attempts that may fail because another commit came first
FAULTS = 6  # most attempts that may fail because of the Hub or the network
LONGEST_PAUSE = 8.0  # seconds between two attempts
PATIENCE = 300.0  # longest pause in seconds that a Retry-After may ask for

T = TypeVar("T")


def waited(action: Callable[[], T]) -> T:
    """The result of ``action``, repeated only where the Hub asks to wait (429).

    For requests that read: the client repeats other faults itself, or has its cache to fall back on.

    Raises:
        Exception: Any other error of the Hub's client, and that of the last attempt.
    """
    return retried(action, passes=lambda error: status_of(error) == 429)


def retried(action: Callable[[], T], *, passes: Callable[[Exception], bool] | None = None) -> T:
    """The result of ``action``, repeated after conflicts and after temporary faults.

    The longest pause doubles each time, and pauses are drawn at random below it: writers then rarely collide again.

    Args:
        action: What to do; it may be done more than once.
        passes: Whether another attempt can help after an error; default: after conflicts and temporary faults.

    Raises:
        Exception: The last error of the Hub's client, if no further attempt can help.
    """
    theirs: tuple[type[Exception], ...] = (client_error(), *unresolved_errors(), RuntimeError)
    conflicts = faults = 0
    while True:
        try:
            return action()
        except theirs as raised:
            error = _unwrapped(raised)
            if _is_conflict(error):
                conflicts += 1
            else:
                faults += 1
            pause = _asked_pause(error)
            if (
                not (passes or _passes)(error)
                or conflicts == CONFLICTS
                or faults == FAULTS
                or (pause or 0) > PATIENCE
            ):
                raise error from raised.__cause__
        longest = min(LONGEST_PAUSE, 0.25 * 2 ** (conflicts + faults))
        time.sleep(random.uniform(0, longest) if pause is None else pause)


def _unwrapped(error: Exception) -> Exception:
    """The HTTP error that caused an error of the client for a large file or a missing cache entry."""
    cause = error.__cause__
    theirs = client_error()
    return cause if isinstance(cause, theirs) and not isinstance(error, theirs) else error


def _is_conflict(error: Exception) -> bool:
    return status_of(error) in (409, 412)


def _passes(error: Exception) -> bool:
    """Whether another attempt can help: conflicts, rate limits, faults of the Hub, broken connections."""
    status = status_of(error)
    if status is None:
        return is_connection_error(error)
    return status in (409, 412, 429) or status >= 500


def _asked_pause(error: Exception) -> float | None:
    """The pause in seconds that the Hub asks for, given as a number or a date; None if it asks for none."""
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError) or status_of(error) not in (429, 503):
        return None
    wait = error.response.headers.get("Retry-After", "")
    if wait.isdigit():
        return float(wait)
    try:
        moment = parsedate_to_datetime(wait)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
