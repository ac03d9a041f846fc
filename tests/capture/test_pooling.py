"""One row per image, or the reason why not; and which axis holds the channels."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from transformers import AutoModel, ConvNextConfig, Dinov2Config, SwinConfig, ViTConfig

from hf_affscore.capture import CallSite, Capture, Skip, pool
from hf_affscore.capture.pooling import WIDTH_LIMIT
from hf_affscore.capture.summary import Summarize, Summary, near_zero_share, sparsity


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


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_channels_are_the_same_in_either_layout(images: Tensor) -> None:
    first = pool(images, "channels", 4, channel_axis=1)
    last = pool(images.permute(0, 2, 3, 1).contiguous(), "channels", 4, channel_axis=3)
    tokens = pool(images.flatten(2).transpose(1, 2), "channels", 4, channel_axis=2)
    np.testing.assert_allclose(first, images.numpy().mean(axis=(2, 3)), rtol=1e-13)
    torch.testing.assert_close(last, first, rtol=1e-13, atol=0)
    torch.testing.assert_close(tokens, first, rtol=1e-13, atol=0)


@pytest.mark.parametrize("pooling", ["positions", "tokens"])
def test_a_position_is_drawn_per_image(images: Tensor, pooling: str) -> None:
    draws = torch.tensor([0.0, 0.5, 1 / 30, 1 - 1e-12], dtype=torch.float64)  # of 30 pixels
    rows = pool(images, pooling, 4, channel_axis=1, draws=draws)
    expected = [images[0, :, 0, 0], images[1, :, 2, 3], images[2, :, 0, 1], images[3, :, 4, 5]]
    assert torch.equal(rows, torch.stack(expected))
    last = pool(images.permute(0, 2, 3, 1), pooling, 4, channel_axis=3, draws=draws)
    assert torch.equal(last, rows)


def test_positions_depend_on_the_image_not_on_the_batch(images: Tensor) -> None:
    site = CallSite("act", "ReLU", 0, "module")

    def rows(*batches: list[int], seed: int = 0) -> np.ndarray:
        summarize = Summarize("positions", num_samples=4, sparsity_samples=0, seed=seed)
        found = []
        for batch in batches:
            summarize.start(batch)
            found.append(summarize(images[batch], site).rows)
        return np.concatenate(found)

    together = rows([0, 1, 2, 3])
    np.testing.assert_array_equal(together, rows([0], [1, 2, 3]))
    assert not np.array_equal(together, rows([0, 1, 2, 3], seed=1))


def test_without_pooling_up_to_a_limit(images: Tensor) -> None:
    assert torch.equal(pool(images, "none", 4), images.reshape(4, 90))
    assert pool(torch.ones(1, WIDTH_LIMIT), "none", 1).shape == (1, WIDTH_LIMIT)
    with pytest.raises(Skip, match=f"{WIDTH_LIMIT + 1} features without pooling; at most {WIDTH_LIMIT}"):
        pool(torch.ones(1, WIDTH_LIMIT + 1), "none", 1)


#: A model of each type; for its first and last activation: width by "paper", by "channels".
ARCHITECTURES = {
    "ResNet, channels first": (lambda: timm.create_model("resnet18"), (64, 64), (512, 512)),
    "ConvNeXt, channels last": (
        lambda: AutoModel.from_config(ConvNextConfig()),
        (56, 4 * 96),
        (7, 4 * 768),
    ),
    "ConvNeXt, 1 x 1 convolutions": (
        lambda: timm.create_model("convnext_tiny", conv_mlp=True),
        (4 * 96, 4 * 96),
        (4 * 768, 4 * 768),
    ),
    "Swin, tokens": (lambda: AutoModel.from_config(SwinConfig()), (3136, 4 * 96), (49, 4 * 768)),
    "Swin, channels last": (
        lambda: torchvision.models.swin_t(),
        (56, 4 * 96),
        (7, 4 * 768),
    ),
    "ViT": (lambda: AutoModel.from_config(ViTConfig(num_hidden_layers=2)), (197, 3072), (768, 768)),
    "DINOv2": (
        lambda: AutoModel.from_config(Dinov2Config(num_hidden_layers=2, image_size=224)),
        (257, 3072),
        (257, 3072),
    ),
    "Mixer, over tokens and channels": (
        lambda: timm.create_model("mixer_s32_224"),
        (512, 256),
        (49, 2048),
    ),
    "squeeze and excitation": (lambda: timm.create_model("efficientnet_b0"), (32, 32), (1280, 1280)),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pooled_width_by_architecture(architecture: str) -> None:
    build, first, last = ARCHITECTURES[architecture]
    with torch.device("meta"):
        model = build().eval()
        x = torch.empty(2, 3, 224, 224)

    def widths(tensor: Tensor, site: CallSite) -> tuple[int, int]:
        poolings = (pool(tensor, name, 2, channel_axis=site.channel_axis) for name in ("paper", "channels"))
        return tuple(rows.shape[1] for rows in poolings)

    with Capture(model, widths) as seen:
        model(x)
    assert seen.calls[0].pre == seen.calls[0].post == first
    assert seen.calls[-1].pre == seen.calls[-1].post == last


def test_the_layer_before_decides_where_the_shape_is_square() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear, self.norm = nn.Conv2d(8, 8, 1), nn.Linear(8, 8), nn.LayerNorm(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x.relu()).relu()  # nothing before: channels first
            x = self.linear(x).relu()  # (N, 8, 8, 8) from a linear layer: the last axis
            x = self.conv(x)[:, :4]
            return self.norm(x.permute(0, 2, 3, 1)).relu()  # split: the layer's own axis

    model = Model()
    with Capture(model, lambda tensor, site: site.channel_axis) as seen:
        model(torch.randn(2, 8, 8, 8))
    assert [call.pre for call in seen.calls] == [1, 1, 3, 1]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_near_zero_share_agrees_with_torch(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    x = 0.002 * torch.randn(2, 40, 91, 101, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0, :4] = torch.tensor([1e-3, -1e-3, torch.nan, torch.inf])
    x = x.to(dtype).to(memory_format=memory_format)
    for image in (*x, x[1, :, ::2, 3:], x[0, 0, 0, 0]):  # over several blocks, strided, a single entry
        image = image.to(torch.promote_types(dtype, torch.float32))
        expected = float((image.abs() <= 1e-3).double().mean())
        assert near_zero_share(image) == pytest.approx(expected, abs=1e-15)


def test_sparsity_of_a_subset_and_its_error() -> None:
    shares = np.random.default_rng(0).random((400, 1))
    x = torch.tensor(shares < 0.3, dtype=torch.float32)
    site = CallSite("act", "ReLU", 0, "module")

    def measure(samples: int, seed: int, batch: int = 8) -> tuple[float, float]:
        summarize = Summarize("paper", num_samples=400, sparsity_samples=samples, seed=seed)
        summaries = []
        for start in range(0, 400, batch):
            summarize.start(range(start, start + batch))
            summaries.append(summarize(x[start : start + batch], site))
        return sparsity(summaries)

    share, error = measure(400, seed=0)
    assert (share, error) == (pytest.approx(float((x == 0).float().mean()), abs=1e-7), 0.0)
    assert measure(50, seed=1) == measure(50, seed=1, batch=16)
    estimates = np.array([measure(50, seed)[0] for seed in range(100)])
    # The spread of 100 estimates is known to 7 %; the error that one of them states, to 10 %.
    assert measure(50, seed=1)[1] == pytest.approx(estimates.std(), rel=0.25)
    assert abs(estimates.mean() - share) < 4 * estimates.std() / 10
    assert np.isnan(measure(0, seed=0)).all()
    assert sparsity([Summary(np.zeros((3, 1)), np.array([0.5]))]) == (0.5, pytest.approx(np.nan, nan_ok=True))
