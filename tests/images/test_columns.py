"""Columns in every form that people keep images in give the pixels that went into them."""

import io
import json
import warnings

import datasets
import numpy as np
import pytest
import torch
from datasets import Array3D, Dataset, Features, IterableDataset, List, Value
from datasets import Image as ImageFeature
from PIL import Image

from hf_affscore.errors import AffscoreWarning, DatasetError
from hf_affscore.images.decoding import Undecodable
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.images.transformed import Transformed
from hf_affscore.options import Options


def photo(number, size=(24, 20)):
    random = np.random.default_rng(number)
    return random.integers(0, 256, (size[1], size[0], 3), np.uint8)


PHOTOS = [photo(number) for number in range(12)]


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PNGS = [png(pixels) for pixels in PHOTOS]


def opened(dataset, **options):
    asked = Options(**{"shuffle": False, **options})
    if not isinstance(dataset, Dataset | IterableDataset | datasets.DatasetDict):
        dataset = locate_images(dataset, asked)
    return open_images(dataset, asked, lambda: (3, 4, 5))


def images(stream):
    """Every image of a stream, None where it cannot be decoded."""
    found = []
    for _, items in stream.fetched((None, [item]) for item in stream.items):
        try:
            found.append(stream.decode(items[0]))
        except Undecodable:
            found.append(None)
    return found


def holds(stream, expected=PHOTOS):
    """Whether a stream gives these pixels."""
    found = images(stream)
    assert len(found) == len(expected)
    for image, pixels in zip(found, expected, strict=True):
        assert pixels is None if image is None else np.array_equal(np.asarray(image), pixels)
    return True


def table(columns, how, tmp_path, features=None):
    """A data set as an object, as a stream, or as a folder with a Parquet file."""
    data = Dataset.from_dict(columns, features=features)
    if how == "object":
        return data
    if how == "stream":
        return data.to_iterable_dataset()
    data.to_parquet(tmp_path / "train.parquet")
    return tmp_path


FORMS = {
    "bytes": {"picture": PNGS},
    "bytes and path": {"picture": [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(PNGS)]},
    "channels last": {"pixels": [pixels.tolist() for pixels in PHOTOS]},
    "channels first": {"pixels": [pixels.transpose(2, 0, 1).tolist() for pixels in PHOTOS]},
    "uint8": {"pixels": PHOTOS},
    "lists of bytes": {"views": [[data, PNGS[0]] for data in PNGS]},
    "lists of arrays": {"views": [[pixels.tolist(), PHOTOS[0].tolist()] for pixels in PHOTOS]},
    "nested": {"sample": [{"picture": {"bytes": data, "path": None}, "id": 7} for data in PNGS]},
    "lists of nested": {"turns": [[{"picture": data, "text": "a"}] for data in PNGS]},
}


@pytest.mark.parametrize("how", ["object", "stream", "parquet"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:The column")
def test_images_are_found_in_any_form(form, how, tmp_path):
    others = {
        "label": list(range(12)),
        "caption": ["a dog.png is there"] * 12,
        "boxes": [[[1, 2, 3, 4]] * 9] * 12,
    }
    stream = opened(table(FORMS[form] | others, how, tmp_path))
    assert holds(stream)
    assert stream.metadata["image_column"] in (
        "picture",
        "pixels",
        "views",
        "sample.picture",
        "turns.picture",
    )


@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1), (1, 20, 24)], ids=str)
def test_grey_arrays(shape, tmp_path):
    grey = [pixels[..., 0] for pixels in PHOTOS]
    stream = opened(
        table({"image": [pixels.reshape(shape).tolist() for pixels in grey]}, "parquet", tmp_path)
    )
    assert holds(stream, [np.repeat(pixels[..., None], 3, -1) for pixels in grey])


def test_declared_arrays(tmp_path):
    features = Features({"image": Array3D((20, 24, 3), "uint8"), "label": Value("int64")})
    for how in ("object", "stream", "parquet"):
        assert holds(opened(table({"image": PHOTOS, "label": [0] * 12}, how, tmp_path, features)))


def test_arrays_of_whole_numbers_that_are_no_images():
    columns = {
        "boxes": [[[1, 2, 3, 4]] * 9],
        "tokens": [[[500] * 10] * 10],
        "states": [np.zeros((20, 30)).tolist()],
    }
    with pytest.raises(DatasetError, match="No column holds images; the columns are boxes, tokens, states"):
        opened(Dataset.from_dict(columns))
    assert opened(Dataset.from_dict({"states": [np.eye(20).tolist()]}), image_column="states")


# paths


