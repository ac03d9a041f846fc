"""Do the signatures of related networks resemble each other? Eight small networks, really trained.

Two sizes each of four families learn scikit-learn's handwritten digits: a residual CNN, the same CNN with its
shortcuts cut, a ViT and an MLP-Mixer. Their signatures on the 512 embedded test digits are compared.

``python -m examples.compare_families`` in the repository writes signatures, tables and pictures into
``--output``. ``docs/families.md`` says what came out.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

import hf_affscore as ha
from examples.train_digits_resnet import (
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


def trained() -> Iterator[tuple[str, nn.Module, float]]:
    """Every network in turn: its name, itself after training, and its accuracy on the 512 held-out digits."""
    images, targets = digit_images()
    pixels = make_processor()(images, return_tensors="pt")["pixel_values"]
    labels = torch.tensor(targets)
    for name, (make, peak) in NETWORKS.items():
        torch.manual_seed(SEED)
        network = make()
        train(network, pixels[:-HELD_OUT], labels[:-HELD_OUT], peak=peak)
        with torch.inference_mode():
            right = logits(network, pixels[-HELD_OUT:]).argmax(1) == labels[-HELD_OUT:]
        yield name, network, float(right.float().mean())


def signature_of(name: str, network: nn.Module, accuracy: float) -> ha.Signature:
    """Its signature on the embedded digits, under its name here, with its accuracy beside it."""
    signature = ha.analyze(
        network, DEMO_DATASET, processor=make_processor(), num_samples=HELD_OUT, shuffle=False, progress=False
    )
    model = {**signature.metadata["model"], "id": name, "accuracy": accuracy}
    return dataclasses.replace(signature, metadata={**signature.metadata, "model": model})


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the signatures of eight small trained networks.")
    parser.add_argument("--output", type=Path, default=Path("families"), help="default: %(default)s")
    output = parser.parse_args().output
    torch.set_num_threads(1)  # as in train_digits_resnet: the same numbers every time
    for name, network, accuracy in trained():
        signature = signature_of(name, network, accuracy)
        signature.save_pretrained(output / name)
        print(f"{name}: {accuracy:.2%} of the test digits, {signature}, {time.process_time():.0f} s", flush=True)


if __name__ == "__main__":
    main()
