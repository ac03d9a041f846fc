"""An analysis that ends at any of its writes, before or after, goes on to the bits of one that never ended."""

import threading

import numpy as np
import pytest
from PIL import Image

import hf_affscore as ha
from hf_affscore import signature
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import AffscoreWarning
from hf_affscore.run import keep, resume
from hf_affscore.run.cache import cache_entries
from hf_affscore.run.forward import BatchForward
from hf_affscore.storage import write_atomically
from tests.processes import run_script
from tests.run.test_scoring import Meeting, OneOfThreads, in_threads

#: Two of the nineteen layers of the embedded network are left.
FEW_LAYERS = {
    "exclude": [
        f"resnet.encoder.stages.{path}" for path in ("[12].*", "0.layers.1.*", "0.layers.0.activation")
    ]
}
KINDS = {
    "one group": {"num_samples": 32, "batch_size": 16},
    "parts": {"num_samples": 32, "batch_size": 32, "num_groups": 4},
    "kept rows": {"num_samples": 32, "batch_size": 16, "keep_rows": "rows"},
    "undecodable": {"num_samples": 18, "batch_size": 12, "shuffle": False},
    "all groups": {"num_samples": "all", "max_images": 40, "group_size": 16, "batch_size": 8},
    "all in one group": {"num_samples": "all", "max_images": 24, "group_size": 32, "batch_size": 16},
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twenty-two images of which two cannot be decoded."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(22):
        Image.fromarray(pixels(index)).save(folder / f"{index:02}.png")
    for index in (3, 11):
        (folder / f"{index:02}.png").write_bytes(b"broken")
    return folder


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)


class Writes:
    """Counts the writes of analyses, and interrupts one of them before or after it."""

    def __init__(self):
        self.count, self.at, self.after = 0, None, False
        self.names = []
        self._lock = threading.Lock()

    def __call__(self, path, content):
        with self._lock:
            number = self.count
            self.count += 1
        if number == self.at and not self.after:
            raise KeyboardInterrupt
        write_atomically(path, content)
        self.names.append(path.name)
        if number == self.at:
            raise KeyboardInterrupt

    def interrupt(self, number, after):
        self.count, self.at, self.after = 0, number, after


@pytest.fixture
def writes(monkeypatch):
    found = Writes()
    for module in (resume, signature, keep):
        monkeypatch.setattr(module, "write_atomically", found)
    return found


def content(sig):
    """Everything in a signature but when it was made."""
    environment = {**sig.metadata["environment"], "created": None}
    return sig.rows, sig.skipped, {**sig.metadata, "environment": environment}


@pytest.mark.filterwarnings("ignore::hf_affscore.errors.AffscoreWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_an_end_at_any_write_changes_nothing(kind, pictures, tmp_path, writes, monkeypatch):
    images = pictures if kind == "undecodable" else DEMO_DATASET

    def analysed(name):
        monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / name))
        options = {**KINDS[kind], **FEW_LAYERS, "progress": False}
        if "keep_rows" not in options:
            return content(ha.analyze(DEMO_MODEL, images, **options))
        folder = tmp_path / f"{name}.rows"
        sig = ha.analyze(DEMO_MODEL, images, **{**options, "keep_rows": folder})
        rows = ha.load_rows(folder)
        return content(sig), rows.ids, rows.apply(lambda pre, post: (pre.tobytes(), post.tobytes()))

    whole = analysed("whole")
    total = writes.count
    assert {name.split("-")[0] for name in writes.names} >= {"asked.json", "batch", "layer", "group"}
    for number in range(total):
        for after in (False, True):
            writes.interrupt(number, after)
            folder = f"{number}-{after}"
            with pytest.raises(KeyboardInterrupt):
                analysed(folder)
            writes.interrupt(None, False)
            assert analysed(folder) == whole, (number, after)
            left = {path.name for path in (tmp_path / folder).glob("*/*")}
            assert left == {".lock", "asked.json", "signature.json", "signature.parquet"}, (number, after)
    writes.interrupt(total, True)  # there is no further write
    assert analysed("more") == whole


