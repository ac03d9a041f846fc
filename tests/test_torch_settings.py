"""Full precision of float32 while a model is looked at, whatever was set before, and every setting put back."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from hf_affscore import torch_settings
from hf_affscore.torch_settings import OPERATIONS, PARENTS, float32_precision, full_float32

HAS_OPERATIONS = hasattr(torch._C, "_get_fp32_precision_getter")


def settings() -> dict[object, object]:
    """All that can be read, and what follows when the settings above change."""
    found: dict[object, object] = {}
    flags = (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32)
    for number, flag in enumerate((*flags, lambda: torch.backends.cuda.matmul.allow_tf32)):
        try:
            found[number] = flag()
        except RuntimeError:  # flag and setting say different things
            found[number] = "mixed"
    if HAS_OPERATIONS:
        found |= {name: torch_settings._get(name) for name in (*PARENTS, *OPERATIONS)}
        found["own"] = torch_settings._own_values()
    return found


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    matmul, cudnn = torch_settings._flags()
    own = torch_settings._own_values() if HAS_OPERATIONS else {}
    yield
    torch.set_float32_matmul_precision(matmul or "highest")
    for operation, value in own.items():
        torch_settings._set(operation, value)
    if torch_settings._flags()[1] is not cudnn and cudnn is not None:
        torch.backends.cudnn.allow_tf32 = cudnn


def new(name: tuple[str, str], value: str) -> Callable[[], None]:
    return lambda: torch_settings._set(name, value)


def flag(owner: object, value: bool) -> Callable[[], None]:
    return lambda: setattr(owner, "allow_tf32", value)


CHANGES: dict[str, list[Callable[[], None]]] = {
    "nothing": [],
    "medium": [lambda: torch.set_float32_matmul_precision("medium")],
    "high": [lambda: torch.set_float32_matmul_precision("high")],
    "matmul flag": [flag(torch.backends.cuda.matmul, True)],
    "cudnn flag off": [flag(torch.backends.cudnn, False)],
    "high, then the flag off": [
        lambda: torch.set_float32_matmul_precision("high"),
        flag(torch.backends.cuda.matmul, False),
    ],
}
if HAS_OPERATIONS:
    CHANGES |= {
        "everything": [new(("generic", "all"), "tf32")],
        "a backend": [new(("mkldnn", "all"), "bf16"), new(("cuda", "all"), "tf32")],
        "operations": [new(("mkldnn", "conv"), "bf16"), new(("mkldnn", "matmul"), "bf16")],
        "on a GPU": [new(("cuda", "conv"), "tf32"), new(("cuda", "rnn"), "ieee")],
        "old and new": [flag(torch.backends.cudnn, True), new(("cuda", "matmul"), "tf32")],
        "inherited": [new(("generic", "all"), "ieee"), new(("mkldnn", "conv"), "none")],
    }


@pytest.mark.parametrize("change", CHANGES)
def test_float32_is_float32_and_every_setting_is_put_back(change: str) -> None:
    for step in CHANGES[change]:
        step()
    before = settings()
    with full_float32:
        assert float32_precision() == "ieee"
        with full_float32:
            pass
        assert float32_precision() == "ieee"
    assert settings() == before
    with pytest.raises(ValueError, match="failed"), full_float32:
        raise ValueError("failed")
    assert settings() == before


@pytest.mark.skipif(not HAS_OPERATIONS, reason="torch before 2.9")
def test_the_default_of_convolutions_still_follows_what_is_set_above_it() -> None:
    with full_float32:
        pass
    if torch_settings._own_values()["cuda", "conv"] != "none":
        pytest.skip("set by something else in this process")
    torch_settings._set(("generic", "all"), "ieee")
    assert torch_settings._get(("cuda", "conv")) == "ieee"


def test_what_differs_is_named() -> None:
    torch.set_float32_matmul_precision("medium")
    assert "cuda matmul tf32" in float32_precision()
    assert "mkldnn matmul bf16" in float32_precision()


@pytest.mark.parametrize("matmul", ["highest", "high", "medium"])
def test_before_there_were_settings_for_each_operation(monkeypatch: pytest.MonkeyPatch, matmul: str) -> None:
    monkeypatch.setattr(torch_settings, "_has_operations", lambda: False)
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = True
    with full_float32:
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
        assert float32_precision() == "ieee"
    assert torch.get_float32_matmul_precision() == matmul
    assert torch.backends.cudnn.allow_tf32


def test_threads_that_overlap_share_it() -> None:
    torch.set_float32_matmul_precision("medium")
    before = settings()
    first, second = threading.Event(), threading.Event()

    def hold() -> None:
        with full_float32:
            first.set()
            second.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    first.wait()
    with full_float32:
        second.set()
        thread.join()
        assert float32_precision() == "ieee"
    assert settings() == before
