"""Every source of images, and every kind of image, becomes the same stream of upright RGB."""

import io
import tarfile
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pytest
import torch
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from hf_affscore.errors import AffscoreWarning, DatasetError, InputError
from hf_affscore.images import ranges
from hf_affscore.images import stream as streams
from hf_affscore.images.decoding import Undecodable, fetch, to_rgb
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.images.stream import ImageStream
from hf_affscore.options import Options
from tests.versions import needs


def picture(value, size=(5, 4)):
    return Image.new("RGB", size, (value, value, value))


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def values(stream):
    """The grey value of every decoded image of a stream, None where it cannot be decoded."""
    found = []
    for item in stream.items:
        try:
            found.append(stream.decode(item).getpixel((0, 0))[0])
        except Undecodable:
            found.append(None)
    return found


def opened(dataset, **options):
    asked = Options(**{"shuffle": False, **options})
    if isinstance(dataset, str | Path):
        dataset = locate_images(dataset, asked)
    return open_images(dataset, asked, lambda: (3, 4, 5))


@pytest.fixture
def folder(tmp_path):
    for value in (10, 20, 30):
        picture(value).save(tmp_path / f"{value}.png")
    return tmp_path


@pytest.fixture
def encoded():
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    images = [{"bytes": png(picture(value)), "path": None} for value in range(40)]
    return datasets.Dataset.from_dict({"image": images, "label": list(range(40))}, features=features)


# sources


def test_a_folder_of_images(folder):
    assert values(opened(folder)) == [10, 20, 30]
    assert values(opened(str(folder))) == [10, 20, 30]


def test_a_folder_of_parquet_streams(encoded, tmp_path):
    encoded.to_parquet(tmp_path / "validation.parquet")
    stream = opened(tmp_path)
    assert values(stream) == list(range(40))
    assert stream.metadata["split"] == "validation"


@pytest.fixture
def photographs(tmp_path):
    """Two Parquet files of one row group each, 16 MB of what cannot be compressed in the first."""
    noise = np.random.default_rng(0)
    columns = {"label": [], "image": []}
    for value in range(300):
        picture = {"bytes": noise.bytes(64_000), "path": f"{value}.jpg"}
        columns["image"].append(picture)
        columns["label"].append(value)
    features = datasets.Features({"label": datasets.Value("int64"), "image": datasets.Image()})
    whole = datasets.Dataset.from_dict(columns, features=features)
    whole.select(range(256)).to_parquet(tmp_path / "train-0.parquet", batch_size=256)
    whole.select(range(256, 300)).to_parquet(tmp_path / "train-1.parquet", batch_size=256)
    return tmp_path


def read(stream):
    """The encoded images of a stream."""
    return fetched(stream, stream.items)


@pytest.mark.parametrize("shuffle", [False, True])
def test_parquet_gives_what_datasets_gives(photographs, shuffle):
    theirs = datasets.load_dataset(str(photographs))["train"]
    theirs = theirs.cast_column("image", datasets.Image(decode=False))
    if shuffle:
        theirs = theirs.shuffle(seed=3)
    ours = opened(photographs, shuffle=shuffle, seed=3)
    assert list(read(ours)) == [item["image"] for item in theirs]


def test_parquet_is_read_a_few_rows_at_a_time(photographs):
    items = read(opened(photographs, shuffle=True))
    before = pyarrow.total_allocated_bytes()
    held = []
    for _ in range(200):
        next(items)
        held.append(pyarrow.total_allocated_bytes() - before)
    assert max(held) < 6e6  # the row group has 16 MB


def test_a_stream_of_parquet_ends_at_once(photographs):
    stream = opened(photographs)
    items = stream.resumed()
    next(items)
    start = time.perf_counter()
    items.close()
    assert time.perf_counter() - start < 2  # datasets would sleep for five


def test_a_configuration_that_filters_rows_is_obeyed(photographs):
    config = {"config_name": "default", "data_files": "*.parquet", "columns": ["image", "label"]}
    card = yaml.safe_dump({"configs": [{**config, "filters": [["label", ">", 297]]}]})
    (photographs / "README.md").write_text(f"---\n{card}---\n", encoding="utf-8")
    paths = [item["path"] for item in opened(photographs).items]
    assert paths == ["298.jpg", "299.jpg"]


