"""Progress bars: on stderr if it is a terminal, and only on request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm


def bar(total: int | None, what: str, unit: str, *, enabled: bool) -> tqdm[Any]:
    """A bar that counts ``total`` units; it shows rate and estimated time left."""
    return tqdm(total=total, desc=what, unit=unit, disable=None if enabled else True, file=sys.stderr)


@contextmanager
def library_bars(*, enabled: bool) -> Iterator[None]:
    """Apply the same rule to the progress bars of the Hub and transformers; restore their settings afterwards."""
    from huggingface_hub import utils as hub
    from transformers.utils import logging

    if enabled and sys.stderr.isatty():
        yield
        return
    were_on = not hub.are_progress_bars_disabled(), logging.is_progress_bar_enabled()
    hub.disable_progress_bars()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_on[0]:
            hub.enable_progress_bars()
        if were_on[1]:
            logging.enable_progress_bar()