KILLED = """
import json, os, sys, warnings
import hf_affscore as ha
from hf_affscore import signature
from hf_affscore.run import resume
from hf_affscore.run.processes import Processes
from hf_affscore.storage import write_atomically

warnings.simplefilter("ignore")
model, data, rank, at, after = *sys.argv[1:3], *map(int, sys.argv[3:])
count = 0

def write(path, content):
    global count
    count += 1
    mine = int(os.environ.get("RANK", 0)) == rank and count == at
    if mine and not after:
        os._exit(9)
    write_atomically(path, content)
    if mine:
        os._exit(9)

resume.write_atomically = signature.write_atomically = write
options = dict(num_samples="all", max_images=80, group_size=32, batch_size=8)
found = ha.analyze(model, data, **options, exclude=["resnet.encoder.stages.[12].*"])
if Processes.current().is_main:
    print(json.dumps([found.to_dict()["rows"], found.metadata["dataset"]]))
Processes.current().disconnect()
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Runs the script above with a cache of some name, and what an undisturbed process prints."""
    folder = tmp_path_factory.mktemp("killed")
    script = folder / "killed.py"
    script.write_text(KILLED)

    def run(cache, processes, *when):
        settings = {"HF_AFFSCORE_CACHE": folder / cache}
        return run_script(script, DEMO_MODEL, DEMO_DATASET, *when, processes=processes, settings=settings)

    return run, run("alone", 1, 0, 99, 0).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "at", "after"), [(0, 2, 0), (0, 5, 1), (0, 9, 0), (0, 99, 1), (1, 1, 1), (1, 4, 0), (1, 8, 1)]
)
def test_a_process_killed_at_a_write_changes_nothing(rank, at, after, killed):
    """Also where one process has written more than the other; 99 is no write, and the run is a whole one."""
    run, alone = killed
    cache = f"{rank}-{at}-{after}"
    first = run(cache, 2, rank, at, after)
    assert (first.returncode == 0) == (at == 99), first.stderr
    resumed = run(cache, 2, 0, 99, 0)
    assert resumed.stdout == alone != "", resumed.stderr


# images that are removed or repaired meanwhile


@pytest.fixture
def forwards(monkeypatch):
    """Positions of the images of every forward pass; one of them can be interrupted."""
    real, seen = BatchForward.run, []

    def run(self, inputs, images, summarize):
        if len(seen) == run.interrupt_at:
            raise KeyboardInterrupt
        seen.append(list(images))
        return real(self, inputs, images, summarize)

    run.interrupt_at = None
    monkeypatch.setattr(BatchForward, "run", run)
    return seen, lambda number: setattr(run, "interrupt_at", number)


def copied(folder, source, without=()):
    folder.mkdir()
    for path in source.iterdir():
        if path.name not in without:
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


OPTIONS = {"num_samples": 20, "batch_size": 4, "shuffle": False, "progress": False}
GROUPS = {**OPTIONS, "num_samples": "all", "group_size": 8}


@pytest.mark.filterwarnings("ignore::hf_affscore.errors.AffscoreWarning")
@pytest.mark.parametrize(
    ("options", "passes", "change", "kept"),
    [
        (OPTIONS, 4, "repaired", 3),
        (OPTIONS, 4, "removed", 2),  # images that come later in a batch than before are run again
        (OPTIONS, 4, "added", 4),
        (GROUPS, 4, "repaired", 3),
        (GROUPS, 6, "repaired", 4),  # the first group was scored
        (GROUPS, 6, "removed", 3),
        (GROUPS, 6, "added", 6),
    ],
)
def test_finished_work_stays_valid_where_its_images_are_the_same(
    options, passes, change, kept, cache, pictures, tmp_path, forwards
):
    """The image at position 11 is bad; it is repaired or removed, or one is added at the end."""
    seen, interrupt = forwards
    folder = copied(tmp_path / "images", pictures)
    interrupt(passes)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, folder, **options)
    if change == "repaired":
        Image.fromarray(pixels(11)).save(folder / "11.png")
    elif change == "removed":
        (folder / "11.png").unlink()
    else:
        Image.fromarray(pixels(99)).save(folder / "zz.png")
    interrupt(None)
    resumed = ha.analyze(DEMO_MODEL, folder, **options)
    made_again = len(seen) - passes
    whole = ha.analyze(DEMO_MODEL, folder, **options, cache=False)
    assert len(seen) - passes - made_again == made_again + kept
    assert (resumed.rows, resumed.skipped) == (whole.rows, whole.skipped)
    assert resumed.metadata["dataset"] == whole.metadata["dataset"]
    (entry,) = cache_entries()
    assert entry.finished


