"""The metric in one process: what it computes, what it refuses, and how it gets along with evaluate."""

from __future__ import annotations

import doctest
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
import torch
from PIL import Image

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.errors import DatasetError, InputError
from hf_affscore.metrics import NAME
from hf_affscore.metrics.affinity_signature import affinity_signature
from hf_affscore.score import Affinity

BEFORE = np.random.default_rng(0).normal(size=(300, 4))
AFTER = np.maximum(BEFORE, 0)
SCORE = ha.affinity_score(BEFORE, AFTER)


@pytest.fixture
def metric() -> Any:
    return evaluate.load(NAME)


def score(metric: Any, **inputs: Any) -> float:
    return metric.compute(**inputs)["affinity_score"]


def test_the_example_in_the_module_runs():
    assert doctest.testmod(affinity_signature) == (0, 7)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, np.float32, torch.tensor, lambda rows: rows.tolist(), lambda rows: list(rows)],
    ids=["numpy", "float32", "torch", "lists", "list of arrays"],
)
def test_a_pair_has_the_score_of_the_package(metric, convert):
    result = metric.compute(predictions=convert(AFTER), references=convert(BEFORE))
    assert result["affinity_score"] == pytest.approx(SCORE, abs=1e-7)  # float32 holds seven digits
    assert (result["num_samples"], result["dim"], result["reason"]) == (300, 4, None)
    assert {name: type(value) for name, value in result.items()} == {
        "affinity_score": float,
        "affinity_score_bound": float,
        "identity_coupling_score": float,
        "num_samples": int,
        "dim": int,
        "reason": type(None),
    }


def test_too_few_samples_are_said(metric):
    few, enough = (metric.compute(predictions=AFTER[:n], references=BEFORE[:n])["reason"] for n in (4, 5))
    assert few.startswith("4 samples for 4 features; more than 4 are needed")
    assert enough is None
    turned = metric.compute(predictions=AFTER.T, references=BEFORE.T)["reason"]
    assert turned.startswith("4 samples for 300 features;")
    assert "transpose rows of features" in turned


def test_predictions_are_the_side_after_the_activation(metric):
    assert score(metric, predictions=AFTER, references=BEFORE) == SCORE
    assert score(metric, predictions=BEFORE, references=AFTER) == ha.affinity_score(AFTER, BEFORE) != SCORE


def test_the_options_are_those_of_affinity_score(metric):
    options: dict[str, Any] = {"shrinkage": True, "regularization": 1e-3}
    expected = ha.affinity_score(BEFORE, AFTER, **options)
    assert score(metric, predictions=AFTER, references=BEFORE, **options) == expected != SCORE


def test_pieces_of_any_kind_make_the_whole(metric):
    metric.add_batch(predictions=AFTER[:100], references=BEFORE[:100])
    metric.add_batch(predictions=AFTER[100:150].tolist(), references=BEFORE[100:150].tolist())
    metric.add(prediction=AFTER[150], reference=BEFORE[150])
    assert len(metric) == 151
    assert (
        score(metric, predictions=torch.tensor(AFTER[151:]), references=torch.tensor(BEFORE[151:])) == SCORE
    )
    assert len(metric) == 0
    assert score(metric, predictions=AFTER[:9], references=BEFORE[:9]) != SCORE  # and start anew


def test_a_batch_is_kept_though_its_memory_is_used_again(metric):
    before, after = np.empty((100, 4)), np.empty((100, 4))
    for part in range(0, 300, 100):
        before[:], after[:] = BEFORE[part : part + 100], AFTER[part : part + 100]
        metric.add_batch(predictions=after, references=before)
    assert score(metric) == SCORE


def test_a_model_has_the_scores_of_analyze(metric):
    images = [
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (8, 8), dtype=np.uint8)) for i in range(12)
    ]
    options: dict[str, Any] = {"num_samples": 12, "shrinkage": False, "progress": False}
    result = metric.compute(model=DEMO_MODEL, predictions=images, **options)
    signature = ha.analyze(DEMO_MODEL, images, **options)
    assert result["affinity_scores"] == signature.scores.tolist()
    assert result["names"] == [row.module for row in signature.rows]
    assert result["summary"] == signature.summary()
    assert result["verdict"] == list(signature.verdict)
    assert json.loads(json.dumps(result)) == result
    whole = metric.compute(model=DEMO_MODEL, predictions=DEMO_DATASET, **options)
    assert whole["names"] == result["names"]


