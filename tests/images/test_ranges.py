"""Images of more than 8 bits: one range for a data set, the same however it is read, and recorded."""

import io
import json

import datasets
import numpy as np
import pytest
import torch
from datasets import Array2D, Array3D, Features
from PIL import Image

import hf_affscore as ha
from hf_affscore.assets import DEMO_MODEL
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.images.ranges import LOOKED_AT
from hf_affscore.options import Options
from tests.processes import run_script

COUNT = 40


def deep(number, kind):
    """An image whose values depend on its number: dark first, bright last."""
    random = np.random.default_rng(number)
    values = random.random((12, 10)) * (number + 1) / COUNT
    return {
        "12 bits": (values * 4000).astype(np.uint16),
        "16 bits": (values * 65_000).astype(np.uint16),
        "32 bits": (values * 3000).astype(np.int32),
        "from 0 to 1": values.astype(np.float32),
        "from 0 to 255": (values * 255).astype(np.float32),
        "depth": (values * 9 - 2).astype(np.float32),
    }[kind]


RANGES = {
    "12 bits": (0, 4095),
    "16 bits": (0, 65535),
    "32 bits": (0, 4095),
    "from 0 to 1": (0, 1),
    "from 0 to 255": (0, 255),
    "depth": None,
}


def tiff(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


def as_lists(arrays, folder):
    return list(arrays)


def as_iterator(arrays, folder):
    return iter([Image.fromarray(values) for values in arrays])


def as_generator_of_rows(arrays, folder):
    return ({"pixels": values, "label": 1} for values in arrays)


def as_tensors(arrays, folder):
    """Of integers; those of floating point are ready."""
    if arrays[0].dtype.kind == "f":
        return [Image.fromarray(values) for values in arrays]
    return [(torch.from_numpy(values.astype(np.int32)), 1) for values in arrays]


def as_files(arrays, folder):
    for number, values in enumerate(arrays):
        (folder / f"{number:02}.tif").write_bytes(tiff(values))
    return folder


def as_nested_lists(arrays, folder):
    columns = {"image": [values[:, :, None].tolist() for values in arrays]}
    datasets.Dataset.from_dict(columns).to_parquet(folder / "train.parquet")
    return folder


def as_declared(arrays, folder):
    features = Features({"image": Array3D((*arrays[0].shape, 1), str(arrays[0].dtype))})
    return datasets.Dataset.from_dict({"image": [values[:, :, None] for values in arrays]}, features=features)


def as_stream(arrays, folder):
    features = Features(
        {"image": Array2D(arrays[0].shape, str(arrays[0].dtype)), "n": datasets.Value("int64")}
    )
    data = datasets.Dataset.from_dict({"image": list(arrays), "n": range(len(arrays))}, features=features)
    return data.to_iterable_dataset()


FORMS = [
    as_lists,
    as_iterator,
    as_generator_of_rows,
    as_tensors,
    as_files,
    as_nested_lists,
    as_declared,
    as_stream,
]


def opened(dataset, **options):
    asked = Options(**{"shuffle": False, "num_samples": COUNT, **options})
    if not isinstance(dataset, list | datasets.Dataset | datasets.IterableDataset) and hasattr(
        dataset, "joinpath"
    ):
        dataset = locate_images(dataset, asked)
    return open_images(dataset, asked, lambda: (3, 4, 5))


def images(stream):
    found = [stream.decode(item) for _, [item] in stream.fetched((None, [i]) for i in stream.resumed())]
    return np.stack([np.asarray(image)[..., 0] for image in found])


def scaled(arrays, low, high):
    """An independent scaling."""
    values = np.stack(arrays).astype(np.float64)
    return np.rint((values - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", RANGES)
def test_one_range_holds_for_all_images(form, kind, tmp_path):
    arrays = [deep(number, kind) for number in range(COUNT)]
    named = {
        as_stream: "image",
        as_nested_lists: "image",
        as_declared: "image",
        as_generator_of_rows: "pixels",
    }
    column = "0" if form is as_tensors and arrays[0].dtype.kind != "f" else named.get(form)
    options = {"image_column": column} if column else {}
    stream = opened(form(arrays, tmp_path), **options)
    found = images(stream)
    first = np.stack(arrays[:LOOKED_AT])
    low, high = RANGES[kind] or (first.min(), first.max())
    assert np.array_equal(found, scaled(arrays, low, high))
    record = stream.metadata["pixel_range"]
    assert record["images"] == LOOKED_AT
    assert record["floats" if arrays[0].dtype.kind == "f" else "integers"] == pytest.approx([low, high])


def test_the_range_is_that_of_the_draw(tmp_path):
    arrays = [deep(number, "depth") for number in range(COUNT)]
    stream = opened(as_files(arrays, tmp_path), shuffle=True, seed=4, num_samples=5)
    images(stream)
    drawn = np.stack([arrays[number] for number in np.random.default_rng(4).permutation(COUNT)[:5]])
    assert stream.metadata["pixel_range"] == {
        "images": 5,
        "floats": pytest.approx([drawn.min(), drawn.max()]),
    }


def test_ordinary_images_have_no_range(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    Image.new("L", (5, 4)).save(tmp_path / "b.jpg")
    stream = opened(tmp_path)
    images(stream)
    assert "pixel_range" not in stream.metadata


def test_a_dark_data_set_is_not_black():
    arrays = [np.full((9, 9), 3 + number % 5, np.uint16) for number in range(COUNT)]
    dark = [values * np.uint16(120) for values in arrays]  # at most 840: 10 bits
    assert images(opened(list(dark))).max() > 200


def test_signatures_record_the_range_and_do_not_depend_on_batches(tmp_path):
    arrays = [np.kron(deep(number, "16 bits"), np.ones((2, 2), np.uint16)) for number in range(COUNT)]
    as_files(arrays, tmp_path)
    one, two = (
        ha.analyze(DEMO_MODEL, tmp_path, num_samples=COUNT, batch_size=size, cache=False)
        for size in (4, COUNT)
    )
    assert one.metadata["dataset"]["pixel_range"] == {"images": LOOKED_AT, "integers": [0, 65535]}
    assert one.metadata["dataset"]["pixel_range"] == two.metadata["dataset"]["pixel_range"]
    scores = [[row.affinity_score for row in signature.rows] for signature in (one, two)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


SCRIPT = """
import json, os, sys
import hf_affscore as ha
from hf_affscore.run.processes import Processes

options = dict(num_samples=32, batch_size=8, shuffle=False, cache=False, progress=False)
found = ha.analyze(*sys.argv[1:], **options)
if Processes.current().is_main:
    print(json.dumps([found.to_dict()["rows"], found.metadata["dataset"]]))
Processes.current().disconnect()
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.slow
def test_two_processes_find_the_same_range(tmp_path):
    """Also where the main process decodes none of the images of more than 8 bits: those of the second batch."""
    for number in range(32):
        values = np.kron(deep(number, "16 bits"), np.ones((2, 2), np.uint16))
        second = 8 <= number < 16
        Image.fromarray(values if second else (values // 257).astype(np.uint8)).save(
            tmp_path / f"{number:02}.png"
        )
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    one, two = (run_script(script, DEMO_MODEL, tmp_path, processes=processes).stdout for processes in (1, 2))
    assert one == two
    assert json.loads(one)[1]["pixel_range"] == {"images": 32, "integers": [0, 65535]}


def test_an_error_in_the_first_images_comes_after_those_before_it():
    def broken():
        yield from (Image.new("RGB", (4, 4)) for _ in range(3))
        raise RuntimeError("no more")

    with pytest.raises(ha.errors.DatasetError, match="failed after 3 images: RuntimeError: no more"):
        list(opened(broken()).resumed())
