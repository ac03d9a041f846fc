"""One row per image, or the reason why not."""

import pytest
import torch

from hf_affscore.capture import Skip, pool


@pytest.mark.parametrize(
    ("shape", "axes", "width"),
    [
        ((4, 3, 5, 6), (2, 3), 3),
        ((4, 3, 5), (2,), 3),
        ((4, 3), (), 3),
        ((4,), (), 1),
        ((4, 3, 2, 5, 6), (2, 3, 4), 3),
    ],
)
def test_paper_pooling_keeps_the_second_axis(
    shape: tuple[int, ...], axes: tuple[int, ...], width: int
) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = pool(tensor, "paper", batch_size=4)
    assert rows.shape == (4, width)
    expected = tensor.numpy().mean(axis=axes) if axes else tensor.numpy()
    torch.testing.assert_close(rows, torch.from_numpy(expected).reshape(4, width), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("dtype", "pooled"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 700, 700)])
def test_half_precision_is_pooled_in_float32(
    shape: tuple[int, ...], dtype: torch.dtype, pooled: torch.dtype
) -> None:
    # 490,000 equal values: a sum in float16 would overflow, one in bfloat16 would stall.
    rows = pool(torch.full(shape, 1.5, dtype=dtype), "paper", batch_size=2)
    assert rows.dtype == pooled
    assert torch.equal(rows, torch.full((2, 3), 1.5, dtype=pooled))


def test_rows_have_memory_of_their_own() -> None:
    tensor = torch.ones(2, 3)
    rows = pool(tensor, "paper", batch_size=2)
    tensor.zero_()
    assert torch.equal(rows, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.ones(8, 3), r"\(8, 3\) has no row per image; a first dimension of 2"),
        (torch.ones(()), r"\(\) has no row per image"),
        (torch.ones(2, 3, dtype=torch.int64), "torch.int64 values"),
        (torch.ones(2, 0, 5), "empty"),
    ],
)
def test_a_tensor_without_rows_is_skipped(tensor: torch.Tensor, reason: str) -> None:
    with pytest.raises(Skip, match=reason):
        pool(tensor, "paper", batch_size=2)