@pytest.fixture
def files(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number, data in enumerate(PNGS):
        (tmp_path / "pictures" / f"{number:02}.PNG").write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("how", ["object", "stream", "parquet"])
def test_absolute_paths(files, how, tmp_path_factory):
    paths = [str(files / "pictures" / f"{number:02}.PNG") for number in range(12)]
    stream = opened(table({"image_file_path": paths, "label": [1] * 12}, how, tmp_path_factory.mktemp("t")))
    assert holds(stream)


def test_relative_paths_start_from_the_folder_of_the_data_set(files, monkeypatch, tmp_path_factory):
    paths = [f"pictures/{number:02}.PNG" for number in range(12)]
    Dataset.from_dict({"file": [*paths, "pictures/none.png"], "n": range(13)}).to_parquet(
        files / "test.parquet"
    )
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert holds(opened(files), [*PHOTOS, None])
    assert holds(opened(files / "test.parquet"), [*PHOTOS, None])


def test_relative_paths_as_windows_writes_them(files):
    lines = [f"pictures\\{number:02}.PNG,{number}" for number in range(12)]
    (files / "table.csv").write_text("\n".join(["image,label", *lines]))
    assert holds(opened(files / "table.csv"))
    lists = [f"{line.replace('pictures', '.')}" for line in lines[:5]]
    (files / "pictures" / "metadata.csv").write_text("\n".join(["file_name,label", *lists]))
    with pytest.warns(AffscoreWarning, match="7 of the 12 images"):
        assert holds(opened(files / "pictures"), PHOTOS[:5])


def test_a_table_without_names_of_columns_says_what_it_loses(files):
    lines = [f"pictures/{number:02}.PNG,{number}" for number in range(12)]
    (files / "table.csv").write_text("\n".join(lines))
    with pytest.warns(AffscoreWarning, match=r"its first line, pictures/00.PNG, is taken for the names"):
        assert holds(opened(files / "table.csv"), PHOTOS[1:])


def test_relative_paths_start_from_the_repository(hub, tmp_path):
    paths = [f"pictures/{number:02}.png" for number in range(12)]
    outside = ["/etc/passwd.png", "../../x.png", "file:///etc/passwd.png", "pictures/none.png"]
    Dataset.from_dict({"file": paths + outside, "n": range(16)}).to_parquet(tmp_path / "test.parquet")
    pictures = dict(zip(paths, PNGS, strict=True))
    hub.add("dataset", "ada/paths", {"test.parquet": (tmp_path / "test.parquet").read_bytes()} | pictures)
    stream = opened("ada/paths")
    assert holds(stream, [*PHOTOS, None, None, None, None])


def test_addresses_are_read_and_those_that_are_gone_cost_one_image(hub):
    hub.add("dataset", "ada/files", {f"{number}.png": data for number, data in enumerate(PNGS)})
    place = f"{hub.endpoint}/datasets/ada/files/resolve/main"
    urls = [f"{place}/{number}.png" for number in range(12)]
    data = Dataset.from_dict({"url": [*urls, f"{place}/gone.png", "http://127.0.0.1:9/x.png"]})
    assert holds(opened(data), [*PHOTOS, None, None])


# which of several


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (["image", "mask"], "image"),
        (["depth", "img"], "img"),
        (["jpg", "seg.png"], "jpg"),
        (["mask", "Image"], "Image"),
    ],
)
def test_of_several_the_one_with_the_usual_name(columns, chosen):
    features = Features({name: ImageFeature() for name in columns})
    pictures = {name: [Image.fromarray(photo(n))] for n, name in enumerate(columns)}
    with pytest.warns(
        AffscoreWarning, match=f"Several columns hold images: .*{chosen} is used; image_column"
    ):
        stream = opened(Dataset.from_dict(pictures, features=features))
    assert holds(stream, [photo(columns.index(chosen))])
    assert stream.metadata["image_column"] == chosen
    other = next(name for name in columns if name != chosen)
    assert holds(
        opened(Dataset.from_dict(pictures, features=features), image_column=other),
        [photo(1 - columns.index(chosen))],
    )


def test_what_is_declared_comes_before_what_looks_like_it():
    features = Features({"image": Value("binary"), "photograph": ImageFeature()})
    data = Dataset.from_dict(
        {"image": PNGS[:1], "photograph": [Image.fromarray(PHOTOS[1])]}, features=features
    )
    assert holds(opened(data), PHOTOS[1:2])


def test_two_that_are_alike_have_to_be_chosen_from():
    with pytest.raises(DatasetError, match=r"hold images: before, after\. Choose one with image_column"):
        opened(Dataset.from_dict({"before": PNGS, "after": PNGS}))