@pytest.fixture
def shards(tmp_path):
    """WebDataset: tar archives in which the files of one example share their stem."""
    for shard, start in enumerate((0, 20)):
        with tarfile.open(tmp_path / f"train-{shard:04}.tar", "w") as archive:
            for value in range(start, start + 20):
                for suffix, content in (("png", png(picture(value))), ("cls", b"3"), ("json", b"{}")):
                    member = tarfile.TarInfo(f"{value:06}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return tmp_path


def test_a_folder_of_webdataset_shards_streams(shards):
    stream = opened(shards)
    assert values(stream) == list(range(40))
    assert stream.metadata["image_column"] == "png"
    assert stream.metadata["split"] == "train"
    assert values(opened(shards, split="train[35:]")) == list(range(35, 40))
    drawn = values(opened(shards, shuffle=True, seed=1))
    assert sorted(drawn) == list(range(40))
    assert drawn != list(range(40))


def test_webdataset_shards_on_the_hub_stream(shards, hub):
    hub.add("dataset", "ada/shards", shards)
    assert values(opened("ada/shards")) == list(range(40))


@pytest.fixture
def files_on_the_hub(hub):
    """Forty images in files of their own, of which one is none; only for ada."""
    files = {f"test/{value:02}.png": png(picture(value)) for value in range(40)}
    hub.add("dataset", "ada/files", files | {"test/05.png": b"no image"}, private=True)
    return hub


def fetched(stream, items):
    return (item for _, read in stream.fetched((None, [item]) for item in items) for item in read)


def fetched_values(stream):
    return values(ImageStream(fetched(stream, stream.items), stream.decode, {}))


def test_files_on_the_hub_are_read_when_they_are_asked_for(files_on_the_hub, monkeypatch):
    monkeypatch.setattr(ranges, "LOOKED_AT", 3)  # these are read at once, and not again
    token = files_on_the_hub.token("ada")
    expected = [None if value == 5 else value for value in range(40)]
    stream = opened("ada/files", token=token)
    assert fetched_values(stream) == expected
    assert sorted(fetched_values(opened("ada/files", token=token, shuffle=True)), key=str) == sorted(
        expected, key=str
    )
    assert fetched_values(opened("ada/files", token=token, split="test[3:7]")) == expected[3:7]
    files_on_the_hub.log.clear()
    items = iter(stream.items)
    assert [next(items)["bytes"] for _ in range(10)][3:] == [None] * 7
    rest = list(fetched(stream, items))
    assert rest[0]["bytes"] == png(picture(10))
    read = [line.path.rpartition("/")[2] for line in files_on_the_hub.log if line.path.endswith(".png")]
    assert set(read) == {f"{value:02}.png" for value in [0, 1, 2, *range(10, 40)]}
    assert len(set(read)) == len(read)


def test_files_on_the_hub_by_what_somebody_opened_with_datasets(files_on_the_hub):
    theirs = datasets.load_dataset(
        "ada/files", split="test", streaming=True, token=files_on_the_hub.token("ada")
    )
    assert fetched_values(opened(theirs)) == [None if value == 5 else value for value in range(40)]


@needs("datasets", "4.8.5", "it ends with an error where a row names no file")
def test_what_a_row_lacks_is_missing_and_the_rest_is_read(files_on_the_hub, hub):
    """The first row names no file, another one that is not there, and one is empty."""
    rows = ['{"a_file_name": "00.png", "b_file_name": null}']
    rows += [f'{{"a_file_name": "{n:02}.png", "b_file_name": "{n:02}.png"}}' for n in range(1, 6)]
    files = {f"test/{value:02}.png": png(picture(value)) for value in range(4)}
    extra = {"test/metadata.jsonl": "\n".join(rows).encode(), "test/05.png": b""}
    hub.add("dataset", "ada/rows", files | extra, private=True)
    stream = opened("ada/rows", image_column="b", token=hub.token("ada"))
    assert fetched_values(stream) == [None, 1, 2, 3, None, None]
    reasons = []
    for item in fetched(stream, stream.items):
        try:
            stream.decode(item)
        except Undecodable as error:
            reasons.append(str(error))
    assert reasons == [
        "the image is missing",
        "there is no such file (04.png)",
        "cannot identify image file (05.png)",
    ]


def test_every_repository_has_its_own_token(files_on_the_hub, hub):
    hub.add("dataset", "bob/files", {"test/a.png": png(picture(77))}, private=True)
    theirs = [
        datasets.load_dataset(f"{user}/files", split="test", streaming=True, token=hub.token(user))
        for user in ("ada", "bob")
    ]
    both = datasets.concatenate_datasets([data.decode(False) for data in theirs])
    assert fetched_values(opened(both))[-2:] == [39, 77]
    no_access = opened(theirs[0].decode(False))
    hub.store.users.clear()
    with pytest.raises(
        DatasetError, match=r"Reading 00.png of the data set failed.*Check the network and the token"
    ):
        fetched_values(no_access)


def test_no_access_is_no_missing_image(files_on_the_hub):
    def item(name, revision="main"):
        return {"path": f"hf://datasets/ada/files@{revision}/test/{name}", "bytes": None}

    ada, bob = files_on_the_hub.token("ada"), files_on_the_hub.token("bob")
    assert fetch(item("01.png"), ada)["bytes"] == png(picture(1))
    assert str(fetch(item("99.png"), ada)) == "there is no such file (99.png)"
    archive = {"path": f"zip://x.png::{item('01.png')['path']}", "bytes": None}
    assert str(fetch(archive, ada)) == "File is not a zip file (x.png)"
    for denied in (item("01.png"), item("99.png"), item("01.png", "nowhere")):
        with pytest.raises(DatasetError, match=r"Reading .*not found.*Check the network and the token"):
            fetch(denied, bob)


def test_a_stream_that_decodes_itself_names_the_way_out(files_on_the_hub):
    theirs = datasets.load_dataset(
        "ada/files", split="test", streaming=True, token=files_on_the_hub.token("ada")
    )
    stream = opened(theirs.rename_column("image", "picture"))
    with pytest.raises(DatasetError, match=r"after 5 images: it decodes its images itself.*decode\(False\)"):
        list(stream.resumed())
    with pytest.raises(DatasetError, match=r"after 0 images: it decodes its images itself"):
        list(opened(theirs.rename_column("image", "picture").skip(5), shuffle=True).resumed())


def test_few_files_on_the_hub_are_read_ahead(files_on_the_hub, monkeypatch):
    monkeypatch.setattr(streams, "FETCHERS", 4)
    monkeypatch.setattr(ranges, "LOOKED_AT", 4)
    stream = opened("ada/files", token=files_on_the_hub.token("ada"))
    files_on_the_hub.log.clear()
    items = fetched(stream, stream.items)
    for _ in range(10):
        next(items)
    items.close()
    read = {line.path for line in files_on_the_hub.log if line.path.endswith(".png")}
    assert 10 <= len(read) <= 13


def test_a_file_on_the_hub_that_cannot_be_read_is_no_broken_image(files_on_the_hub):
    stream = opened("ada/files", token=files_on_the_hub.token("ada"))
    files_on_the_hub.fail("GET", "test/12.png", 403)
    with pytest.raises(DatasetError, match=r"Reading 12.png of the data set failed: 403.*start again"):
        list(fetched(stream, stream.items))
    files_on_the_hub.fail("GET", "test/12.png")  # a cut connection, which the client mends
    assert fetched_values(stream)[12] == 12


def test_a_folder_that_datasets_saved(encoded, tmp_path):
    encoded.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=encoded, test=encoded.select([3])).save_to_disk(tmp_path / "two")
    assert values(opened(tmp_path / "one")) == list(range(40))
    assert values(opened(tmp_path / "two")) == [3]
    assert len(values(opened(tmp_path / "two", split="train"))) == 40


