"""Progress bars count what there is, not what was asked for."""

from __future__ import annotations

import functools
import io
import re
import sys
import warnings

import pytest
import torch
from tqdm.auto import tqdm

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL


def stream_of(count):
    """Images whose number is not known before the end."""
    return (image for image in torch.randn(count, 3, 16, 16))


@pytest.mark.parametrize(
    ("images", "options", "counted"),
    [
        (lambda: list(torch.randn(256, 3, 16, 16)), {"num_samples": 2048}, "256/256"),
        (lambda: list(torch.randn(64, 3, 16, 16)), {"num_samples": 32}, "32/32"),
        (lambda: list(torch.randn(64, 3, 16, 16)), {"num_samples": 2048, "max_images": 24}, "24/24"),
        (lambda: list(torch.randn(64, 3, 16, 16)), {"num_samples": "all", "group_size": 24}, "64/64"),
        (lambda: DEMO_DATASET, {"num_samples": 2048, "split": "test[:48]"}, "48/48"),
        (lambda: stream_of(40), {"num_samples": 2048}, "40/40"),
        (lambda: stream_of(40), {"num_samples": "all", "shuffle": False}, "40/40"),
    ],
)
def test_progress_counts_what_there_is(images, options, counted, monkeypatch):
    """From the second line on, for a stream tells its length while it is read."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("hf_affscore.run.progress.tqdm", functools.partial(tqdm, mininterval=0))
    with warnings.catch_warnings(action="ignore"):
        ha.analyze(DEMO_MODEL, images(), cache=False, **options)
    lines = [
        line for line in sys.stderr.getvalue().split("\r") if line.startswith("Images") and " 0/" not in line
    ]
    assert counted in lines[-1]
    if options.get("shuffle", True):
        assert {re.search(r"/(\d+) ", line)[1] for line in lines} == {counted.partition("/")[2]}