BAD: dict[str, tuple[Any, Any, str]] = {
    "lengths": (AFTER, BEFORE[:5], r"shape \(5, 4\).*\(300, 4\)"),
    "widths": (AFTER, BEFORE[:, :3], r"shape \(300, 3\)"),
    "ragged": ([[1.0], [1.0, 2.0]], [[1.0], [1.0, 2.0]], "unequal length"),
    "axes": (AFTER[:, :, None], BEFORE[:, :, None], r"expected \(n, d\)"),
    "nan": (np.where(AFTER > 1, np.nan, AFTER), BEFORE, "predictions has NaN"),
    "infinite": (AFTER, np.where(AFTER > 1, np.inf, BEFORE), "references has NaN or infinite"),
    "empty": ([], [], "0 samples"),
    "one row": (AFTER[:1], BEFORE[:1], "at least 2"),
    "text": (["a", "b"], ["c", "d"], "real numbers"),
    "one side": (AFTER, None, "references is None"),
    "other side": (None, BEFORE, "predictions is None"),
    "nothing": (None, None, "nothing to score"),
}


@pytest.mark.parametrize(("after", "before", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_scored_is_refused_and_leaves_nothing(metric, after, before, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        metric.compute(predictions=after, references=before)
    assert score(metric, predictions=AFTER, references=BEFORE) == SCORE


def test_a_bad_batch_leaves_the_good_ones(metric):
    metric.add_batch(predictions=AFTER[:200], references=BEFORE[:200])
    with pytest.raises(InputError, match="3 features, those before 4"):
        metric.add_batch(predictions=AFTER[:, :3], references=BEFORE[:, :3])
    with pytest.raises(InputError, match="NaN"):
        metric.add_batch(predictions=AFTER[:2] * np.nan, references=BEFORE[:2])
    with pytest.raises(InputError, match="shape"):
        metric.compute(predictions=AFTER[200:], references=BEFORE)
    assert score(metric, predictions=AFTER[200:], references=BEFORE[200:]) == SCORE


@pytest.mark.parametrize("model", [None, DEMO_MODEL], ids=["pair", "model"])
def test_a_misspelt_keyword_is_an_error(metric, model):
    with pytest.raises(TypeError, match=r"argument 'shrinkag'. Did you mean 'shrinkage'\?"):
        metric.compute(predictions=AFTER, references=None if model else BEFORE, model=model, shrinkag=True)
    with pytest.raises(TypeError, match=r"argument 'refrences'. Did you mean 'references'\?"):
        metric.compute(predictions=AFTER, refrences=BEFORE, model=model)
    with pytest.raises(TypeError, match="refrences"):
        metric.add_batch(predictions=AFTER, refrences=BEFORE)
    with pytest.raises(TypeError, match=r"no setting experimentid\. Did you mean 'experiment_id'"):
        evaluate.load(NAME, experimentid="x")


def test_a_model_takes_images_only(metric):
    with pytest.raises(InputError, match="images as predictions"):
        metric.compute(model=DEMO_MODEL)
    with pytest.raises(InputError, match="no references"):
        metric.compute(model=DEMO_MODEL, predictions=DEMO_DATASET, references=BEFORE)
    with pytest.raises(DatasetError, match="1 usable image"):
        metric.compute(model=DEMO_MODEL, predictions=[Image.new("RGB", (8, 8))], progress=False)


def test_arrays_go_round_arrow(metric, monkeypatch):
    """At most 0.1 s for 2 x 2,048 x 1,024 numbers beside the score, which is left out; measured: 0.03 s."""
    monkeypatch.setitem(metric._compute.__globals__, "affinity", lambda pre, post: Affinity(1.0, 1.0, 1.0))
    rows = np.random.default_rng(0).normal(size=(2048, 1024)).astype(np.float32)

    def seconds() -> float:
        start = time.perf_counter()
        metric.compute(predictions=rows, references=rows)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.1


def test_evaluate_combine_takes_it_by_name_and_as_an_object(metric):
    both = evaluate.combine({"first": NAME, "second": metric})
    result = both.compute(predictions=AFTER, references=BEFORE)
    assert result["first_affinity_score"] == result["second_affinity_score"] == SCORE
    for before, after in zip(BEFORE, AFTER, strict=True):
        both.add(prediction=after, reference=before)
    assert both.compute()["first_affinity_score"] == SCORE


def test_evaluate_saves_its_results(metric, tmp_path):
    result = metric.compute(predictions=AFTER, references=BEFORE)
    file = evaluate.save(tmp_path / "result.json", **result)
    assert json.loads(Path(file).read_text())["affinity_score"] == SCORE


def test_a_pickle_works_in_a_process_that_knows_nothing(metric, tmp_path):
    metric.add_batch(predictions=AFTER[:200], references=BEFORE[:200])
    pickled = pickle.dumps(metric)
    assert score(pickle.loads(pickled), predictions=AFTER[200:], references=BEFORE[200:]) == SCORE
    (tmp_path / "metric.pickle").write_bytes(pickled)
    code = "import pickle; print(len(pickle.load(open('metric.pickle', 'rb'))))"
    environment = {"PYTHONPATH": str(Path(ha.__file__).parents[1]), "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "200"
