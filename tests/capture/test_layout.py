"""Windows folded into the batch become rows again where it is certain that images come first, and only there."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hf_affscore.capture import CallSite, Capture, by_image, pool

IMAGES, WINDOWS = 3, 4


def forwards(x: Tensor) -> Tensor:
    """(N, 4, 5, 6) to (4 N, 5, 6), images first."""
    return F.relu(x.flatten(0, 1))


def through_attention(x: Tensor) -> Tensor:
    """What goes on between: heads are split off and put back, channels are taken."""
    rows = x.reshape(-1, 5, 6)
    heads = rows.view(len(rows), 5, 2, 3).transpose(1, 2)[..., :2]
    return F.relu(heads.transpose(1, 2).flatten(2))


def windows_first(x: Tensor) -> Tensor:
    return F.relu(x.transpose(0, 1).reshape(-1, 5, 6))


def concatenated(x: Tensor) -> Tensor:
    return F.relu(torch.cat(x.unbind(1)))


def repeated(x: Tensor) -> Tensor:
    return F.relu(x[:, 0].repeat(WINDOWS, 1, 1))


def shuffled(x: Tensor) -> Tensor:
    rows = x.flatten(0, 1)
    return F.relu(rows[torch.arange(len(rows) - 1, -1, -1)])


def flipped(x: Tensor) -> Tensor:
    return F.relu(x.flatten(0, 1).flip(0))


def both(x: Tensor) -> Tensor:
    """One road shows the order, and the activation is on the other."""
    rows = torch.cat(x.unbind(1))
    x.flatten(0, 1)
    return F.relu(rows)


class Model(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def rows_of(function) -> Tensor:
    def rows(tensor: Tensor, site: CallSite) -> Tensor:
        tensor, axis = by_image(tensor, IMAGES, site)
        return pool(tensor, "paper", IMAGES, channel_axis=axis) if len(tensor) == IMAGES else torch.empty(0)

    x = torch.rand(IMAGES, WINDOWS, 5, 6, generator=torch.Generator().manual_seed(0)) + torch.arange(
        3.0
    ).view(3, 1, 1, 1)
    model = Model(function)
    with Capture(model, rows) as seen:
        model(x)
    return seen.calls[0].post


@pytest.mark.parametrize("function", [forwards, through_attention])
def test_a_reshape_shows_that_images_come_first(function) -> None:
    rows = rows_of(function)
    assert rows.shape == (IMAGES, WINDOWS)
    for image in range(IMAGES):  # its entries are between its number and the next
        assert ((rows[image] > image) & (rows[image] < image + 1)).all()


@pytest.mark.parametrize(
    "function", [windows_first, concatenated, repeated, shuffled, flipped, both], ids=lambda f: f.__name__
)
def test_elsewhere_the_tensor_is_left_alone(function) -> None:
    assert rows_of(function).numel() == 0


def test_the_channels_move_along() -> None:
    site = CallSite("block", "ReLU", 0, "module", channel_axis=2, folded_from=2)
    tensor, axis = by_image(torch.ones(8, 49, 96), 2, site)
    assert tensor.shape == (2, 4, 49, 96)
    assert pool(tensor, "channels", 2, channel_axis=axis).shape == (2, 96)
    assert by_image(torch.ones(9, 49, 96), 2, site)[0].shape == (9, 49, 96)


def test_inside_a_transform_of_torch_func() -> None:
    model = Model(torch.func.vmap(F.relu))
    with Capture(model, lambda tensor, site: tensor.numpy()) as seen:
        model(torch.ones(3, 3))
    assert not seen.calls
    assert "torch.func" in seen.skipped[0].reason
