"""Any number of processes, any interruption, any length: the same signature."""

import io
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.cli.printing import print_cache
from hf_affscore.errors import AffscoreWarning, DatasetError, InputError, SignatureError
from hf_affscore.images import stream as streams
from hf_affscore.images.stream import ImageStream
from hf_affscore.models import evaluation
from hf_affscore.options import Options
from hf_affscore.run import columns
from hf_affscore.run.cache import cache_entries, cache_folder, remove_from_cache
from hf_affscore.run.forward import BatchForward
from hf_affscore.run.many import analyze_many
from hf_affscore.run.resume import ResumeCache
from tests.processes import run_script, start_script, torchrun

ARGUMENTS = ["analyze", str(DEMO_MODEL), "--dataset", str(DEMO_DATASET), "--json"]


def environment(tmp_path, **more):
    return {**os.environ, "HF_AFFSCORE_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1", **more}


def rows(text):
    return json.loads(text)["rows"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path):
    """Twenty images of which two cannot be decoded."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(20):
        pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:02}.png")
    for index in (3, 11):
        (folder / f"{index:02}.png").write_bytes(b"broken")
    return folder


# processes


BOTH = """
import json, sys, warnings
import hf_affscore as ha
from hf_affscore.run.processes import Processes

warnings.simplefilter("ignore")
model, *folders = sys.argv[1:]
sizes = zip([*folders, folders[0]], (100, 17, 10))
options = {"batch_size": 7, "exclude": ["resnet.encoder.stages.2.*"], "cache": False}
found = [ha.analyze(model, folder, num_samples=n, **options) for folder, n in sizes]
if Processes.current().is_main:
    print(json.dumps([sig.to_dict() for sig in found]))
