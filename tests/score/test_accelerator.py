"""A record of rows on an accelerator: what is computed there, what leaves it, and how much memory it takes."""

from __future__ import annotations

import pytest
import torch

from hf_affscore import affinity_score
from hf_affscore.errors import InputError
from hf_affscore.score.cost import scoring_bytes
from tests.accelerator import KIND, accelerator
from tests.score.test_tensors import LAYERS, assert_same, layer, record, saturated


def on_accelerator(name, **options):
    """The record, and what happened on the device."""
    with accelerator() as noted:
        pre, post = (torch.from_numpy(side).to(KIND) for side in layer(name))
        return record(pre, post, **options), noted


@pytest.mark.parametrize("name", LAYERS)
def test_every_column_is_that_of_main_memory(name):
    there, noted = on_accelerator(name)
    assert_same(there, record(*layer(name)))
    assert not noted.held  # everything is given back


@pytest.mark.parametrize(("n", "d"), [(1500, 6), (500, 600)])
def test_no_more_memory_is_taken_than_is_stated(n, d, monkeypatch):
    monkeypatch.setitem(LAYERS, "of this shape", (n, d, saturated))
    _, noted = on_accelerator("of this shape")
    assert 0.4 * scoring_bytes(n, d) < noted.peak <= scoring_bytes(n, d)


@pytest.mark.parametrize("name", ["wide", "solver"])
def test_only_what_the_solver_needs_and_a_few_numbers_a_row_leave_it(name):
    """And the rows themselves once on each side, whose histograms are counted in main memory."""
    n, d, _ = LAYERS[name]
    _, noted = on_accelerator(name, shrinkage=False, num_groups=1)
    distances = 8 * n * n * (name == "solver")
    assert distances <= noted.to_host - 2 * 4 * n * d <= distances + 50 * 8 * n


def test_rows_on_two_devices_are_refused():
    with accelerator():
        pre, post = (torch.from_numpy(side).to(f"{KIND}:{i}") for i, side in enumerate(layer("narrow")))
        with pytest.raises(InputError, match="on different devices"):
            affinity_score(pre, post)
