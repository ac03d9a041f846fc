"""What cannot fit is refused with the first images; layers share the memory that there is."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import torch
from torch import nn

import hf_affscore as ha
from hf_affscore.errors import InputError
from hf_affscore.options import Options
from hf_affscore.run import fit
from hf_affscore.run.fit import MemoryBudget, check_fits
from hf_affscore.score import transport
from hf_affscore.score.cost import scoring_bytes


def network() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, 6), nn.ReLU())


QUIET: Any = {"cache": False, "progress": False}
IMAGES = list(torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_what_cannot_fit_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_bytes", lambda: scoring_bytes(20, 6) + 2 * 4 * 20 * 6)
    passes = []
    model = network()
    model.register_forward_hook(lambda *_: passes.append(1))
    with pytest.raises(InputError, match=r"Scoring 40 samples together .* Use num_samples of at most 20\.$"):
        ha.analyze(model, IMAGES, num_samples=40, **QUIET)
    assert len(passes) < 5  # the first batch alone, which goes in pieces and once more; there are five
    assert len(ha.analyze(model, IMAGES, num_samples=20, **QUIET).rows) == 1


def test_what_counts_is_what_there_is_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for more images than a data set has is no reason to refuse."""
    monkeypatch.setattr(fit, "available_bytes", lambda: 2 * scoring_bytes(40, 6))
    with pytest.warns(match="fewer than num_samples"):
        ha.analyze(network(), IMAGES, num_samples=10**9, **QUIET)
    ha.analyze(network(), IMAGES, num_samples="all", group_size=10**9, **QUIET)


def test_rows_count_where_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [4] * 1000
    needed = scoring_bytes(1000, 4)
    monkeypatch.setattr(fit, "available_bytes", lambda: needed + 1_000_000)
    check_fits(wide, 1000, Options(memory_limit=0))
    monkeypatch.setattr(fit, "_room_in_files", lambda: 0)
    with pytest.raises(InputError, match="at most"):
        check_fits(wide, 1000, Options(memory_limit=0))


def test_the_extra_that_takes_less_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_bytes", lambda: 10**10)
    check_fits([32], 50_000, Options())
    monkeypatch.setattr(transport, "couples_chosen_pairs", lambda: False)
    with pytest.raises(InputError, match=r"at most \d+, or install .*: pip install 'hf-affscore\[many\]'\.$"):
        check_fits([32], 50_000, Options())


def test_processes_of_one_machine_divide_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_bytes", lambda: 2 * scoring_bytes(1000, 4))
    check_fits([4], 1000, Options())
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="Use group_size of at most"):
        check_fits([4], 1000, Options(num_samples="all"))


def test_the_largest_number_fits_and_one_more_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_bytes", lambda: 10**9)
    with pytest.raises(InputError) as refused:
        check_fits([197, 64], 10**6, Options())
    most = int(str(refused.value).rstrip(".").rsplit(" ", 1)[1])
    check_fits([197, 64], most, Options())
    with pytest.raises(InputError):
        check_fits([197, 64], most + 1, Options())
    monkeypatch.setattr(fit, "available_bytes", lambda: 0)
    with pytest.raises(InputError, match=r"Free memory, or use a machine with more\.$"):
        check_fits([197], 100, Options())


def test_layers_wait_for_memory_that_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_bytes", lambda: 100)
    budget, together, most = MemoryBudget(), [], []

    def score(size: int) -> None:
        with budget.reserved(size):
            together.append(size)
            most.append(sum(together))
            time.sleep(0.02)
            together.remove(size)

    threads = [threading.Thread(target=score, args=(size,)) for size in (60, 30, 50, 500, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(most) == 5
    assert sorted(most)[-1] == 500  # one alone always may
    assert all(size <= 100 for size in most if size != 500)


def test_a_limit_that_is_given_holds_whatever_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "available_bytes", lambda: 10**15)
    budget, second = MemoryBudget(limit=100), threading.Event()

    def score() -> None:
        with budget.reserved(60):
            second.set()

    thread = threading.Thread(target=score)
    with budget.reserved(60):
        thread.start()
        assert not second.wait(0.05)
    thread.join(timeout=10)
    assert second.is_set()