"""


@pytest.mark.slow
def test_the_signature_is_the_same_on_any_number_of_processes(tmp_path, pictures):
    """Also when the samples do not divide, one process has no images and some cannot be decoded."""
    (tmp_path / "both.py").write_text(BOTH)
    script = [str(tmp_path / "both.py"), str(DEMO_MODEL), str(DEMO_DATASET), str(pictures)]
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    accelerate += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    together = {"env": environment(tmp_path), "capture_output": True, "text": True, "timeout": 500}
    alone, two, three = (
        parts(done.stdout)
        for done in (
            run_script(*script, settings={"HF_AFFSCORE_CACHE": tmp_path}),
            subprocess.run([*accelerate, *script], **together, check=True),
            subprocess.run([*torchrun(3), *script], **together, check=True),
        )
    )
    assert (alone[1], two[1], three[1]) == (1, 2, 3)
    assert alone[0] == two[0] == three[0]


def parts(printed):
    """The rows of the signatures that the script above prints, and the number of processes it ran in."""
    signatures = json.loads(printed.splitlines()[-1])
    found = [(sig["rows"], sig["metadata"]["dataset"]["fingerprint"]) for sig in signatures]
    return found, signatures[0]["metadata"]["environment"]["num_processes"]


# interruption


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """Killed ten times, at moments spread over the whole run, and the result is that of the undisturbed run."""
    script = tmp_path / "command.py"
    script.write_text("import sys; from hf_affscore.cli import main; main(sys.argv[1:])")
    command = [script, *ARGUMENTS, "--num-samples", "512", "--batch-size", "8"]
    undisturbed = run_script(*command, settings={"HF_AFFSCORE_CACHE": tmp_path / "one"})
    cache, kills = tmp_path / "two", 0
    generator = np.random.default_rng(0)
    while kills < 10:
        (process,) = start_script(tmp_path, *command, settings={"HF_AFFSCORE_CACHE": cache})
        before = len(list(cache.glob("*/*")))
        while process.is_alive() and len(list(cache.glob("*/*"))) == before:
            time.sleep(0.01)  # until it has done something
        time.sleep(float(generator.uniform(0, 0.4)))
        process.kill()
        process.join()
        kills += 1
    done = run_script(*command, settings={"HF_AFFSCORE_CACHE": cache})
    assert rows(done.stdout) == rows(undisturbed.stdout)


def interrupted(*_):
    raise KeyboardInterrupt


def interrupt_at(number, monkeypatch):
    """Let forward pass ``number`` be interrupted, if any; returns the counter of passes."""
    real, calls = BatchForward._forward, itertools.count(1)

    def forward(self, inputs, summarize):
        if next(calls) == number:
            interrupted()
        return real(self, inputs, summarize)

    monkeypatch.setattr(BatchForward, "_forward", forward)
    return calls


def test_finished_batches_and_layers_are_not_done_again(cache, monkeypatch, capsys):
    whole = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, batch_size=16, cache=False)
    calls = interrupt_at(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, batch_size=16)
    (entry,) = cache_entries()
    assert not entry.finished
    assert len(list((cache / entry.key).glob("batch-*.npz"))) == 2
    (cache / entry.key / ".batch-00000032.npz.half").touch()  # killed while it wrote
    capsys.readouterr()
    resumed = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, batch_size=16)
    assert "Resuming an interrupted run of this analysis" in capsys.readouterr().err
    assert next(calls) == 10  # 2 passes on a few images, 2 batches done, 1 died, again 2 passes, 2 batches
    assert resumed.rows == whole.rows
    assert cache_entries()[0].finished
    left = {path.name for path in (cache / entry.key).iterdir()}
    assert left == {".lock", "asked.json", "signature.json", "signature.parquet"}


def test_patterns_match_what_an_interrupted_run_saw(cache, monkeypatch):
    """All images had been through the model, so that nothing is seen when it goes on."""
    options = {"num_samples": 32, "exclude": ["resnet.encoder.stages.0.*"]}
    whole = ha.analyze(DEMO_MODEL, DEMO_DATASET, **options, cache=False)
    with monkeypatch.context() as patched:
        patched.setattr(ResumeCache, "save_layer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ha.analyze(DEMO_MODEL, DEMO_DATASET, **options)
    assert len(list(cache.glob("*/batch-*.npz"))) == 4
    assert ha.analyze(DEMO_MODEL, DEMO_DATASET, **options).rows == whole.rows


class OnLightImages(nn.Module):
    """Its second activation runs only for batches that are light on average."""

    def __init__(self):
        super().__init__()
        self.always, self.sometimes = nn.ReLU(), nn.GELU()

    def forward(self, images):
        images = self.always(images)
        return self.sometimes(images) if images.mean() > 1 else images


def test_a_pattern_of_what_runs_later_is_no_mistake():
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randn(3, 4, 4, generator=generator) + 3 * (number >= 8) for number in range(24)]
    options = {"num_samples": 24, "batch_size": 8, "shuffle": False, "exclude": ["sometimes"]}
    with pytest.warns(
        AffscoreWarning, match="exclude: 'sometimes' match modules, but no activation that ran"
    ):
        sig = ha.analyze(OnLightImages(), pictures, **options)
    assert [row.module for row in sig.rows] == ["always"]
    assert [(row.module, row.reason) for row in sig.skipped] == [("sometimes", "excluded by 'sometimes'")]


def test_a_misspelt_pattern_is_found_with_the_first_images(cache, monkeypatch):
    calls = interrupt_at(None, monkeypatch)
    with pytest.raises(InputError, match=r"exclude has patterns that match no activation.*'RELU'"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, exclude=["RELU"])
    assert next(calls) == 4  # 2 passes on a few images, and the first of eight batches
    assert cache_entries() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda first, second: second.write_bytes(second.read_bytes()[:1000]),
        lambda first, second: second.write_bytes(b""),
        lambda first, second: second.write_bytes(first.read_bytes()),
        lambda first, second: second.write_bytes(
            second.read_bytes()[:600] + b"x" + second.read_bytes()[601:]
        ),
    ],
)
def test_damaged_batches_are_made_again(cache, monkeypatch, damage):
    whole = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, batch_size=16, cache=False)
    with monkeypatch.context() as patched:
        interrupt_at(5, patched)
        with pytest.raises(KeyboardInterrupt):
            ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, batch_size=16)
    batches = sorted(cache.glob("*/batch-*.npz"))
    damage(*batches)
    with pytest.warns(AffscoreWarning, match="cannot be read .* made again"):
        resumed = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, batch_size=16)
    assert resumed.rows == whole.rows


def test_damaged_layers_are_made_again(cache, monkeypatch):
    whole = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, cache=False)
    with monkeypatch.context() as patched:
        patched.setattr(ResumeCache, "save_group", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64)
    layers = sorted(cache.glob("*/layer-*.json"))
    texts = [layer.read_text() for layer in layers]
    damaged = [
        "",
        "[]",
        "{}",
        "3",
        texts[0].replace('"affinity_score": 0.', '"affinity_score": 0.1'),
        texts[0],
    ]
    for layer, text in zip(layers[-len(damaged) :], damaged, strict=True):
        layer.write_text(text)
    with pytest.warns(AffscoreWarning) as said:
        resumed = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64)
    assert len([each for each in said if "made again" in str(each.message)]) == len(damaged)
    assert resumed.rows == whole.rows


def test_an_analysis_that_did_nothing_leaves_nothing(cache, tmp_path):
    """It cannot be resumed, and `cache ls` would call it interrupted."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError):
        ha.analyze(DEMO_MODEL, tmp_path / "empty", num_samples=8)
    assert list(cache.iterdir()) == cache_entries() == []