def test_rows_whose_first_images_are_missing():
    assert holds(
        opened(Dataset.from_dict({"picture": [None, None, *PNGS], "n": range(14)})), [None, None, *PHOTOS]
    )


EMPTY = {
    "None": None,
    "no bytes": {"bytes": None, "path": None},
    "an empty list": [],
    "an empty text": "",
}


@pytest.mark.parametrize("how", ["object", "stream", "parquet"])
@pytest.mark.parametrize("empty", EMPTY)
def test_columns_that_are_empty_at_first(empty, how, tmp_path, files):
    """The column is found beside one that is always empty, and beside one that looks like images from the start."""
    value = EMPTY[empty]
    pictures = {
        "None": PNGS,
        "no bytes": [{"bytes": data, "path": None} for data in PNGS],
        "an empty list": [[data] for data in PNGS],
        "an empty text": [str(files / "pictures" / f"{n:02}.PNG") for n in range(12)],
    }[empty]
    columns = {"notes": [None] * 112, "image": [value] * 100 + pictures}
    folder = tmp_path / "table"
    folder.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AffscoreWarning)
        assert holds(opened(table(columns, how, folder)), [None] * 100 + PHOTOS)
        assert holds(opened(table(columns, how, folder), image_column="image"), [None] * 100 + PHOTOS)
        masks = {"mask": [PNGS[0]] * 112} if empty != "an empty text" else {}
        assert holds(opened(table(columns | masks, how, folder)), [None] * 100 + PHOTOS)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ([7], r"numbers \(7\)"),
        (["a dog"], r"text \('a dog'\)"),
        ([b"no image"], r"bytes that are not an image"),
        ([{"x": 1}], r"fields \(x\)"),
        ([[1, 2]], "lists"),
        ([None], "nothing in its first 1 rows"),
    ],
)
def test_a_column_asked_for_that_holds_no_images(values, held):
    with pytest.raises(
        DatasetError, match=rf"The column 'what' holds {held}.*the columns are what, n"
    ) as raised:
        opened(Dataset.from_dict({"what": values, "n": [1]}), image_column="what")
    assert "\n" not in str(raised.value)


def test_a_nested_column_that_is_not_there():
    data = Dataset.from_dict({"a": [{"b": PNGS[0]}]})
    assert holds(opened(data, image_column="a.b"), PHOTOS[:1])
    for wrong in ("a.c", "a.b.c", "b"):
        with pytest.raises(DatasetError, match=rf"There is no column '{wrong}'; the columns are a\."):
            opened(data, image_column=wrong)


def test_lists_are_said_once_and_an_empty_one_is_a_missing_image():
    features = Features({"views": List(ImageFeature())})
    pictures = [
        [Image.fromarray(PHOTOS[0]), Image.fromarray(PHOTOS[1])],
        [],
        None,
        [Image.fromarray(PHOTOS[2])],
    ]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stream = opened(Dataset.from_dict({"views": pictures}, features=features))
        assert holds(stream, [PHOTOS[0], None, None, PHOTOS[2]])
    assert [str(w.message) for w in said if w.category is AffscoreWarning] == [
        "The column views holds lists of images: the first of each is used."
    ]


@pytest.mark.parametrize("how", ["object", "stream", "parquet"])
@pytest.mark.parametrize("scan", [ImageFeature(), {"bytes": Value("binary"), "path": Value("string")}])
def test_lists_of_parts_with_images_are_said(how, scan, tmp_path):
    pages = [[], *([{"scan": {"bytes": data, "path": None}, "text": "a"}] * 2 for data in PNGS)]
    features = Features({"pages": List({"scan": scan, "text": Value("string")})})
    with pytest.warns(AffscoreWarning, match="column pages.scan holds lists of images: the first of each"):
        assert holds(opened(table({"pages": pages}, how, tmp_path, features)), [None, *PHOTOS])


@pytest.mark.parametrize("how", ["object", "stream", "parquet"])
@pytest.mark.filterwarnings("ignore:The column")
def test_declared_images_inside_others_and_in_lists(how, tmp_path):
    features = Features({"a": {"b": ImageFeature(), "c": Value("int64")}, "n": Value("int64")})
    nested = {"a": [{"b": {"bytes": data, "path": None}, "c": 1} for data in PNGS], "n": range(12)}
    assert holds(opened(table(nested, how, tmp_path, features)))
    features = Features({"views": List(ImageFeature())})
    listed = {"views": [[{"bytes": data, "path": None}] * 2 for data in PNGS]}
    assert holds(opened(table(listed, how, tmp_path, features)))