def test_a_file_of_the_same_name_and_other_content_is_another_image(cache, tmp_path, pictures, forwards):
    seen, interrupt = forwards
    folder = copied(tmp_path / "images", pictures, without=("03.png", "11.png"))
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, folder, **OPTIONS)
    Image.fromarray(pixels(77)).save(folder / "00.png")
    seen.clear()
    interrupt(None)
    resumed = ha.analyze(DEMO_MODEL, folder, **OPTIONS)
    assert seen[0] == [0, 1, 2, 3]
    assert resumed.rows == ha.analyze(DEMO_MODEL, folder, **OPTIONS, cache=False).rows


def test_folders_of_one_name_do_not_take_over_each_others_work(cache, tmp_path, pictures, forwards):
    _, interrupt = forwards
    one, other = tmp_path / "one" / "images", tmp_path / "other" / "images"
    for folder in (one, other):
        folder.parent.mkdir()
        copied(folder, pictures, without=("03.png", "11.png"))
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, one, **OPTIONS)
    interrupt(None)
    ha.analyze(DEMO_MODEL, other, **OPTIONS)
    assert sorted(entry.finished for entry in cache_entries()) == [False, True]


def test_a_run_at_work_keeps_its_parts(cache, tmp_path, pictures, forwards):
    from filelock import FileLock

    _, interrupt = forwards
    folder = copied(tmp_path / "images", pictures, without=("03.png", "11.png"))
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, folder, **OPTIONS)
    (entry,) = cache_entries()
    Image.fromarray(pixels(99)).save(folder / "zz.png")
    interrupt(None)
    with FileLock(cache / entry.key / ".lock"):
        ha.analyze(DEMO_MODEL, folder, **OPTIONS)
    assert len(list((cache / entry.key).glob("batch-*"))) == 2


def test_images_of_parquet_files_are_known_by_their_content(cache, tmp_path, forwards):
    import io

    import datasets

    def write(seeds):
        encoded = []
        for seed in seeds:
            buffer = io.BytesIO()
            Image.fromarray(pixels(seed)).save(buffer, "png")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        features = datasets.Features({"image": datasets.Image()})
        datasets.Dataset.from_dict({"image": encoded}, features=features).to_parquet(
            str(tmp_path / "data" / "test.parquet")
        )

    _, interrupt = forwards
    (tmp_path / "data").mkdir()
    write(range(20))
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, tmp_path / "data", **OPTIONS)
    write([*range(18), 98, 99])
    interrupt(None)
    resumed = ha.analyze(DEMO_MODEL, tmp_path / "data", **OPTIONS)
    assert resumed.rows == ha.analyze(DEMO_MODEL, tmp_path / "data", **OPTIONS, cache=False).rows


def test_the_processes_agree_to_do_without_a_cache(cache, monkeypatch):
    """One of them cannot make the folder on its machine; the main one can."""
    asked = {"model": {"name": "m", "state": "1"}, "dataset": {"name": "d", "state": "2"}, "options": {}}
    meeting = Meeting(3)

    def opened(rank):
        return resume.ResumeCache.open(asked, OneOfThreads(rank, meeting)).folder

    alone = resume.ResumeCache.open(asked, OneOfThreads(0, Meeting(1)))
    alone.close()
    assert alone.folder is not None
    real = resume.ResumeCache._make

    def make(self):
        if fails.pop(0):
            return "the cache folder /nowhere cannot be used (read-only)"
        return real(self)

    fails = [False, True, False]
    monkeypatch.setattr(resume.ResumeCache, "_make", make)
    with pytest.warns(AffscoreWarning, match="cannot be used .*goes on without its cache"):
        assert in_threads(3, opened) == [None, None, None]