def test_batches_of_another_size_are_not_taken_for_those_of_this_run(cache, monkeypatch):
    """On a GPU the default is another one; a run interrupted there may be taken up on a CPU."""
    whole = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, cache=False)
    with monkeypatch.context() as elsewhere:
        interrupt_at(4, elsewhere)
        elsewhere.setattr(evaluation, "DEFAULT_BATCH_SIZE", 16)
        with pytest.raises(KeyboardInterrupt):
            ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64)
    assert list(cache.glob("*/batch-*.npz"))
    assert ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64).rows == whole.rows


def test_the_key_holds_the_kind_of_device(cache, capsys):
    first = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)
    capsys.readouterr()
    assert ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, device="cpu") == first
    assert "comes from the cache" in capsys.readouterr().err
    (entry,) = cache_entries()
    assert json.loads((cache / entry.key / "asked.json").read_text())["options"]["device"] == "cpu"


def test_a_finished_analysis_returns_at_once_and_says_so(cache, capsys):
    first = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)
    capsys.readouterr()
    assert ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32) == first
    assert "comes from the cache" in capsys.readouterr().err
    assert ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, seed=1) != first
    assert len(cache_entries()) == 2


def test_the_cache_tells_its_entries_apart_and_forgets_those_named(cache, capsys):
    ha.analyze(
        DEMO_MODEL, DEMO_DATASET, num_samples=16, exclude=["resnet.encoder.stages.0.*"], progress=False
    )
    ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=16, seed=3, progress=False)
    entries = {entry.chosen.get("seed", 0): entry for entry in cache_entries()}
    assert entries[3].chosen == {"num_samples": 16, "seed": 3}
    assert "exclude" in entries[0].chosen
    print_cache(list(entries.values()))
    assert {"seed", "exclude"} <= set(capsys.readouterr().out.split())
    with pytest.raises(SignatureError, match="no entry 'nothing'; it has "):
        remove_from_cache("nothing")
    with pytest.raises(SignatureError, match="no entry ''"):
        remove_from_cache("")
    assert remove_from_cache(entries[0].key[:6]) == entries[0].key
    assert [entry.key for entry in cache_entries()] == [entries[3].key]
    keys = [letter + entries[3].key[1:] for letter in "012345"]
    (cache / entries[3].key).rename(cache / keys[0])
    (cache / "somebody's").mkdir()
    for key, damaged in zip(keys[1:], ["{", "[]", '{"model": {"name": 3}}', None, ""], strict=True):
        shutil.copytree(cache / keys[0], cache / key)
        (cache / key / "asked.json").unlink()
        if damaged is not None:
            (cache / key / "asked.json").write_text(damaged)
    assert [entry.asked["model"]["name"] for entry in cache_entries()] == ["digits-resnet", *"?????"]
    print_cache(cache_entries())
    (cache / keys[1]).rename(cache / "0000000000000000")
    with pytest.raises(SignatureError, match=r"'0' is the beginning of 0.*, 0.*; give more"):
        remove_from_cache("0")