def test_datasets_objects(encoded):
    assert values(opened(encoded)) == list(range(40))
    assert values(opened(encoded.to_iterable_dataset())) == list(range(40))
    assert values(opened(datasets.DatasetDict(train=encoded))) == list(range(40))


def test_a_stream_that_declares_no_columns():
    def generate():
        yield {"picture": picture(1), "label": 0}
        yield {"picture": picture(2), "label": 1}

    stream = datasets.IterableDataset.from_generator(generate)
    stream = stream.map(lambda example: example)  # loses the features
    assert values(opened(stream)) == [1, 2]


def test_iterables_of_images_and_tensors():
    assert values(opened([picture(1), picture(2)])) == [1, 2]
    assert values(opened(picture(value) for value in (5, 6))) == [5, 6]
    ready = torch.zeros(3, 4, 4)
    stream = opened([ready])
    assert stream.decode(next(iter(stream.items))) is ready


def test_noise_depends_on_the_seed_and_the_index_alone():
    stream, again, other = (opened("noise", seed=seed, num_samples=4) for seed in (0, 0, 1))
    first = [stream.decode(item) for item in stream.items]
    assert len(first) == 4
    assert first[0].shape == (3, 4, 5)
    assert torch.equal(again.decode(2), first[2])
    assert not torch.equal(other.decode(2), first[2])
    assert not torch.equal(first[1], first[2])


