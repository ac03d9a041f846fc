"""Folders and lists of Parquet, Arrow and tar files: what is used, of which split, and what is said of the rest."""

import io
import shutil
import tarfile
import zipfile

import datasets
import numpy as np
import pyarrow.feather
import pytest
from PIL import Image

from hf_affscore.errors import DatasetError
from hf_affscore.images.tars import LOOKED_AT
from tests.images.test_layouts import colours_of, make, numbered, said


def colour(number):
    return tuple(np.random.default_rng(number).integers(0, 256, 3).tolist())


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 8), colour(number)).save(buffer, "PNG")
    return buffer.getvalue()


def table(numbers, **more):
    images = [{"bytes": png(number), "path": None} for number in numbers]
    return datasets.Dataset.from_dict({"image": images, **more}).cast_column("image", datasets.Image())


def packed(path, members):
    with tarfile.open(path, "w:gz" if path.name.lower().endswith("gz") else "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write(path, numbers):
    """A file of one of the forms, by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.name.lower().partition(".")[2]
    if kind in ("parquet", "pq"):
        table(numbers).to_parquet(path)
    elif kind in ("feather", "ipc"):
        pyarrow.feather.write_feather(table(numbers).data.table, path)
    elif kind == "arrow":
        table(numbers).save_to_disk(path.parent / "saved")
        shutil.copy(path.parent / "saved" / "data-00000-of-00001.arrow", path)
        shutil.rmtree(path.parent / "saved")
    else:
        packed(path, [(f"{number:03}.png", png(number)) for number in numbers])


def colours(numbers):
    return [colour(number) for number in numbers]


FORMS = ["parquet", "PARQUET", "pq", "arrow", "feather", "ARROW", "tar", "TAR", "tar.gz", "tgz"]


@pytest.mark.parametrize("form", FORMS)
def test_files_of_any_form_in_a_folder_alone_and_in_lists(form, tmp_path):
    paths = [tmp_path / f"part{number}.{form}" for number in range(2)]
    for number, path in enumerate(paths):
        write(path, range(5 * number, 5 * number + 5))
    for name in (tmp_path, paths, str(tmp_path / f"*.{form}")):
        found, sentences = said(lambda name=name: colours_of(name))
        assert found == colours(range(10))
        assert sentences == []
    assert colours_of(paths[1]) == colours(range(5, 10))


@pytest.mark.parametrize("form", ["parquet", "tar", "arrow"])
@pytest.mark.parametrize(
    "names",
    [
        ("cat/0", "dog/0"),
        ("boat/0", "train/0", "car/1"),
        ("steam-train/0", "test-bench/0"),
        ("cats", "dogs_test"),
        ("a/dogs_test", "a/cats_train"),
    ],
)
def test_tables_of_classes_are_one_split(form, names, tmp_path):
    for number, name in enumerate(names):
        write(tmp_path / f"{name}.{form}", [number])
    found, sentences = said(lambda: colours_of(tmp_path))
    assert sorted(found) == sorted(colours(range(len(names))))
    assert sentences == []


@pytest.mark.parametrize(
    ("names", "test"),
    [
        (("train/0", "test/0"), [1]),
        (("data/train-00000-of-00001", "data/test-00000-of-00001", "data/extra-00000-of-00001"), [1]),
        (("train", "test"), [1]),
        (("imagenet-train-0001", "imagenet-val-0001", "imagenet-val-0002"), [1, 2]),
        (("default/train/0000", "default/validation/0000"), [1]),
    ],
)
def test_splits_of_tables(names, test, tmp_path):
    for number, name in enumerate(names):
        write(tmp_path / f"{name}.parquet", [number])
    found, sentences = said(lambda: colours_of(tmp_path))
    assert (found, sentences) == (colours(test), [])


def test_tables_outside_the_splits_are_counted(tmp_path):
    for number, name in enumerate(["train/0", "test/0", "more/0", "more/1"]):
        write(tmp_path / f"{name}.tar", [number])
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert found == colours([1])
    assert "2 of the 4 tables and archives" in sentence
    assert "2 in more" in sentence


def test_of_several_forms_the_most_frequent_is_used_and_the_rest_is_counted(tmp_path):
    for number, name in enumerate(["a.parquet", "b.parquet", "c.tar"]):
        write(tmp_path / name, [number])
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert found == colours([0, 1])
    assert "1 of the 3 tables and archives" in sentence
    _, [sentence] = said(lambda: colours_of(sorted(tmp_path.iterdir())))
    assert "1 of the 3 tables and archives" in sentence


def test_tables_on_the_hub_that_datasets_leaves_out_are_counted(tmp_path, hub):
    for number, name in enumerate(["train/0", "test/0", "more/0"]):
        write(tmp_path / f"{name}.parquet", [number])
    make(tmp_path, "assets/preview.png")
    hub.add("dataset", "ada/tables", tmp_path)
    found, sentences = said(lambda: colours_of("ada/tables"))
    assert len(found) == 1
    assert any("1 of the 3 tables and archives" in sentence for sentence in sentences)
    assert any(sentence.startswith("1 image file(s)") for sentence in sentences)


@pytest.mark.parametrize("name", ["labels.parquet", "labels.tar", "labels.arrow"])
def test_tables_without_images_beside_images_do_not_decide(name, tmp_path):
    expected = make(tmp_path, *numbered("photos", 6))
    labels = datasets.Dataset.from_dict({"image_id": ["a", "b"], "label": [0, 1]})
    if name.endswith("parquet"):
        labels.to_parquet(tmp_path / name)
    elif name.endswith("arrow"):
        pyarrow.feather.write_feather(labels.data.table, tmp_path / name)
    else:
        packed(tmp_path / name, [("0.txt", b"a")])
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert sorted(found) == sorted(expected.values())
    assert "hold no images: the 6 image files are used" in sentence


def zipped(path, numbers):
    with zipfile.ZipFile(path, "w") as archive:
        for number in numbers:
            archive.writestr(f"{number}.png", png(number))


def test_zip_files_alone_and_beside_images(tmp_path):
    zipped(tmp_path / "a.zip", range(3))
    assert colours_of(tmp_path) == colours(range(3))
    expected = make(tmp_path, "x.png")
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert found == list(expected.values())
    assert "1 of the 1 tables and archives" in sentence


@pytest.mark.parametrize("name", ["a_labels.parquet", "z_labels.parquet"])
def test_parquet_files_without_the_column_of_the_images(name, tmp_path):
    write(tmp_path / "images.parquet", range(3))
    datasets.Dataset.from_dict({"image_id": ["a"] * 9, "label": [1] * 9}).to_parquet(tmp_path / name)
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert found == colours(range(3))
    assert f"1 of the 2 Parquet files have no column image and are not used: {name}" in sentence


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_a_damaged_table_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"ARROW1" + bytes(90) if name.endswith("feather") else b"x" * 90)
    with pytest.raises(DatasetError, match=rf"No images could be read.*{name}: "):
        colours_of(tmp_path)


@pytest.mark.parametrize("name", ["a.npy", "a.pt", "a.mat", "a"])
def test_a_file_of_another_kind_is_one_sentence(name, tmp_path):
    (tmp_path / name).write_bytes(b"x" * 90)
    with pytest.raises(DatasetError, match=f"{name}.*Expected image files, Parquet files") as raised:
        colours_of(str(tmp_path / name))
    assert len(str(raised.value)) < 400


def test_a_pattern_that_matches_other_files_too(tmp_path):
    expected = make(tmp_path, *numbered("", 3))
    for name in ("README.txt", "Thumbs.db", "labels.csv"):
        (tmp_path / name).write_text("x")
    assert colours_of(str(tmp_path / "*")) == list(expected.values())


# archives


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@pytest.mark.parametrize("first", [5, LOOKED_AT - 1])
def test_masks_that_come_first_are_not_the_images(ending, first, tmp_path):
    members = [(f"{n:03}.mask.png", png(n)) for n in range(first)]
    for number in range(first, first + 6):
        members += [(f"{number:03}.mask.png", png(number)), (f"{number:03}.jpg", png(number + 500))]
    packed(tmp_path / f"a.{ending}", members)
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert found == [None] * first + colours(range(first + 500, first + 506))
    assert "jpg is used" in sentence
    assert colours_of(tmp_path, image_column="mask.png") == colours(range(first + 6))


def test_an_image_and_a_mask_by_their_names(tmp_path):
    packed(
        tmp_path / "a.tar", [(f"{n}.{f}.png", png(n + (f == "seg"))) for n in (0, 7) for f in ("seg", "rgb")]
    )
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert found == colours([0, 7])
    assert "rgb.png is used" in sentence


@pytest.mark.parametrize("ending", ["tar", "tgz"])
def test_many_members_without_images_may_come_first(ending, tmp_path):
    members = [(f"a{n:03}.json", b"{}") for n in range(50)] + [(f"b{n}.png", png(n)) for n in range(3)]
    packed(tmp_path / f"a.{ending}", members)
    assert colours_of(tmp_path) == [None] * 50 + colours(range(3))


def test_names_with_several_dots_are_one_field(tmp_path):
    packed(tmp_path / "a.tar", [(f"photo{n}.v{n}.2020.png", png(n)) for n in range(20)])
    assert said(lambda: colours_of(tmp_path)) == (colours(range(20)), [])


def test_an_archive_of_folders_with_masks_and_hidden_files(tmp_path):
    members = [(f"./data/images/{n}.jpg", png(n)) for n in range(4)]
    members += [(f"./data/masks/{n}.png", png(n + 50)) for n in range(4)]
    members += [("./__MACOSX/data/images/x.jpg", b"junk"), ("./.git/y.png", b"junk")]
    packed(tmp_path / "a.tar", members)
    found, [sentence] = said(lambda: colours_of(tmp_path))
    assert found == colours(range(4))
    assert "4 of the 8 images in a.tar are not used: 4 in ./data/masks" in sentence


def test_a_damaged_compressed_archive_costs_what_is_lost(tmp_path):
    noise = np.random.default_rng(0)
    members = [(f"{n}.png", png(n)) for n in range(3)] + [
        (f"z{n}.bin", noise.bytes(20_000)) for n in range(9)
    ]
    packed(tmp_path / "a.tar.gz", members)
    content = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(content[: len(content) // 2])
    assert colours_of(tmp_path)[:3] == colours(range(3))


def test_an_archive_without_images_says_so(tmp_path):
    packed(tmp_path / "a.tgz", [("0.txt", b"a")])
    with pytest.raises(DatasetError, match=r"a\.tgz holds no example with an image"):
        colours_of(tmp_path)
