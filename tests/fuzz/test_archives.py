"""Damaged archives and tables of images: they are read as far as they go, or refused in a sentence."""

import io
import tarfile
import warnings
import zipfile

import datasets
import pytest
from PIL import Image

from hf_affscore.errors import AffscoreError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.options import Options
from tests.fuzz.harness import CASES, ROUNDS, damage, read_or_refused

IMAGES = 6


def picture(value):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def tar(form):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for value in range(IMAGES):
            for ending, content in (("png", picture(value)), ("cls", b"3"), ("json", b'{"a": 1}')):
                member = tarfile.TarInfo(
                    f"{'long/' * 25 if form != tarfile.USTAR_FORMAT else ''}{value:06}.{ending}"
                )
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for value in range(IMAGES):
            archive.writestr(f"{value}.png", picture(value))
    return buffer.getvalue()


def parquet(**columns):
    buffer = io.BytesIO()
    datasets.Dataset.from_dict(columns).to_parquet(buffer)
    return buffer.getvalue()


def valid_files():
    yield pytest.param("train.tar", tar(tarfile.USTAR_FORMAT), id="tar")
    yield pytest.param("train.tar", tar(tarfile.PAX_FORMAT), id="tar-pax")
    yield pytest.param("train.tar", tar(tarfile.GNU_FORMAT), id="tar-gnu")
    yield pytest.param("train.zip", zipped(), id="zip")
    encoded = [picture(value) for value in range(IMAGES)]
    yield pytest.param("train.parquet", parquet(image=encoded, label=list(range(IMAGES))), id="parquet-bytes")
    pixels = [[[value] * 8] * 8 for value in range(IMAGES)]
    yield pytest.param("train.parquet", parquet(image=pixels), id="parquet-arrays")
    names = [f"{value}.png" for value in range(IMAGES)]
    lines = "".join(f'{{"image": "{name}"}}\n' for name in names).encode()
    yield pytest.param("train.jsonl", lines, id="paths-json")
    yield pytest.param("train.csv", "\n".join(["image", *names]).encode(), id="paths-csv")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, tmp_path):
    """Datasets that are read here leave nothing behind; what is said beside is not what is tested."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def images_of(folder):
    """How many images of a folder can be read, of how many."""
    options = Options(shuffle=False)
    stream = open_images(locate_images(folder, options), options, lambda: (3, 4, 4))
    read = items = 0
    for _, [item] in stream.fetched((None, [item]) for item in stream.resumed()):
        items += 1
        read += read_or_refused(lambda item=item: stream.decode(item), Undecodable) is not None
    return read, items


@pytest.mark.parametrize(("name", "data"), valid_files())
def test_what_is_not_damaged_is_read_whole(name, data, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).write_bytes(data)
    if name.endswith(("jsonl", "csv")):
        assert images_of(folder) == (0, IMAGES)  # paths to nowhere
    else:
        assert images_of(folder) == (IMAGES, IMAGES)


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize(("name", "data"), valid_files())
def test_a_damaged_archive_is_read_or_refused(name, data, round_, tmp_path):
    for case, damaged in enumerate(damage(data, round_, max(1, CASES // 3))):
        folder = tmp_path / str(case)
        folder.mkdir()
        (folder / name).write_bytes(damaged)
        read_or_refused(lambda folder=folder: images_of(folder), AffscoreError)
