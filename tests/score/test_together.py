"""Layers scored together on an accelerator: the records of each alone, from fewer decompositions."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from threading import Thread

import numpy as np
import pytest
import torch

from hf_affscore.score import score_layer
from hf_affscore.score import together as module
from hf_affscore.score.cost import scoring_bytes
from hf_affscore.score.together import together
from tests.accelerator import KIND, accelerator
from tests.score.test_tensors import assert_same

#: As the accelerator calls them.
DECOMPOSITIONS = ("_linalg_eigh", "_linalg_svd", "linalg_qr", "linalg_cholesky_ex", "_linalg_solve_ex")


def rows(seed, n, d):
    rng = np.random.default_rng(seed)
    pre = (rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / d**0.5).astype(np.float32)
    return pre, np.maximum(pre, 0)


def record(pre, post):
    pre, post = (torch.from_numpy(side).to(KIND) for side in (pre, post))
    return score_layer(pre, post, shrinkage=True, regularization=1e-6)


def decomposed(noted):
    counts = Counter(noted.operations[f"{KIND}:0"])
    return {name: counts[name] for name in DECOMPOSITIONS}


@pytest.fixture
def seen(monkeypatch):
    """What is decomposed in one call: the function and the numbers of the tasks."""
    decompose, calls = module._decompose, []

    def noting(requests):
        calls.append((requests[0].function.__name__, [request.number for request in requests]))
        decompose(requests)

    monkeypatch.setattr(module, "_decompose", noting)
    return calls


@pytest.mark.parametrize(("n", "d"), [(200, 40), (200, 150), (60, 200)], ids=str)
def test_records_are_those_of_each_layer_alone_from_as_many_decompositions_as_one(n, d):
    layers = [rows(seed, n, d) for seed in range(4)]
    with accelerator() as noted:
        expected = [record(*layers[0])]
        alone = decomposed(noted)
        expected += [record(*layer) for layer in layers[1:]]
    with accelerator() as noted:
        found = together([partial(record, *layer) for layer in layers])
        assert not noted.held
        assert decomposed(noted) == alone
        assert noted.peak <= len(layers) * scoring_bytes(n, d)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_what_is_decomposed_together_does_not_depend_on_time(seen):
    """Three layers, two of one width; threads that begin late meet as others do."""
    layers = [rows(seed, 80, d) for seed, d in enumerate((9, 9, 20))]

    def run(layer, pause):
        time.sleep(pause)
        return record(*layer)

    histories = []
    with accelerator():
        for pauses in ((0.1, 0, 0.05), (0, 0.1, 0)):
            tasks = [partial(run, layer, pause) for layer, pause in zip(layers, pauses, strict=True)]
            histories.append(together(tasks))
    half = len(seen) // 2
    assert sorted(seen[:half]) == sorted(seen[half:])
    assert any(numbers == [0, 1] for _, numbers in seen)
    assert histories[0] == histories[1]


def test_a_layer_that_needs_another_step_meets_the_others_after_it(seen):
    def steps(more):
        found = torch.eye(2).to(KIND)
        if more:
            found = torch.linalg.cholesky(found)
        return torch.linalg.eigh(found)[0].cpu().tolist()

    with accelerator():
        assert together([partial(steps, i == 1) for i in range(3)]) == [[1, 1]] * 3
    assert seen == [("linalg_cholesky", [1]), ("linalg_eigh", [0, 1, 2])]


def test_a_matrix_that_cannot_be_decomposed_is_the_failure_of_its_own_task():
    def factor(diagonal):
        try:
            return (
                torch.linalg.cholesky(torch.diag(torch.tensor(diagonal)).to(KIND)).cpu().diagonal().tolist()
            )
        except torch.linalg.LinAlgError:
            return "not positive definite"

    with accelerator():
        found = together([partial(factor, values) for values in ([1.0, 4.0], [-1.0, 1.0], [9.0, 1.0])])
    assert found == [[1, 2], "not positive definite", [3, 1]]


def decomposes(done):
    done.append(torch.linalg.eigh(torch.eye(2).to(KIND))[0].cpu().tolist())


def test_a_task_that_fails_elsewhere_keeps_no_other_waiting():
    done = []
    with accelerator(), pytest.raises(KeyError, match="rows"):
        together([partial({}.pop, "rows"), *[partial(decomposes, done)] * 2])
    assert done == [[1, 1], [1, 1]]


def test_a_thread_that_cannot_be_started_keeps_no_other_waiting(monkeypatch):
    done, start, started = [], Thread.start, []

    def limited(thread):
        started.append(thread)
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(Thread, "start", limited)
    with accelerator(), pytest.raises(RuntimeError, match="new thread"):
        together([partial(decomposes, done)] * 4)
    assert done == [[1, 1], [1, 1]]


def test_only_matrices_on_accelerators_are_stacked(monkeypatch):
    def values():
        by_position = torch.linalg.svd(torch.eye(2).to(KIND), False)[1]
        return torch.linalg.eigh(torch.eye(2))[0].tolist(), by_position.cpu().tolist()

    monkeypatch.setattr(module, "_decompose", None)
    with accelerator():
        assert together([values] * 2) == [([1, 1], [1, 1])] * 2
    assert together([]) == []