def test_the_key_holds_the_content_of_the_data_set(cache, pictures):
    with pytest.warns(AffscoreWarning, match="18 usable images"):
        ha.analyze(DEMO_MODEL, pictures, num_samples=20)
    with pytest.warns(AffscoreWarning, match="18 usable images"):  # said again of the cached signature
        ha.analyze(DEMO_MODEL, pictures, num_samples=20)
    assert len(cache_entries()) == 1
    Image.new("RGB", (9, 9)).save(pictures / "03.png")
    with pytest.warns(AffscoreWarning, match="19 usable images"):
        ha.analyze(DEMO_MODEL, pictures, num_samples=20)
    assert len(cache_entries()) == 2


def test_a_read_only_cache_is_said_and_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(AffscoreWarning, match="cannot be used"):
        assert ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32).rows


def test_a_full_disk_ends_the_journal_and_not_the_analysis(cache, monkeypatch):
    whole = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, cache=False)
    real, writes = os.fsync, itertools.count()

    def full(handle):
        if next(writes) >= 2:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(AffscoreWarning, match="No space left on device.*cannot be resumed"):
        sig = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64)
    assert sig.rows == whole.rows
    assert not list(cache.glob("*/.*.npz.*"))  # nothing half-written


def test_two_runs_of_one_key_do_not_share_a_cache(cache):
    from filelock import FileLock

    ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)
    (entry,) = cache_entries()
    with (
        FileLock(cache / entry.key / ".lock"),
        pytest.warns(AffscoreWarning, match="another run|Another run"),
    ):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)


# length and memory


def test_the_whole_data_set_in_groups(cache):
    sig = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples="all", group_size=100, shuffle=False)
    parts = [
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=100, split=f"test[{i}:{i + 100}]", shuffle=False)
        for i in range(0, 500, 100)
    ]
    scores = np.array([part.scores for part in parts])
    np.testing.assert_allclose(sig.scores, scores.mean(axis=0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        [r.affinity_score_group_std for r in sig.rows], scores.std(axis=0, ddof=1), atol=1e-12
    )
    assert {(row.num_groups, row.num_samples) for row in sig.rows} == {(5, 500)}
    assert sig.metadata["dataset"]["unused"] == 12


def test_groups_are_taken_up_after_an_interruption(cache, monkeypatch):
    options = {"num_samples": "all", "group_size": 64, "batch_size": 16}
    whole = ha.analyze(DEMO_MODEL, DEMO_DATASET, **options, cache=False)
    calls = interrupt_at(15, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, **options)
    assert ha.analyze(DEMO_MODEL, DEMO_DATASET, **options).rows == whole.rows
    assert next(calls) < 15 + 8 * 5 - 2 * 5  # the two groups that were whole are not done again


def test_rows_past_the_memory_limit_go_to_a_file_and_give_the_same_numbers(cache):
    in_memory, spilled = (
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=64, cache=False, memory_limit=limit)
        for limit in (4.0, 0.0)
    )
    assert spilled.rows == in_memory.rows


def test_a_data_set_smaller_than_one_group_is_one_group(cache):
    sig = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples="all")
    assert {row.num_samples for row in sig.rows} == {512}
    assert sig.metadata["dataset"]["num_groups"] == 1


def test_parts_of_a_split_and_a_limit_on_images(cache):
    part = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=40, split="test[:40]", seed=1)
    other = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=40, split="test[:40]", seed=2)
    np.testing.assert_allclose(part.scores, other.scores, atol=1e-5)
    with pytest.warns(AffscoreWarning, match="has 30 usable"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=40, max_images=30)
    with pytest.raises(DatasetError, match="expected a name, or a part"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, split="test[10%:20%]")


def test_a_stream_is_left_once(monkeypatch):
    """It is left in a thread: a second one would find it at work."""
    real, left = ImageStream.leave, []
    monkeypatch.setattr(ImageStream, "leave", lambda self, items: (left.append(items), real(self, items)))
    ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=16, cache=False)
    assert len(left) == 1


def test_endless_noise_needs_an_end():
    with pytest.raises(InputError, match="Noise has no end"):
        ha.analyze(DEMO_MODEL, "noise", num_samples="all")
    assert ha.analyze(DEMO_MODEL, "noise", num_samples="all", max_images=20).rows[0].num_samples == 20


