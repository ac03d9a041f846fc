"""A draw is a draw: by row number, from the whole split, by the seed alone, whatever the format."""

import hashlib
import io
import itertools
import resource
import tarfile
import time
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pyarrow.ipc
import pyarrow.parquet
import pytest
from PIL import Image
from scipy import stats

from hf_affscore.errors import DatasetError
from hf_affscore.images import beginning, draw, held
from hf_affscore.images.beginning import Beginning
from hf_affscore.images.draw import Block, draw_from_blocks, draw_rows, reach_of
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.images.stream import size_of
from hf_affscore.options import Options

CLASSES, PER_CLASS = 10, 12


def encode(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def png(number):
    """A picture that no other number has."""
    return encode(np.random.default_rng(number).integers(0, 256, (6, 5, 3), np.uint8))


PICTURES = [png(number) for number in range(CLASSES * PER_CLASS)]


def pixels_of(content):
    return hashlib.sha256(np.asarray(Image.open(io.BytesIO(content))).tobytes()).hexdigest()


#: What an independent reading of the files finds, in their order.
EXPECTED = [pixels_of(content) for content in PICTURES]


def table():
    images = [{"bytes": content, "path": f"{n:05}.png"} for n, content in enumerate(PICTURES)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    labels = [number // PER_CLASS for number in range(len(PICTURES))]
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)


def write_folder(place):
    for number, content in enumerate(PICTURES):
        path = place / f"{number // PER_CLASS:02}" / f"{number:05}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def write_parquet(place):
    table().to_parquet(place / "train.parquet", batch_size=7)


def write_many_parquet(place):
    for number in range(8):
        table().shard(8, number, contiguous=True).to_parquet(place / f"part-{number}.parquet", batch_size=4)


def write_arrow(place):
    table().save_to_disk(place, num_shards=3)


def write_arrow_files(place):
    """Both formats of Arrow: of files, and of streams."""
    halves = (table().shard(2, number, contiguous=True).data.table for number in range(2))
    with pyarrow.OSFile(str(place / "a.arrow"), "wb") as file:
        first = next(halves)
        with pyarrow.ipc.new_file(file, first.schema) as writer:
            writer.write_table(first)
    with pyarrow.OSFile(str(place / "b.arrow"), "wb") as file:
        second = next(halves)
        with pyarrow.ipc.new_stream(file, second.schema) as writer:
            writer.write_table(second)


def write_listed(place):
    """Files in one order, a list of them in another."""
    for number, content in enumerate(PICTURES):
        (place / f"{999 - number:05}.png").write_bytes(content)
    names = (f"{999 - number:05}.png" for number in range(len(PICTURES)))
    (place / "metadata.csv").write_text("\n".join(["file_name", *names]))


def write_tars(place):
    for shard, start in enumerate(range(0, len(PICTURES), 50)):
        with tarfile.open(place / f"part-{shard}.tar", "w") as archive:
            for number, content in list(enumerate(PICTURES))[start : start + 50]:
                for ending, file in (("png", content), ("cls", b"3")):
                    member = tarfile.TarInfo(f"{number:05}.{ending}")
                    member.size = len(file)
                    archive.addfile(member, io.BytesIO(file))


FORMATS = {
    "folder": write_folder,
    "parquet": write_parquet,
    "many parquet": write_many_parquet,
    "arrow": write_arrow,
    "arrow files": write_arrow_files,
    "tars": write_tars,
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The same images in the same order in every format, sorted by class."""
    made = {name: tmp_path_factory.mktemp(name.replace(" ", "-")) for name in FORMATS}
    for name, place in made.items():
        FORMATS[name](place)
    return made


def opened(dataset, **options):
    asked = Options(**options)
    if isinstance(dataset, str | Path):
        dataset = locate_images(dataset, asked)
    return open_images(dataset, asked, lambda: (3, 4, 5))


def hashes(stream, count=None):
    """SHA-256 of the pixels of the first images of a stream, read as an analysis reads them."""
    groups = ((None, [item]) for item in itertools.islice(stream.resumed(), count))
    images = [stream.decode(item) for _, [item] in stream.fetched(groups)]
    return [hashlib.sha256(np.asarray(image).tobytes()).hexdigest() for image in images]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_pixels_of_an_independent_reading(places, form):
    assert hashes(opened(places[form], shuffle=False)) == EXPECTED


def test_a_list_of_images_gives_their_order(tmp_path):
    write_listed(tmp_path)
    assert hashes(opened(tmp_path, shuffle=False)) == EXPECTED
    drawn = np.random.default_rng(5).permutation(len(PICTURES))[:20]
    assert hashes(opened(tmp_path, seed=5, num_samples=20), 20) == [EXPECTED[number] for number in drawn]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("count", [20, "all"])
def test_a_seed_draws_the_same_images_of_every_format(places, form, count):
    stream = opened(places[form], seed=5, num_samples=count, group_size=20)
    numbers = np.random.default_rng(5).permutation(len(PICTURES))
    assert stream.metadata["shuffled"] is True
    assert stream.metadata["draw"] == {"method": "uniform", "rows": len(PICTURES)}
    assert hashes(stream, None if count == "all" else count) == [
        EXPECTED[number] for number in numbers[: None if count == "all" else count]
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_a_seed_draws_the_same_images_on_the_hub(places, hub, form):
    hub.add("dataset", "ada/drawn", places[form])
    stream = opened("ada/drawn", seed=5, num_samples=20)
    found = hashes(stream, 20)
    numbers = np.random.default_rng(5).permutation(len(PICTURES))[:20]
    assert stream.metadata["draw"] == {"method": "uniform", "rows": len(PICTURES)}
    assert found == [EXPECTED[number] for number in numbers]


@pytest.mark.parametrize("form", FORMATS)
def test_a_part_of_a_split_is_drawn_from_as_a_whole(places, form):
    split = {"arrow": "all"}.get(form, "train")
    drawn = hashes(opened(places[form], split=f"{split}[31:77]", num_samples=46))
    assert sorted(drawn) == sorted(EXPECTED[31:77])
    assert drawn == [EXPECTED[31 + number] for number in np.random.default_rng(0).permutation(46)]


@pytest.mark.parametrize("form", ["parquet", "many parquet", "folder"])
def test_classes_are_drawn_as_often_as_chance_has_it(places, form):
    """Counts of classes over seeds against the hypergeometric distribution: that files are sorted is no matter."""
    count, seeds = 20, 60
    class_of = {name: number // PER_CLASS for number, name in enumerate(EXPECTED)}
    counts = np.zeros((seeds, CLASSES), int)
    for seed in range(seeds):
        stream = opened(places[form], seed=seed, num_samples=count)
        drawn = Counter(class_of[name] for name in hashes(stream, count))
        counts[seed] = [drawn[number] for number in range(CLASSES)]
    assert counts.sum(1).tolist() == [count] * seeds
    chance = stats.hypergeom(len(PICTURES), PER_CLASS, count)
    observed = np.bincount(np.minimum(counts, 4).ravel())
    expected = counts.size * np.append(chance.pmf(range(4)), chance.sf(3))
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert counts.var() == pytest.approx(chance.var(), rel=0.2)  # 600 counts: 6 % is the standard error


def test_row_groups_are_drawn_first_where_a_uniform_draw_would_read_too_much(monkeypatch):
    blocks = [Block(10, 100)] * 1000
    monkeypatch.setattr(draw, "READ_LIMIT", 50 * 100)
    order = draw_from_blocks(blocks, Options(num_samples=300, seed=1))
    assert order.record == {
        "method": "row groups",
        "rows": 10_000,
        "row_groups": 1000,
        "drawn_row_groups": 50,
        "row_groups_together": 50,
    }
    assert len(np.unique(order.numbers[:300] // 10)) <= 50
    assert sorted(order.numbers) == list(range(10_000))
    few = draw_from_blocks(blocks, Options(num_samples=40, seed=1))
    assert few.record["method"] == "uniform"
    assert few.numbers.tolist() == np.random.default_rng(1).permutation(10_000).tolist()


def test_every_image_is_as_likely_as_any_other_where_row_groups_are_drawn(monkeypatch):
    """And the counts of a class that fills row groups vary more than the hypergeometric distribution says."""
    blocks = [Block(10, 100)] * 100
    monkeypatch.setattr(draw, "READ_LIMIT", 20 * 100)
    orders = (
        draw_from_blocks(blocks, Options(num_samples=100, seed=seed)).numbers[:100] for seed in range(400)
    )
    drawn = np.array(list(orders))
    often = np.bincount(drawn.ravel(), minlength=1000)  # each image is in a tenth of the draws
    assert stats.chisquare(often.reshape(100, 10).sum(0)).pvalue > 1e-3
    assert abs(often / 400 - 0.1).max() < 5 * (0.1 * 0.9 / 400) ** 0.5
    in_first_tenth = (drawn < 100).sum(1)
    assert in_first_tenth.mean() == pytest.approx(10, abs=1)
    assert in_first_tenth.var() > 2 * stats.hypergeom(1000, 100, 100).var()


def test_a_whole_data_set_is_mixed_within_what_may_be_held(monkeypatch):
    blocks = [Block(10, 100)] * 100
    monkeypatch.setattr(draw, "READ_LIMIT", 20 * 100)
    order = draw_from_blocks(blocks, Options(num_samples="all", seed=1))
    assert order.record["method"] == "row groups"
    assert order.record["row_groups_together"] == 20
    assert order.starts.tolist() == [0, 200, 400, 600, 800]
    assert sorted(order.numbers) == list(range(1000))
    parts = [set(order.numbers[start : start + 200] // 10) for start in order.starts]
    assert all(len(part) == 20 for part in parts)


def test_a_damaged_row_group_size_or_an_empty_one_is_no_hurdle():
    order = draw_from_blocks([Block(0, 0), Block(3, 10), Block(0, 0), Block(2, 10)], Options(num_samples=5))
    assert sorted(order.numbers) == list(range(5))
    assert draw_from_blocks([], Options()).record == {"method": "uniform", "rows": 0}
    assert draw_rows(0, Options()).numbers.tolist() == []


@pytest.fixture
def reads(monkeypatch):
    """Which row groups are read, and how many rows of each."""
    from hf_affscore.images.parquet import ParquetRows

    log, real = [], ParquetRows.read
    monkeypatch.setattr(
        ParquetRows,
        "read",
        lambda self, block, numbers: log.append((block, len(numbers))) or real(self, block, numbers),
    )
    return log


@pytest.mark.parametrize(
    "options", [{"num_samples": 8}, {"num_samples": "all", "group_size": 8}, {"shuffle": False}]
)
def test_only_row_groups_that_are_needed_are_read_and_each_once(places, reads, options):
    stream = opened(places["many parquet"], seed=1, **options)
    count = 8 if options.get("num_samples") == 8 else len(PICTURES)
    hashes(stream, count)
    read = [block for block, _ in reads]
    assert len(set(read)) == len(read)
    if count == 8:
        wanted = np.random.default_rng(1).permutation(len(PICTURES))[:8]
        ends = np.cumsum([group.rows for group in blocks_of(places["many parquet"])])
        assert set(read) == set(ends.searchsorted(wanted, side="right").tolist())


def blocks_of(place):
    files = sorted(place.glob("*.parquet"))
    footers = map(pyarrow.parquet.read_metadata, files)
    return [Block(f.row_group(n).num_rows, 0) for f in footers for n in range(f.num_row_groups)]


@pytest.mark.parametrize("written", [100, 1_000])
def test_rows_stay_in_memory_where_the_disk_is_full(places, written):
    expected = hashes(opened(places["many parquet"]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, before[1]))  # as a disk that fills up
    try:
        assert hashes(opened(places["many parquet"])) == expected
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_windows_are_held_one_after_the_other(places, monkeypatch, reads):
    """Of a data set that is larger than what may be held, each row group is read once, and files are closed."""
    monkeypatch.setattr(draw, "READ_LIMIT", 3000)
    monkeypatch.setattr(held, "BEHIND", 40)
    stream = opened(places["many parquet"], num_samples="all", group_size=8)
    assert stream.metadata["draw"]["method"] == "row groups"
    assert stream.metadata["shuffled"] is False
    assert sorted(hashes(stream)) == sorted(EXPECTED)
    read = [block for block, _ in reads]
    assert len(set(read)) == len(read) == stream.metadata["draw"]["row_groups"]


def test_images_share_a_temporary_file(places, monkeypatch):
    made, window = [], held._Window
    monkeypatch.setattr(held, "_Window", lambda: made.append(window()) or made[-1])
    assert len(hashes(opened(places["many parquet"]))) > len(made) == 1


def test_scores_of_a_few_row_groups_have_no_error_and_say_why(places, monkeypatch):
    import hf_affscore as ha
    from hf_affscore.assets import DEMO_MODEL

    whole = ha.analyze(DEMO_MODEL, places["many parquet"], num_samples=40, cache=False)
    assert not any(np.isnan(row.affinity_score_stderr) for row in whole.rows)
    monkeypatch.setattr(draw, "READ_LIMIT", 3000)
    few = ha.analyze(DEMO_MODEL, places["many parquet"], num_samples=40, cache=False)
    assert few.metadata["dataset"]["draw"]["drawn_row_groups"] < 32
    for row in few.rows:
        assert np.isnan([row.affinity_score_stderr, row.affinity_score_low, row.affinity_score_high]).all()
        assert "of 32 row groups, so that they are not independent" in row.reason
    few.summary()
    str(few)


SAME_ORDER = {
    **{form: lambda places, form=form: places[form] for form in FORMATS},
    "list": lambda places: [Image.open(io.BytesIO(content)) for content in PICTURES],
    "list of pairs": lambda places: [(Image.open(io.BytesIO(content)), 7) for content in PICTURES],
    "generator": lambda places: (Image.open(io.BytesIO(content)) for content in PICTURES),
    "stream": lambda places: table().to_iterable_dataset(),
    "object": lambda places: table(),
    "column of paths": lambda places: datasets.Dataset.from_dict(
        {"path": list(map(str, sorted(places["folder"].rglob("*.png"))))}
    ),
}


@pytest.fixture(scope="module")
def scores_of_the_folder(places):
    return scores(places["folder"], seed=2)


def scores(dataset, *, seed):
    """Every number of a signature but the time it took."""
    import hf_affscore as ha
    from hf_affscore.assets import DEMO_MODEL

    signature = ha.analyze(DEMO_MODEL, dataset, num_samples=40, seed=seed, cache=False, batch_size=40)
    return np.array([[row.affinity_score, row.affinity_score_stderr, row.r2] for row in signature.rows])


@pytest.mark.parametrize("form", SAME_ORDER)
def test_the_same_images_in_the_same_order_give_the_same_bits(places, scores_of_the_folder, form):
    found = scores(SAME_ORDER[form](places), seed=2)
    assert np.isfinite(found).any()
    assert np.array_equal(found, scores_of_the_folder, equal_nan=True)


def test_the_same_images_in_another_order_give_the_same_scores_in_the_mean(tmp_path):
    """Sorted by class as Parquet, mixed as an archive, by names as a folder: differences are within chance.

    Classes differ in contrast, so that images of a few classes have other scores.
    """
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (10, 12, 6, 5, 3))
    pictures = [(128 + (pixels - 128) * (label + 1) / 10) for label, of in enumerate(noise) for pixels in of]
    encoded = [encode(pixels.astype(np.uint8)) for pixels in pictures]
    (tmp_path / "images").mkdir()
    for content in encoded:
        (tmp_path / "images" / f"{hashlib.sha256(content).hexdigest()}.png").write_bytes(content)
    with tarfile.open(tmp_path / "mixed.tar", "w") as archive:
        for number in random.permutation(len(encoded)):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(encoded[number])
            archive.addfile(member, io.BytesIO(encoded[number]))
    columns = {"image": [{"bytes": content, "path": None} for content in encoded]}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "sorted.parquet", batch_size=7)
    seeds, means, errors = range(5), [], []
    for name in ("images", "mixed.tar", "sorted.parquet"):
        drawn = np.array([np.nanmean(scores(tmp_path / name, seed=seed)[:, 0]) for seed in seeds])
        means.append(drawn.mean())
        errors.append(drawn.std(ddof=1) / len(seeds) ** 0.5)
    for one, other in itertools.combinations(range(3), 2):
        assert abs(means[one] - means[other]) < 4 * np.hypot(errors[one], errors[other])


# streams


class Stream:
    """What can be read from its beginning on, again and again."""

    def __init__(self, count, size=100):
        self.count, self.size = count, size

    def __iter__(self):
        return ({"bytes": bytes(self.size), "path": str(number)} for number in range(self.count))


def drawn_paths(stream, metadata, limit, seed=3):
    return [int(item["path"]) for item in Beginning(stream, seed, size_of, metadata, limit)]


def test_a_stream_that_fits_is_drawn_from_as_if_its_length_had_been_known():
    metadata = {}
    assert drawn_paths(Stream(50), metadata, 10**6) == np.random.default_rng(3).permutation(50).tolist()
    assert metadata == {"shuffled": True, "draw": {"method": "uniform", "rows": 50}}
    assert reach_of(metadata["draw"]) is None


def test_of_a_longer_stream_it_is_said_how_far_the_draw_reached():
    metadata = {}
    items = iter(Beginning(Stream(1000), 3, size_of, metadata, 100 * 1100))
    first = [int(next(items)["path"]) for _ in range(20)]
    assert metadata["shuffled"] is False
    assert metadata["draw"] == {"method": "beginning", "reached": 121, "ended": False}
    assert max(first) < 121
    assert "from the first 121 of a stream whose length is not known" in reach_of(metadata["draw"])
    assert sorted(first + [int(item["path"]) for item in items]) == list(range(1000))
    assert reach_of(metadata["draw"]) is None


@pytest.mark.parametrize("limit", [10**6, 100 * 1100])
def test_the_place_of_every_item_in_the_stream_is_known(limit):
    items = Beginning(Stream(300), 3, size_of, {}, limit)
    for _ in range(2):  # reopened, from the first item on
        for given, item in enumerate(items):
            assert items.numbers[given] == int(item["path"])
        assert sorted(items.numbers) == list(range(300))


def test_of_a_stream_of_known_length_the_share_is_recorded():
    metadata = {}
    items = iter(Beginning(Stream(1000), 3, size_of, metadata, 100 * 1100, rows=1000))
    next(items)
    assert metadata["draw"] == {
        "method": "beginning",
        "ended": False,
        "reached": 102,
        "rows": 1000,
        "share": 0.102,
    }
    assert "from the first 102 of its 1000 images" in reach_of(metadata["draw"])


def test_an_analysis_warns_where_the_draw_did_not_reach_all(monkeypatch):
    import hf_affscore as ha
    from hf_affscore.assets import DEMO_MODEL

    monkeypatch.setattr(beginning, "STREAM_LIMIT", 200_000)
    images = [Image.open(io.BytesIO(content)).resize((8, 8)) for content in PICTURES]
    with pytest.warns(
        ha.errors.AffscoreWarning, match=r"drawn from the first \d+ of a stream.*had no chance"
    ):
        signature = ha.analyze(DEMO_MODEL, iter(images), num_samples=4)
    assert signature.metadata["dataset"]["shuffled"] is False
    assert signature.metadata["dataset"]["draw"]["reached"] < len(PICTURES)


# files and names


def test_a_saved_data_set_is_read_without_being_written_to(places):
    place = places["arrow"]
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in place.rglob("*")}
    state = locate_images(place, Options()).state
    hashes(opened(place))
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in place.rglob("*")} == before
    assert locate_images(place, Options()).state == state


@pytest.mark.parametrize("form", ["parquet", "tars", "many parquet"])
def test_files_can_be_named_one_by_one_in_a_list_or_by_a_pattern(places, form, monkeypatch):
    files = sorted(path for path in places[form].iterdir())
    assert hashes(opened([str(file) for file in files], shuffle=False)) == EXPECTED
    assert hashes(opened(str(places[form] / "*"), shuffle=False)) == EXPECTED
    first = hashes(opened(files[0], shuffle=False))
    assert first == EXPECTED[: len(first)]
    monkeypatch.chdir(places[form])
    assert hashes(opened(files[0].name, shuffle=False)) == first


def test_a_list_of_image_files(places):
    files = sorted(places["folder"].rglob("*.png"))
    assert hashes(opened(files, shuffle=False)) == EXPECTED
    assert hashes(opened(str(places["folder"] / "0[12]" / "*.png"), shuffle=False)) == EXPECTED[12:36]


@pytest.mark.parametrize("form", ["folder", "parquet", "tars"])
def test_relative_paths_of_files_may_have_folders_in_them(places, form, monkeypatch):
    monkeypatch.chdir(places[form].parent)
    files = sorted(path for path in Path(places[form].name).rglob("*.*") if path.is_file())
    assert hashes(opened(files, shuffle=False)) == EXPECTED
    pattern = f"./{files[0].parent}/*{files[0].suffix}"
    for name in (str(files[0]), Path(files[0]), pattern):
        found = hashes(opened(name, shuffle=False))
        assert found == EXPECTED[: len(found)]
        assert found


def test_names_of_the_hub(places, hub):
    hub.add("dataset", "ada/first", places["many parquet"])
    head = hub.repo("dataset", "ada/first").refs["main"]
    for name in (
        "ada/first@main",
        f"ada/first@{head}",
        "hf://datasets/ada/first",
        "hf://datasets/ada/first@main",
        "hf://datasets/ada/first@main/*.parquet",
    ):
        stream = opened(name, shuffle=False)
        assert hashes(stream) == EXPECTED, name
        assert stream.metadata["revision"] == head
    assert hashes(opened("hf://datasets/ada/first/part-1.parquet", shuffle=False)) == EXPECTED[15:30]
    with pytest.raises(DatasetError, match="no file or folder 'nowhere'"):
        opened("hf://datasets/ada/first/nowhere")
    with pytest.raises(DatasetError, match="no revision 'nowhere'"):
        opened("ada/first@nowhere")


def test_a_folder_of_a_repository(places, hub):
    files = {f"data/{path.name}": path.read_bytes() for path in places["many parquet"].iterdir()}
    hub.add("dataset", "ada/deep", files | {"other/x.parquet": b"damaged"})
    assert hashes(opened("hf://datasets/ada/deep@main/data", shuffle=False)) == EXPECTED


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"


@pytest.mark.parametrize("name", ["cat.png", "train.parquet", "train.tar"])
def test_a_git_lfs_pointer_is_told(tmp_path, name):
    for number in range(2):
        (tmp_path / f"{number}{name}").write_bytes(POINTER)
    with pytest.raises(DatasetError, match=r"\w+\.\w+ is a Git LFS pointer.*git lfs pull"):
        opened(tmp_path)


def test_an_empty_test_split_says_so_and_names_the_others(places, tmp_path):
    splits = datasets.DatasetDict(train=table(), test=table().select([]))
    with pytest.raises(
        DatasetError, match=r"split 'test' of the data set has no images in it\. .*--split\): train"
    ):
        opened(splits)
    # Sizes are given since datasets before 5 divides by the number of rows to find them.
    splits.save_to_disk(tmp_path / "saved", num_shards={"train": 1, "test": 1})
    for name, data in splits.items():
        (tmp_path / "files").mkdir(exist_ok=True)
        data.to_parquet(tmp_path / "files" / f"{name}.parquet", batch_size=50)
    for place in (tmp_path / "saved", tmp_path / "files"):
        with pytest.raises(DatasetError, match=r"split 'test' of .*no images in it.*: train"):
            opened(place)


def test_a_folder_of_many_files_opens_at_once(tmp_path):
    for number in range(5000):
        folder = tmp_path / f"{number % 50:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(b"")
    start = time.perf_counter()
    stream = opened(tmp_path)
    assert time.perf_counter() - start < 1
    assert len(stream.items) == 5000
