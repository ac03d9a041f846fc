"""Rows that an analysis keeps: read one activation at a time, and scored again to the bits of another analysis."""

import json
import shutil

import numpy as np
import pytest
import torch

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import InputError, SignatureError
from hf_affscore.run.keep import RowKeeper
from hf_affscore.run.scoring import Scorer
from tests.processes import run_script
from tests.run.test_analyze import Small, images
from tests.run.test_interruptions import FEW_LAYERS, content

OTHERWISE = {
    "ridge": {"regularization": "relative"},
    "no shrinkage": {"shrinkage": False},
    "parts": {"num_groups": 3},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of the rows of a small analysis, and its signature."""
    folder = tmp_path_factory.mktemp("kept") / "rows"
    options = {"num_samples": 48, "batch_size": 16, "cache": False, "progress": False}
    return folder, ha.analyze(DEMO_MODEL, DEMO_DATASET, keep_rows=folder, **options, **FEW_LAYERS), options


@pytest.mark.parametrize("other", OTHERWISE)
def test_scored_again_they_give_the_bits_of_another_analysis(kept, other):
    folder, _, options = kept
    again = ha.analyze(DEMO_MODEL, DEMO_DATASET, **options, **FEW_LAYERS, **OTHERWISE[other])
    rescored = ha.load_rows(folder).rescore(**OTHERWISE[other], progress=False)
    assert rescored.rows == again.rows
    assert rescored.skipped == again.skipped
    same = {**rescored.metadata, "environment": None}
    assert same == {**again.metadata, "environment": None}
    assert rescored.metadata["environment"]["rescored"]["hf_affscore"] == ha.__version__


def test_of_two_analyses_in_one_folder_the_later_goes_on(tmp_path):
    """Rows of both would lie under one signature."""

    class Meanwhile(Small):
        def forward(self, pixels):
            RowKeeper(tmp_path, "another").begin()
            return super().forward(pixels)

    options = {"num_samples": 24, "keep_rows": tmp_path, "progress": False}
    with pytest.raises(InputError, match="another analysis has begun since"):
        ha.analyze(Meanwhile(), images(32), **options)
    assert not list(tmp_path.glob("rows-*"))
    sig = ha.analyze(Small(), images(32), **options)
    assert ha.load_rows(tmp_path).rescore(progress=False).rows == sig.rows
    assert not (tmp_path / ".writer").exists()


def test_a_mask_is_no_list_of_numbers(kept):
    with pytest.raises(InputError, match="expected a slice or a list of row numbers"):
        ha.load_rows(kept[0]).rescore(samples=[True, False, True], progress=False)


def test_some_samples_are_scored_as_they_are_alone(kept):
    folder, _, _ = kept
    rows = ha.load_rows(folder)
    part = rows.rescore(samples=slice(8, 40), progress=False)
    name, row = next(iter(rows)), part.rows[0]
    pre, post, _ = rows[name]
    assert row.affinity_score == ha.affinity_score(pre[8:40], post[8:40])
    assert (row.num_samples, part.metadata["dataset"]["num_samples"]) == (32, 32)
    assert part.metadata["dataset"]["samples"] == list(range(8, 40))
    assert np.isnan(row.sparsity_post)
    assert rows.rescore(samples=list(range(8, 40)), progress=False).rows == part.rows
    with pytest.raises(InputError, match="samples has 48; expected numbers from 0 to 47"):
        rows.rescore(samples=[0, 48])
    with pytest.raises(InputError, match="samples has 3 more than once"):
        rows.rescore(samples=[3, 4, 3])
    with pytest.raises(InputError, match="samples selects 1 rows; expected at least 2 of 48"):
        rows.rescore(samples=[3])


def test_rows_are_those_of_the_images_that_they_name(tmp_path):
    torch.manual_seed(0)
    model, pictures = Small(), images(20)
    sig = ha.analyze(model, pictures, num_samples=20, keep_rows=tmp_path / "rows", batch_size=8)
    rows = ha.load_rows(tmp_path / "rows")
    assert list(rows) == ["act", "act #1", "(model) gelu", "(model) tanh"]
    assert [each.position for each in rows.ids] == list(range(20))
    order = [each.row for each in rows.ids]
    with torch.inference_mode():
        wanted = model.first(torch.stack([pictures[number] for number in order])).mean((2, 3))
    np.testing.assert_allclose(rows["act"].pre, wanted, rtol=1e-5, atol=1e-6)
    assert rows.apply(lambda pre, post: post.shape, progress=False) == {
        row_name: (20, row.dim) for row_name, row in zip(rows, sig.rows, strict=True)
    }
    with pytest.raises(KeyError, match="Did you mean"):
        rows["act #2"]


def test_images_of_a_stream_in_random_order_have_their_place_in_it(tmp_path):
    torch.manual_seed(0)
    model, pictures = Small(), images(20)
    ha.analyze(model, iter(pictures), num_samples=12, keep_rows=tmp_path / "rows", batch_size=8)
    rows = ha.load_rows(tmp_path / "rows")
    order = [each.row for each in rows.ids]
    assert order == np.random.default_rng(0).permutation(20)[:12].tolist()
    with torch.inference_mode():
        wanted = model.first(torch.stack([pictures[number] for number in order])).mean((2, 3))
    np.testing.assert_allclose(rows["act"].pre, wanted, rtol=1e-5, atol=1e-6)


def test_files_name_the_images(tmp_path):
    from PIL import Image

    for number in range(6):
        Image.fromarray(np.full((9, 9, 3), 40 * number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    ha.analyze(DEMO_MODEL, tmp_path, num_samples=5, shuffle=False, keep_rows=tmp_path.parent / "rows")
    ids = ha.load_rows(tmp_path.parent / "rows").ids
    assert [each.position for each in ids] == [0, 1, 3, 4, 5]
    assert [each.row for each in ids] == [0, 1, 3, 4, 5]
    assert [each.file.split("/")[-1] for each in ids] == [f"{n}.png" for n in (0, 1, 3, 4, 5)]


@pytest.fixture(scope="module")
def of_all(tmp_path_factory):
    """The folder of the rows of all groups of a data set, and the signature."""
    folder = tmp_path_factory.mktemp("all") / "rows"
    options = {"num_samples": "all", "group_size": 12, "max_images": 80, "batch_size": 4, "progress": False}
    options |= {"cache": False, **FEW_LAYERS}
    return folder, ha.analyze(DEMO_MODEL, DEMO_DATASET, keep_rows=folder, **options), options


def test_rows_of_all_groups_are_kept(of_all):
    folder, sig, options = of_all
    rows = ha.load_rows(folder)
    name = next(iter(rows))
    assert rows[name].pre.shape == (72, sig.rows[0].dim)  # six groups; eight images are left over
    assert len({each.row for each in rows.ids}) == 72
    parts = [ha.affinity_score(*(side[n : n + 12] for side in rows[name][:2])) for n in range(0, 72, 12)]
    assert sig.rows[0].affinity_score == np.mean(parts)
    for other in ({}, OTHERWISE["ridge"], OTHERWISE["no shrinkage"]):
        again = ha.analyze(DEMO_MODEL, DEMO_DATASET, **options, **other)
        assert rows.rescore(**other, progress=False).rows == again.rows
    part = rows.rescore(samples=slice(0, 12), progress=False)
    assert part.rows[0].affinity_score == parts[0]
    assert part.metadata["dataset"]["num_groups"] == 1


def test_an_interrupted_analysis_of_all_groups_goes_on(of_all, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    options = {**of_all[2], "cache": True, "keep_rows": tmp_path / "rows"}
    start, seen = Scorer.start, []

    def fails_once(self, group, number):
        seen.append(number)
        if seen == [0, 1, 2]:
            raise KeyboardInterrupt
        return start(self, group, number)

    monkeypatch.setattr(Scorer, "start", fails_once)
    with pytest.raises(KeyboardInterrupt):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, **options)
    next((tmp_path / "rows").glob("rows-00001-*")).unlink()  # of a group that has been scored
    sig = ha.analyze(DEMO_MODEL, DEMO_DATASET, **options)
    assert seen == [0, 1, 2, 1, 2, 3, 4, 5]  # the second for its rows, the first not again
    assert sig.rows == of_all[1].rows
    for path in of_all[0].iterdir():
        if path.name.startswith("images"):
            assert path.read_bytes() == (tmp_path / "rows" / path.name).read_bytes()
    mine, others = (ha.load_rows(folder) for folder in (tmp_path / "rows", of_all[0]))
    for name in others:
        np.testing.assert_array_equal(mine[name].post, others[name].post)


def test_every_one_of_many_models_has_a_folder_of_its_own(kept, tmp_path):
    _, sig, options = kept
    models = [DEMO_MODEL, "no/such", DEMO_MODEL]
    outcomes = ha.analyze_many(models, DEMO_DATASET, keep_rows=tmp_path, **options, **FEW_LAYERS)
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-resnet", "digits-resnet-2"]
    for name in ("digits-resnet", "digits-resnet-2"):
        assert ha.load_rows(tmp_path / name).rescore(progress=False).rows == sig.rows


PROCESSES = """
import sys
import hf_affscore as ha
from hf_affscore.run.processes import Processes

count = "all" if sys.argv[4] == "all" else 40
about = {"num_samples": count, "group_size": 24, "max_images": 60, "batch_size": 8}
ha.analyze(sys.argv[1], sys.argv[2], keep_rows=sys.argv[3], cache=False, **about)
Processes.current().disconnect()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("count", "groups"), [("40", 1), ("all", 2)])
def test_two_processes_keep_the_bytes_of_one(tmp_path, count, groups):
    script = tmp_path / "keep.py"
    script.write_text(PROCESSES)
    for name, processes in (("one", 1), ("two", 2)):
        done = run_script(script, DEMO_MODEL, DEMO_DATASET, tmp_path / name, count, processes=processes)
        assert done.returncode == 0, done.stderr
    names = [path.name for path in sorted((tmp_path / "one").iterdir()) if path.suffix != ".json"]
    assert len(names) == 19 * groups + 1
    for name in (
        *(f"images-{group:05}.json" for group in range(groups)),
        *names[:-1],
    ):  # the last is the table of the signature
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_finished_analysis_whose_rows_were_not_kept_runs_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    few = {"num_samples": 16, "progress": False, **FEW_LAYERS}
    plain = ha.analyze(DEMO_MODEL, DEMO_DATASET, **few)
    sig = ha.analyze(DEMO_MODEL, DEMO_DATASET, keep_rows=tmp_path / "rows", **few)
    assert content(plain) == content(sig)
    monkeypatch.setattr(Scorer, "start", None)  # no further analysis
    again = ha.analyze(DEMO_MODEL, DEMO_DATASET, keep_rows=tmp_path / "rows", **few)
    assert again == sig == ha.load_rows(tmp_path / "rows").signature