# order


@pytest.mark.parametrize(
    "make",
    [list, lambda data: data, lambda data: data.to_iterable_dataset()],
    ids=["list", "map", "iterable"],
)
def test_shuffling_is_seeded(encoded, make):
    source = [picture(value) for value in range(40)] if make is list else make(encoded)
    one, again, other = (values(opened(source, shuffle=True, seed=seed)) for seed in (0, 0, 1))
    assert one == again != other
    assert sorted(one) == list(range(40))
    assert one != list(range(40))


def test_nothing_is_decoded_that_nobody_looks_at(tmp_path, monkeypatch):
    for value in range(30):
        picture(value).save(tmp_path / f"{value:02}.png")
    stream = opened(tmp_path)
    decoded = []
    real = PngImageFile.load_prepare
    monkeypatch.setattr(PngImageFile, "load_prepare", lambda image: decoded.append(1) or real(image))
    items = iter(stream.items)
    for _ in range(10):
        item = next(items)
    stream.decode(item)
    assert len(decoded) == 1


# columns and splits


def test_two_image_columns_have_to_be_chosen_from():
    features = datasets.Features({"left": datasets.Image(), "right": datasets.Image()})
    data = datasets.Dataset.from_dict({"left": [picture(1)], "right": [picture(2)]}, features=features)
    with pytest.raises(DatasetError, match=r"left, right\. Choose one with image_column"):
        opened(data)
    assert values(opened(data, image_column="right")) == [2]
    with pytest.raises(DatasetError, match="no column 'middle'; the columns are left, right"):
        opened(data, image_column="middle")


def test_no_image_column_says_what_there_is():
    with pytest.raises(DatasetError, match="columns are text, label"):
        opened(datasets.Dataset.from_dict({"text": ["a"], "label": [0]}))


def test_text_where_an_image_was_expected():
    with pytest.raises(DatasetError, match=r"column 'text' holds text \('a'\); expected encoded images"):
        opened(datasets.Dataset.from_dict({"text": ["a"]}), image_column="text")


def test_raw_bytes_are_read_as_encoded_images():
    data = datasets.Dataset.from_dict({"jpg": [png(picture(9))]})
    assert values(opened(data, image_column="jpg")) == [9]


