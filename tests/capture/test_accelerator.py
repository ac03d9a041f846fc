"""Rows leave an accelerator without a wait for each: one for a whole pass, in the streams that its calls ran in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hf_affscore.capture import Capture
from hf_affscore.capture.sites import CallSite
from hf_affscore.capture.summary import Summarize
from hf_affscore.capture.update import SummarizeBlocks
from tests.accelerator import KIND, Stream, accelerator

SITE = CallSite("act", "ReLU", 0, "module")


def summarizer(pooling="paper", images=4):
    summarize = Summarize(pooling, num_samples=images, sparsity_samples=3, seed=0)
    summarize.start(range(images))
    return summarize


def values(dtype=torch.float32):
    x = 0.002 * torch.randn(4, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    x[:, :, 0, 0] = torch.tensor([1e-3, 1.0004e-3, -1e-3, float("nan"), 0.0])
    return x.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pooling", ["paper", "channels", "positions", "none"])
def test_a_summary_is_that_of_main_memory(pooling, dtype):
    x = values(dtype)
    here = summarizer(pooling)(x, SITE)
    with accelerator() as noted:
        summarize = summarizer(pooling)
        there = summarize(x.to(KIND), SITE)
        assert noted.waits == []
        assert not np.isfinite(there.rows[:, -1]).any()  # nothing has arrived
        summarize.wait()
    np.testing.assert_array_equal(there.rows, here.rows)
    np.testing.assert_array_equal(there.near_zero, here.near_zero)
    assert len(here.near_zero) == 3


def test_one_wait_for_a_pass_however_many_layers():
    layers = [layer for _ in range(5) for layer in (nn.Linear(8, 8), nn.ReLU())]
    x = torch.randn(4, 8)
    with accelerator() as noted:
        model, there, summarize = nn.Sequential(*layers).to(KIND), x.to(KIND), summarizer()
        with Capture(model, summarize) as seen:
            model(there)
        summarize.wait()
        summarize.wait()
        (stream,) = noted.streams.values()
        assert (noted.waits, stream.synchronised) == ([], 1)
        assert noted.copies == 2 * 5 * 2  # rows and sparsity on both sides
    assert all(np.isfinite(side.rows).all() for call in seen.calls for side in (call.pre, call.post))


def test_streams_of_the_caller_and_of_the_network_are_waited_for_and_no_other():
    with accelerator() as noted:
        x = torch.ones(4, 8).to(KIND)
        idle = noted.current_stream(x.device)
        summarize, streams = summarizer(), [Stream(), Stream()]
        for stream in streams:
            noted.streams[x.device] = stream
            assert len(summarize(x, SITE).rows)
        summarize.wait()
        assert [stream.synchronised for stream in (*streams, idle)] == [1, 1, 0]


def test_a_pass_that_failed_is_not_waited_for():
    with accelerator() as noted:
        x, summarize = torch.ones(4, 8).to(KIND), summarizer()
        summarize(x, SITE)
        summarize.start(range(4))
        summarize.wait()
        assert noted.current_stream(x.device).synchronised == 0


def test_an_accelerator_without_streams_is_waited_for_at_once(monkeypatch):
    with accelerator() as noted:
        monkeypatch.delattr(getattr(torch, KIND), "current_stream")
        there = summarizer()(values().to(KIND), SITE)
        assert noted.waits == ["copy", "copy"]
    np.testing.assert_array_equal(there.rows, summarizer()(values(), SITE).rows)


def test_a_block_that_ends_on_another_device_than_it_began_on():
    site = CallSite("layer1.0", "BasicBlock", 0, "module", part="block")
    x, y = values()[:, :, 1:], values()[:, :, 1:].relu()
    found = []
    for places in (("cpu", "cpu"), (f"{KIND}:0", f"{KIND}:1")):
        with accelerator() as noted:
            summarize = SummarizeBlocks("channels", seed=0)
            summarize.start(range(4))
            summarize(x.to(places[0]), site)
            found.append(summarize(y.to(places[1]), site))
            summarize.wait()
            assert noted.waits == []
    np.testing.assert_array_equal(found[0].products, found[1].products)
    assert found[0].products.shape == (4, 3)