def test_folders_that_hold_something_are_refused(kept, tmp_path):
    folder, _, options = kept
    with pytest.raises(InputError, match=r"finished signature; expected a new or empty folder"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, keep_rows=folder, **options, **FEW_LAYERS)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"other files, such as 'notes.txt'"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, keep_rows=tmp_path, **options)
    with pytest.raises(InputError, match="cannot be used"):
        ha.analyze(DEMO_MODEL, DEMO_DATASET, keep_rows=tmp_path / "notes.txt", **options)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", ["missing", "cut", "no images", "no signature"])
def test_damage_is_a_sentence(kept, tmp_path, damage):
    folder = tmp_path / "rows"
    shutil.copytree(kept[0], folder)
    path = sorted(folder.glob("rows-*.safetensors"))[0]
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        (folder / {"no images": "images-00000.json", "no signature": "signature.json"}[damage]).unlink()
    with pytest.raises(SignatureError, match=r"no rows of|which images its rows are of|No signature in"):
        ha.load_rows(folder)


def test_the_command(kept, tmp_path, capsys):
    from hf_affscore.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["rescore", str(kept[0]), "--regularization", "relative", "--samples", ":32", "--json"])
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["metadata"]["options"]["regularization"] == "relative"
    assert {row["num_samples"] for row in printed["rows"]} == {32}