@pytest.mark.parametrize("form", ["object", "folder", "parquet", "tar.gz"])
def test_a_part_outside_the_split_says_how_many_images_there_are(encoded, form, tmp_path):
    place = {
        "folder": tmp_path / "images",
        "parquet": tmp_path / "tables",
        "tar.gz": tmp_path / "archives",
    }.get(form)
    if place:
        place.mkdir()
    if form == "folder":
        for value in range(40):
            picture(value).save(place / f"{value:02}.png")
    elif form == "parquet":
        encoded.to_parquet(place / "train.parquet")
    elif form == "tar.gz":
        with tarfile.open(place / "train.tar.gz", "w:gz") as archive:
            for value in range(40):
                picture(value).save(tmp_path / "one.png")
                archive.add(tmp_path / "one.png", f"{value}.png")
    dataset = place or datasets.DatasetDict(train=encoded)
    with pytest.raises(DatasetError, match=r"has 40 images.*begins after the last"):
        list(opened(dataset, split="train[5000:]").resumed())
    with pytest.raises(DatasetError, match=r"selects no images; expected from < to"):
        opened(dataset, split="train[30:10]")
    if form != "tar.gz":
        with pytest.warns(
            AffscoreWarning, match=r"40 images; train\[35:5000\] ends after the last and gives 5"
        ):
            assert values(opened(dataset, split="train[35:5000]")) == list(range(35, 40))


def test_an_unknown_split_says_what_there_is(encoded):
    splits = datasets.DatasetDict(train=encoded, test=encoded)
    with pytest.raises(DatasetError, match="no split 'dev'; it has train, test"):
        opened(splits, split="dev")


@pytest.mark.parametrize("dataset", [3, None, b"bytes", {"image": 1}])
def test_what_images_cannot_come_from(dataset):
    with pytest.raises(InputError, match="expected a Hub id, a local folder"):
        opened(dataset)


CONFIGURATIONS = (
    b"---\nconfigs:\n- {config_name: a, data_files: a/*.png}\n- {config_name: b, data_files: b/*.png}\n---\n"
)


@pytest.mark.parametrize(
    ("files", "options", "sentence"),
    [
        ({"README.md": CONFIGURATIONS}, {}, r"missing.*\['a', 'b'\]\. Choose one with dataset_config"),
        ({"README.md": CONFIGURATIONS}, {"dataset_config": "c"}, r"'c' not found.*--dataset-config\)\.$"),
        ({"README.md": b"---\nconfigs: [\n---\n"}, {}, "could not be opened: while parsing a flow node"),
        ({"wrong.py": b"import datasets"}, {}, r"scripts are no longer supported.*Expected image files"),
        ({"test-0.tar": b"no archive"}, {}, "could not be opened: .*Expected image files"),
        ({"test.parquet": b"no table"}, {}, "could not be opened: .*Expected image files"),
    ],
)
def test_what_is_wrong_with_a_data_set_on_the_hub_is_one_sentence(hub, files, options, sentence):
    pictures = {f"{part}/{value}.png": png(picture(value)) for part in "ab" for value in range(3)}
    hub.add("dataset", "ada/wrong", files | (pictures if "README.md" in files else {}))
    with pytest.raises(DatasetError, match=f"^Data set 'ada/wrong'.*{sentence}") as raised:
        opened("ada/wrong", **options)
    assert "\n" not in str(raised.value)


def test_no_right_to_read_a_data_set_on_the_hub(hub, encoded, tmp_path):
    encoded.to_parquet(tmp_path / "test.parquet")
    hub.add("dataset", "ada/images", tmp_path)
    hub.fail("GET", "test.parquet", 403)
    with pytest.raises(DatasetError, match=r"may not read it \(403\)\. Use one with read access"):
        opened("ada/images")


def test_an_empty_folder_and_a_file(tmp_path):
    with pytest.raises(DatasetError, match="No images could be read from the folder"):
        opened(tmp_path)
    file = tmp_path / "image.png"
    picture(1).save(file)
    assert values(opened(file)) == [1]


def test_tensors_of_the_wrong_shape_or_type():
    stream = opened([torch.zeros(4, 4)])
    with pytest.raises(InputError, match=r"shape \(4, 4\); expected \(3, H, W\)"):
        stream.decode(next(iter(stream.items)))


def test_tensors_of_integers_are_pixels():
    pixels = torch.arange(60, dtype=torch.uint8).reshape(3, 4, 5)
    stream = opened([pixels])
    image = stream.decode(next(iter(stream.items)))
    assert np.array_equal(np.asarray(image), pixels.permute(1, 2, 0).numpy())