# memory of the device, connections


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost_or_repeated(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    data = list(torch.randn(50, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    whole = ha.analyze(model, data, num_samples=50, batch_size=16)
    real, sizes = nn.Conv2d.forward, []

    def small(self, x):
        if len(x) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(x))
        return real(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", small)
    halved = ha.analyze(model, data, num_samples=50, batch_size=16)
    assert sum(sizes) == 50 + 2 + 3  # a few images go first
    assert max(sizes) == 4  # a half of a half of 16
    np.testing.assert_allclose(halved.scores, whole.scores, atol=1e-5)
    assert halved.metadata["dataset"]["num_samples"] == 50


def as_asserted(features):
    assert features.is_contiguous()
    return features.flatten(1)


IN_ORDER = {
    "view": lambda features: features.view(len(features), -1),
    "assertion": as_asserted,
    "complex": lambda features: torch.view_as_complex(features.unflatten(3, (3, 2))).abs().flatten(1),
    "strides": lambda features: features.as_strided((len(features), 144), (144, 1)),
}


class InOrder(nn.Module):
    """Wants, or takes for granted, that features lie in order in memory, as in many a tutorial."""

    def __init__(self, flatten):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Sequential(nn.LazyLinear(5), nn.ReLU())
        self.flatten = flatten

    def forward(self, images):
        return self.head(self.flatten(self.features(images.mul_(2))))  # the images are its own


@pytest.mark.parametrize("flatten", IN_ORDER)
def test_a_model_that_wants_its_features_in_order_gets_them_so(flatten):
    torch.manual_seed(0)
    model = InOrder(IN_ORDER[flatten])
    data = torch.randn(40, 3, 8, 8)
    head = model(data.clone())
    with pytest.raises((RuntimeError, AssertionError)):  # what would come of it otherwise: an error, or this
        torch.testing.assert_close(model(data.to(memory_format=torch.channels_last)), head)
    found = ha.analyze(model, list(data), num_samples=40)
    assert [row.module for row in found.rows] == ["features.1", "head.1"]
    pre = model.flatten(model.features(2 * data))
    expected = [
        ha.affinity_score(
            model.features[0](2 * data).mean((2, 3)).detach(), model.features(2 * data).mean((2, 3)).detach()
        ),
        ha.affinity_score(model.head[0](pre).detach(), head.detach()),
    ]
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)


class Lazy(nn.Module):
    """Makes a module when it first needs it."""

    def __init__(self):
        super().__init__()
        self.late = None

    def forward(self, images):
        self.late = self.late or nn.SiLU()
        return self.late(images)


def test_a_module_made_on_the_way_is_the_same_in_every_group():
    found = ha.analyze(
        Lazy(), list(torch.randn(60, 3, 4, 4)), num_samples="all", group_size=20, shuffle=False
    )
    assert [row.num_samples for row in found.rows] == [60]


def test_a_dropped_connection_is_taken_up_at_the_same_image(monkeypatch):
    import datasets

    monkeypatch.setattr(streams, "PAUSE", 0.0)
    drops = itertools.count()

    def generate():
        for value in range(10):
            if value == 6 and next(drops) < 2:
                raise ConnectionResetError("connection reset by peer")
            yield {"value": value}

    items = datasets.IterableDataset.from_generator(generate)
    stream = ImageStream(items, lambda item: item, {}, reopens=True)
    assert [item["value"] for item in stream.resumed()] == list(range(10))
    monkeypatch.setattr(streams, "RETRIES", 0)
    drops = itertools.count()
    with pytest.raises(DatasetError, match="after 6 images: connection reset by peer"):
        list(stream.resumed())


# many models, untrained models


def test_one_broken_checkpoint_does_not_stop_the_others(tmp_path):
    (tmp_path / "broken").mkdir()
    outcomes = analyze_many([tmp_path / "broken", DEMO_MODEL], DEMO_DATASET, num_samples=32)
    assert outcomes[0].signature is None
    assert "belongs to no known library" in outcomes[0].error
    assert len(outcomes[1].signature.rows) == 19
    with pytest.raises(TypeError, match="num_sample"):
        analyze_many([DEMO_MODEL], DEMO_DATASET, num_sample=32)


@pytest.mark.parametrize(
    "once", [iter, lambda images: (image for image in images), lambda images: map(id, images)]
)
def test_images_that_only_the_first_model_would_see_are_refused(once):
    images = list(torch.randn(8, 3, 4, 4))
    with pytest.raises(InputError, match=r"dataset is a \w+, which ends after one model; .* Pass a list"):
        analyze_many([nn.ReLU(), nn.ReLU()], once(images), num_samples=8)


def test_what_nobody_expected_does_not_stop_the_others_either():
    class Odd(nn.ReLU):
        def named_modules(self, *_, **__):
            raise KeyError("modules")

    odd, fine = analyze_many([Odd(), nn.ReLU()], list(torch.randn(8, 3, 4, 4)), num_samples=8)
    assert odd.error.startswith("KeyError: 'modules'. Not an error of this package")
    assert len(fine.signature.rows) == 1


def test_random_weights_are_drawn_by_the_seed_and_named():
    trained = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)
    state = torch.random.get_rng_state()
    one, again, other = (
        ha.analyze(
            DEMO_MODEL,
            DEMO_DATASET,
            num_samples=32,
            random_weights=True,
            seed=seed,
            shuffle=False,
            cache=False,
        )
        for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert one.rows == again.rows != other.rows
    assert one.scores.tobytes() != trained.scores.tobytes()
    assert one.metadata["model"]["weights"] == "random, seed 0"
    assert one.metadata["model"]["accuracy"] is None


def test_recorded_options_name_what_changes_a_number():
    assert {
        "num_samples",
        "group_size",
        "random_weights",
        "attn_implementation",
    } <= Options().recorded().keys()
    assert not {"cache", "memory_limit"} & Options().recorded().keys()


def test_the_cache_is_where_the_environment_says(cache):
    assert cache_folder() == cache


# being stopped


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others(tmp_path):
    """The launcher ends all when one is gone; nothing hangs, and the batches that were finished are there."""
    script = tmp_path / "dies.py"
    script.write_text(
        "import os, hf_affscore as ha\n"
        "from hf_affscore.run.forward import BatchForward\n"
        "real, done = BatchForward._forward, []\n"
        "def forward(self, *rest):\n"
        "    done.append(1)\n"
        "    if os.environ['RANK'] == '1' and len(done) == 8:  # it has kept batches by then\n"
        "        os._exit(9)\n"
        "    return real(self, *rest)\n"
        "BatchForward._forward = forward\n"
        f"ha.analyze({str(DEMO_MODEL)!r}, {str(DEMO_DATASET)!r}, num_samples=512, batch_size=8)\n"
    )
    command = [*torchrun(2), str(script)]
    done = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode != 0
    assert list(tmp_path.glob("*/batch-*"))


FAILING = """
import json, os, sys, warnings
import torch
from torch import nn
from hf_affscore.errors import ModelError
from hf_affscore.models import evaluation
from hf_affscore.run import columns
from hf_affscore.run.forward import BatchForward
from hf_affscore.run.many import analyze_many
from hf_affscore.run.processes import Processes

warnings.simplefilter("ignore")
failing = sys.argv[1]
processes = Processes.current()
forward, score, scored = BatchForward._forward, columns.score_layer, []

class Broken(nn.Sequential):
    pass

class Good(nn.Sequential):
    pass

def failing_forward(self, inputs, summarize):
    if "images" in failing and processes.rank == 1 and isinstance(self._checkpoint.module, Broken) and scored:
        raise ModelError("the images failed")
    return forward(self, inputs, summarize)

def failing_score(*rows, **options):
    scored.append(1)
    if "scores" in failing and processes.rank == 1 and len(scored) == 2:
        raise ModelError("the scores failed")
    return score(*rows, **options)

BatchForward._forward, columns.score_layer = failing_forward, failing_score
layers = [layer for _ in range(6) for layer in (nn.Conv2d(3, 3, 1), nn.ReLU())]
images = list(torch.randn(96, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
options = dict(num_samples="all", group_size=32, batch_size=4, shuffle=False, cache=False)
found = analyze_many([Broken(*layers), Good(*layers)], images, **options)
if processes.is_main:
    print(json.dumps([[outcome.error, outcome.signature and len(outcome.signature.rows)] for outcome in found]))
processes.disconnect()
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["images", "scores"])
def test_what_one_process_fails_at_all_fail_at_and_go_on(failing, tmp_path):
    """Beside the scoring of an earlier group; the next model is analysed by all processes."""
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    done = run_script(script, failing, processes=2)
    assert done.returncode == 0, done.stderr
    (broken, nothing), good = json.loads(done.stdout)
    assert broken == f"the {failing} failed"
    assert nothing is None
    assert good == [None, 6]


def test_images_end_where_scores_have_failed(monkeypatch):
    """Not at the end of a group of images that may take an hour."""
    failed, passes = threading.Event(), []
    real = BatchForward._forward

    def forward(self, inputs, summarize):
        passes.append(1)
        if len(passes) > 6:  # two passes on a few images, and a group of four batches
            assert failed.wait(30)
        return real(self, inputs, summarize)

    def score(*rows, **options):
        threading.Timer(0.5, failed.set).start()
        raise RuntimeError("not expected")

    monkeypatch.setattr(BatchForward, "_forward", forward)
    monkeypatch.setattr(columns, "score_layer", score)
    with pytest.raises(RuntimeError, match="not expected"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples="all", group_size=64, batch_size=16, cache=False)
    assert len(passes) <= 8


TWO_MACHINES = """
import json, os, sys, warnings
import hf_affscore as ha
from hf_affscore.run.forward import BatchForward
from hf_affscore.run.processes import Processes

warnings.simplefilter("ignore")
model, data, last = *sys.argv[1:3], float(sys.argv[3])
real, done = BatchForward._forward, []

def forward(self, *rest):
    done.append(1)
    if len(done) > last:
        os._exit(9)
    return real(self, *rest)

BatchForward._forward = forward
found = ha.analyze(model, data, num_samples=100, batch_size=7)
if Processes.current().is_main:
    print(json.dumps([found.to_dict()["rows"], found.metadata["environment"]["num_processes"], len(done)]))
Processes.current().disconnect()
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.slow
def test_two_machines_have_disks_of_their_own(tmp_path):
    """Two launchers that find each other by an address, killed after five batches, and started again."""
    (tmp_path / "machine.py").write_text(TWO_MACHINES)
    arguments = [str(tmp_path / "machine.py"), str(DEMO_MODEL), str(DEMO_DATASET)]

    def both(last):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
        launch += ["--rdzv-backend=c10d", f"--rdzv-endpoint={address}", "--rdzv-id=test"]
        machines = [
            subprocess.Popen(
                [*launch, *arguments, last],
                env=environment(tmp_path / name),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in ("first", "second")
        ]
        said = [machine.communicate(timeout=200) for machine in machines]
        return [machine.returncode for machine in machines], "".join(out for out, _ in said), said

    codes, _, said = both("5")
    assert 0 not in codes, said
    assert all(list((tmp_path / name).glob("*/batch-*")) for name in ("first", "second"))
    codes, printed, said = both("inf")
    assert codes == [0, 0], said
    rows, processes, passes = json.loads(printed)
    alone = run_script(*arguments, "inf", settings={"HF_AFFSCORE_CACHE": tmp_path / "alone"})
    undisturbed, one, all_passes = json.loads(alone.stdout)
    assert (processes, one) == (2, 1)
    assert rows == undisturbed
    assert passes < all_passes / 2  # the rest was there
    assert not list(tmp_path.glob("*/*/batch-*"))


# precision and placement of large models


def test_a_checkpoint_is_spread_and_rounded_as_asked():
    plain = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)
    spread = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, device_map="auto")
    assert [row.module for row in spread.rows] == [row.module for row in plain.rows]
    np.testing.assert_allclose(spread.scores, plain.scores, atol=1e-5)
    rounded = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32, dtype="bfloat16")
    assert rounded.metadata["model"]["dtype"] == "bfloat16"
    np.testing.assert_allclose(rounded.scores, plain.scores, atol=0.1)


def test_a_clock_that_goes_backwards_changes_the_progress_line_only(cache, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    plain = ha.analyze(DEMO_MODEL, "noise", num_samples=64, cache=False, progress=False)
    minutes = itertools.count()
    monkeypatch.setattr("tqdm.std.time", lambda: 1e9 - 60 * next(minutes))
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = ha.analyze(DEMO_MODEL, "noise", num_samples=64)
    assert "64" in sys.stderr.getvalue()
    assert next(minutes) > 2
    assert shown.rows == plain.rows
