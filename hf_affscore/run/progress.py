"""Progress bars: on stderr if it is a terminal, and only on request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

from hf_affscore.images.draw import images_wanted
from hf_affscore.images.stream import ImageStream
from hf_affscore.options import Options
from hf_affscore.run.processes import Processes


def bar(total: int | None, what: str, unit: str, *, enabled: bool) -> tqdm[Any]:
    """A bar that counts ``total`` units; it shows rate and estimated time left."""
    return tqdm(total=total, desc=what, unit=unit, disable=None if enabled else True, file=sys.stderr)


def own_images(stream: ImageStream, options: Options, processes: Processes) -> int | None:
    """How many images this process will run: no more than there are; None if that is unknown.

    Args:
        stream: The images.
        options: How many are asked for, and the batch size, which is known by now.
        processes: The processes that share them.
    """
    limits = [limit for limit in (images_wanted(options), stream.length) if limit is not None]
    if not limits:
        return None
    number, size = min(limits), options.batch_size or 1
    starts = enumerate(range(0, number, size))
    return sum(min(size, number - start) for batch, start in starts if processes.is_mine(batch))


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