# kinds of image


def test_images_that_cannot_be_decoded_are_named(folder):
    (folder / "15.png").write_bytes(b"no image")
    (folder / "25.png").write_bytes(png(picture(25))[:40])
    assert values(opened(folder)) == [10, None, 20, None, 30]


GREY = {
    "L": lambda: Image.new("L", (4, 3), 128),
    "LA": lambda: Image.new("LA", (4, 3), (128, 10)),
    "P": lambda: Image.new("RGB", (4, 3), (128, 128, 128)).convert("P", palette=Image.Palette.ADAPTIVE),
    "RGBA": lambda: Image.new("RGBA", (4, 3), (128, 128, 128, 10)),
    "CMYK": lambda: Image.new("CMYK", (4, 3), (0, 0, 0, 127)),
    "I;16": lambda: Image.fromarray(np.full((3, 4), 128 * 257, np.uint16)),
    "I": lambda: Image.fromarray(np.full((3, 4), 128 * 257, np.int32)),
    "1x1": lambda: Image.new("RGB", (1, 1), (128, 128, 128)),
}


@pytest.mark.parametrize("kind", GREY)
def test_every_mode_becomes_8_bit_rgb(kind):
    image = to_rgb(GREY[kind]())
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (128, 128, 128)


def test_black_and_white_and_float():
    assert to_rgb(Image.new("1", (2, 2), 1)).getpixel((0, 0)) == (255, 255, 255)
    floats = to_rgb(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)))
    assert [floats.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_sixteen_bit_files_keep_their_range(tmp_path):
    Image.fromarray(np.array([[0, 20_000, 65_535]], np.uint16)).save(tmp_path / "deep.png")
    stream = opened(tmp_path)
    image = stream.decode(next(iter(stream.items)))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 78, 255]


def test_the_orientation_that_a_camera_recorded_is_applied(tmp_path):
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    stream = opened(tmp_path)
    turned = stream.decode(next(iter(stream.items)))
    assert turned.size == (1, 2)
    assert turned.getpixel((0, 0)) == (255, 0, 0)


def test_pil_images_whose_file_turns_out_damaged_and_missing_ones_are_passed_over(encoded):
    damaged = Image.open(io.BytesIO(png(Image.effect_noise((64, 64), 50))[:500]))
    closed = Image.open(io.BytesIO(png(picture(1))))
    closed.close()
    assert values(opened([picture(7), damaged, closed, picture(9)])) == [7, None, None, 9]
    missing = datasets.Dataset.from_dict(
        {"image": [None, {"bytes": png(picture(3)), "path": None}]},
        features=datasets.Features({"image": datasets.Image()}),
    )
    assert values(opened(missing)) == [None, 3]


@pytest.mark.filterwarnings("error")
def test_no_warning_of_a_library_leaks():
    infinite = np.zeros((4, 4), np.float32)
    infinite[0, 0], infinite[1, 1], infinite[2, 2], infinite[3, 3] = np.inf, -np.inf, 5, np.nan
    assert np.asarray(to_rgb(Image.fromarray(infinite)))[:, :, 0].diagonal().tolist() == [255, 0, 255, 0]
    palette = picture(8).convert("P")
    expected = to_rgb(palette).getpixel((0, 0))
    palette.info["transparency"] = bytes(range(256))
    assert to_rgb(palette).getpixel((0, 0)) == expected


def test_a_split_cannot_be_chosen_from_one_split_or_none():
    one = datasets.Dataset.from_dict({"image": [1]})
    with pytest.raises(InputError, match="one split already"):
        opened(one, split="validation")
    with pytest.raises(DatasetError, match="no split at all"):
        opened(datasets.DatasetDict())


@pytest.mark.parametrize(("name", "content"), [("test.json", "{bad"), ("broken.py", "import os")])
def test_folders_that_datasets_cannot_read(tmp_path, name, content):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / name).write_text(content)
    with pytest.raises(DatasetError, match="folder"):
        list(opened(folder).items)