@pytest.mark.parametrize("how", ["object", "stream", "parquet"])
def test_the_mode_that_is_declared(how, tmp_path):
    features = Features({"image": ImageFeature(mode="L")})
    data = table({"image": [{"bytes": data, "path": None} for data in PNGS]}, how, tmp_path, features)
    theirs = Dataset.from_dict({"image": PNGS}).cast_column("image", ImageFeature(mode="L"))
    expected = [np.asarray(example["image"].convert("RGB")) for example in theirs]
    assert holds(opened(data), expected)


# transforms and formats


def normalised(image):
    return torch.from_numpy(np.asarray(image.convert("RGB")).transpose(2, 0, 1) / np.float32(127.5) - 1)


def to_tensors(batch):
    return {"pixel_values": [normalised(image) for image in batch["image"]], "labels": batch["label"]}


@pytest.fixture
def data():
    features = Features({"image": ImageFeature(), "label": Value("int64")})
    pictures = [{"bytes": data, "path": None} for data in PNGS]
    return Dataset.from_dict({"image": pictures, "label": range(12)}, features=features)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_transform_that_gives_ready_tensors_is_used(data, shuffle):
    transformed = data.with_transform(to_tensors)
    stream = opened(transformed, shuffle=shuffle, num_samples=12)
    expected = {n: normalised(Image.fromarray(pixels)) for n, pixels in enumerate(PHOTOS)}
    found = images(stream)
    assert len(found) == 12
    if not shuffle:
        assert all(torch.equal(image, expected[n]) for n, image in enumerate(found))
    assert all(any(torch.equal(image, one) for one in expected.values()) for image in found)
    assert stream.metadata["image_column"] == "pixel_values"
    assert transformed.format["type"] == "custom"


def test_a_part_of_a_transformed_split(data):
    stream = opened(datasets.DatasetDict(train=data.with_transform(to_tensors)), split="train[3:5]")
    assert len(images(stream)) == 2
    assert torch.equal(images(stream)[0], normalised(Image.fromarray(PHOTOS[3])))
    assert len(Transformed(data).part(10, 99)) == 2


def test_a_transform_that_changes_the_images_in_place(data):
    def in_place(batch):
        batch["pixel_values"] = [normalised(image) for image in batch["image"]]
        return batch

    assert torch.equal(
        images(opened(data.with_transform(in_place)))[0], normalised(Image.fromarray(PHOTOS[0]))
    )


def test_numpy_arrays_are_ready_too(data):
    def arrays(batch):
        return {"pixel_values": [normalised(image).numpy() for image in batch["image"]]}

    assert torch.equal(images(opened(data.with_transform(arrays)))[3], normalised(Image.fromarray(PHOTOS[3])))


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        (
            lambda batch: {"image": [image.resize((3, 3)) for image in batch["image"]]},
            "gives image and no ready",
        ),
        (lambda batch: {"labels": batch["label"]}, "gives labels and no ready tensor"),
        (
            lambda batch: {"pixel_values": [torch.rand(32, 32, 3) for _ in batch["image"]]},
            "gives pixel_values and no ready",
        ),
        (lambda batch: 1 / 0, "failed on the first example"),
        (lambda batch: batch["nothing"], "failed on the first example"),
    ],
)
def test_another_transform_is_left_out_and_that_is_said(data, transform, sentence):
    with pytest.warns(AffscoreWarning, match=f"transform of the data set {sentence}.*It is not applied"):
        stream = opened(data.with_transform(transform))
    assert holds(stream)


def test_a_column_asked_for_that_the_transform_does_not_give(data):
    with pytest.warns(AffscoreWarning, match="gives ready tensors as pixel_values, but image was asked for"):
        assert holds(opened(data.with_transform(to_tensors), image_column="image"))


@pytest.mark.parametrize("format_", ["torch", "numpy", "pandas", "arrow"])
def test_a_format_is_no_matter(data, format_):
    assert holds(opened(data.with_format(format_)))


def test_a_stream_mapped_to_tensors(data):
    stream = opened(
        data.to_iterable_dataset().map(lambda example: {"pixel_values": normalised(example["image"])})
    )
    assert torch.equal(torch.as_tensor(np.asarray(images(stream)[0])), normalised(Image.fromarray(PHOTOS[0])))


def test_json_with_paths(files):
    rows = [json.dumps({"image_path": f"pictures/{number:02}.PNG", "text": "a"}) for number in range(12)]
    folder = files / "table"
    folder.mkdir()
    (files / "pictures").rename(folder / "pictures")
    (folder / "train.jsonl").write_text("\n".join(rows))
    assert holds(opened(folder))


def test_a_folder_of_texts_has_no_images(tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(DatasetError, match="Files of text are there, whose lines name no images"):
        open_images(locate_images(tmp_path, Options()), Options(), lambda: (3, 8, 8))
