"""Images of any size through any processor: no size makes one image cost memory, or the run."""

import tracemalloc
import warnings

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn
from torchvision.transforms import v2

import hf_affscore as ha
from hf_affscore.errors import AffscoreWarning, InputError
from hf_affscore.models.preprocessing import preprocessing_of
from tests.versions import is_older

PROCESSORS = (
    "ViT",
    "CLIP",
    "ConvNext",
    "Detr",
    "EfficientNet",
    "Bit",
    "MobileNetV2",
    "PoolFormer",
    "Segformer",
    "DPT",
)

#: Sizes that once took gigabytes, were read with rows for channels, or are as small as can be.
SIZES = [(1, 12_000), (12_000, 1), (3, 9_000), (1, 1), (1, 16), (3, 3), (2, 300)]


def each(name):
    for backend in ("", "Fast" if is_older("transformers", "5") else "Pil"):
        yield getattr(transformers, f"{name}ImageProcessor{backend}")()


def compose():
    return v2.Compose(
        [v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    )


@pytest.mark.parametrize("name", PROCESSORS)
def test_images_of_extreme_size_go_through_every_processor(name):
    for processor in each(name):
        process, _ = preprocessing_of(processor)
        for size in SIZES:
            tracemalloc.start()
            pixels = process([Image.new("RGB", size, (200, 100, 50))])["pixel_values"]
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert pixels.numel() < 4e7, (type(processor), size)
            assert peak < 4e8, (type(processor), size, peak)
            red, green, blue = pixels[0].mean((1, 2))  # channels are channels
            assert red > green > blue, (type(processor), size)


@pytest.mark.parametrize("size", SIZES)
def test_images_of_extreme_size_go_through_a_function(size):
    process, _ = preprocessing_of(compose())
    assert process([Image.new("RGB", size)])["pixel_values"].shape == (1, 3, 224, 224)


def test_the_middle_is_what_is_used():
    pixels = np.zeros((10, 1_000, 3), np.uint8)
    pixels[:, 420:580] = 255
    process, _ = preprocessing_of(v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]))
    assert process([Image.fromarray(pixels)])["pixel_values"].shape == (1, 3, 10, 160)
    assert process([Image.fromarray(pixels)])["pixel_values"].min() == 1
    ordinary = Image.fromarray(pixels[:, :160])
    assert process([ordinary])["pixel_values"].shape == (1, 3, 10, 160)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


def pictures(count=12):
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8)) for _ in range(count)]


def picky(image):
    """A processor that fails on images of seven columns."""
    if image.width == 7:
        raise IndexError("list index out of range\nat length")
    return compose()(image)[:, :16, :16]


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_an_image_that_the_processor_fails_on_costs_one_image(batch_size):
    images = pictures()
    images[0] = images[4] = Image.new("RGB", (7, 9))
    how = {"processor": picky, "batch_size": batch_size, "num_samples": 10, "shuffle": False, "cache": False}
    with pytest.warns(AffscoreWarning, match=r"2 image\(s\) could not be decoded"):
        found = ha.analyze(network(), images, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AffscoreWarning)
        expected = ha.analyze(network(), [image for image in images if image.width != 7], **how)
    assert np.allclose(found.scores, expected.scores, atol=1e-6)
    assert found.metadata["dataset"]["undecodable_reasons"] == [
        f"image {place}: function cannot take it: list index out of range" for place in (0, 4)
    ]


def test_a_processor_that_fails_on_every_image_ends_the_run():
    def broken(image):
        raise IndexError("list index out of range")

    with pytest.raises(InputError, match="function failed on images of sizes"):
        ha.analyze(network(), pictures(), processor=broken, num_samples=8, cache=False)
