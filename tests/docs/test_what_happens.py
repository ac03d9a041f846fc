"""What the pages about training, publishing, scaling and evaluate say happens, done as a reader would do it.

What they say of results is in ``test_claims``; what has a test beside its code is not repeated here.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import evaluate
import numpy as np
import pytest
import torch
from datasets import load_dataset
from huggingface_hub.constants import HF_HOME
from huggingface_hub.errors import HfHubHTTPError
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.cli import main
from hf_affscore.errors import SignatureError
from hf_affscore.metrics import FOLDER
from hf_affscore.retries import retried
from hf_affscore.run.cache import cache_entries, cache_folder
from tests.processes import run_script
from tests.publish.samples import signature

DEMO = [str(DEMO_MODEL), "--dataset", str(DEMO_DATASET)]


def typed(capsys, *arguments):
    """Exit code, or the message with which it exits with 1, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return stop.value.code or 0, *capsys.readouterr()


@pytest.fixture(name="cache")
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_AFFSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# docs/training.md


def test_the_scores_while_training_are_those_of_the_saved_checkpoint(tmp_path):
    processor = AutoImageProcessor.from_pretrained(DEMO_MODEL)
    digits = load_dataset(str(DEMO_DATASET), split="test")

    def as_inputs(rows):
        pixels = processor(rows["image"], return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels, "labels": rows["label"]}

    callback = ha.AffinityCallback(DEMO_DATASET, every_steps=2, num_samples=64)
    settings = {"max_steps": 2, "report_to": "none", "remove_unused_columns": False, "use_cpu": True}
    trainer = Trainer(
        AutoModelForImageClassification.from_pretrained(DEMO_MODEL),
        TrainingArguments(str(tmp_path / "fine-tuned"), **settings),
        train_dataset=digits.with_transform(as_inputs),
        processing_class=processor,
        callbacks=[callback],
    )
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    saved = ha.analyze(tmp_path / "saved", DEMO_DATASET, num_samples=64, cache=False)
    assert callback.history[2].scores.tolist() == saved.scores.tolist()
    assert callback.history[0].scores.tolist() != saved.scores.tolist()
    assert (tmp_path / "fine-tuned" / "affinity" / "step-000002" / "signature.json").is_file()


def test_the_loss_is_below_zero_for_a_reflection_and_higher_for_fewer_samples():
    torch.manual_seed(0)
    rows = torch.randn(512, 32)
    assert ha.affinity_loss(rows, -rows) < 0
    scores = [round(ha.affinity_loss(x, x.relu()).item(), 2) for x in (rows, rows[:32], rows[:8])]
    assert scores == [0.63, 0.72, 0.92]


# docs/publishing.md


def test_faults_conflicts_and_pauses_have_the_limits_that_the_page_names(monkeypatch):
    """6 attempts, or 30 where others are faster; pauses of at most 8 s, or 5 minutes where the Hub asks for it."""
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    def attempts(status, **headers):
        made = []

        def action():
            made.append(status)
            response = type("Response", (), {"status_code": status, "headers": headers, "request": None})()
            error = HfHubHTTPError.__new__(HfHubHTTPError)
            Exception.__init__(error, "refused")
            error.response = response
            raise error

        with pytest.raises(HfHubHTTPError):
            retried(action)
        return len(made)

    assert attempts(503) == 6
    assert attempts(412) == 30
    assert len(pauses) == 5 + 29
    assert 4 < max(pauses) <= 8
    assert attempts(429, **{"Retry-After": "300"}) == 6
    assert pauses[-1] == 300
    assert attempts(429, **{"Retry-After": "301"}) == 1


def test_the_same_pushed_again_is_no_commit(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", hub.token("ada"))
    folder = str(signature().save_pretrained(tmp_path / "signature"))
    for _ in range(2):
        code, out, _ = typed(capsys, "push", folder, "ada/signatures")
        assert code == 0
        assert "/datasets/ada/signatures/commit/" in out
    assert [commit.title for commit in hub.repo("dataset", "ada/signatures").history()][
        -1
    ] == "initial commit"
    assert len(hub.repo("dataset", "ada/signatures").history()) == 2


def test_reading_the_list_takes_three_requests_whatever_the_size_of_the_collection(hub):
    token, asked, all_of_them = hub.token("ada"), [], []
    for count in range(9):
        hub.log.clear()
        signature(f"ada/net{count}").push_to_hub("ada/signatures", token=token)
        reading = [line for line in hub.log if line.method in ("GET", "HEAD") and "README" not in line.path]
        asked.append(len(reading))
        all_of_them.append(len(hub.log))
    assert asked[1:] == [3] * 8
    assert len(set(all_of_them[1:])) == 1


def test_options_choose_among_signatures_of_one_network(hub):
    token = hub.token("ada")
    made = signature()
    options = {**made.metadata["options"], "num_samples": 512}
    other = ha.Signature(made.rows, made.skipped, {**made.metadata, "options": options})
    for each in (made, other):
        each.push_to_hub("ada/signatures", token=token)
    with pytest.raises(SignatureError, match="num_samples"):
        ha.Signature.from_pretrained("ada/signatures", model="ada/net")
    chosen = ha.Signature.from_pretrained("ada/signatures", model="ada/net", options={"num_samples": 512})
    assert chosen == other


# docs/scaling.md


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_has_its_exit_code_and_the_same_again_goes_on(
    number, code, cache, tmp_path, capsys
):
    options = ["--num-samples", "256", "--batch-size", "4", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hf_affscore", "analyze", *DEMO, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # background jobs of a shell ignore it
    )
    while process.poll() is None and not list(cache.glob("*/batch-*")):
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "the same command again goes on where it stopped" in said
    assert "Traceback" not in said

    (entry,) = cache_entries()
    assert not entry.finished
    status, listed, _ = typed(capsys, "cache", "ls")
    assert status == 0
    assert {"interrupted", entry.key} < set(listed.split())
    script = (
        tmp_path / "command.py"
    )  # what other tests have registered in this process is part of the cache's key
    script.write_text("import sys; from hf_affscore.cli import main; main(sys.argv[1:])")
    done = run_script(script, "analyze", *DEMO, *options)
    assert done.returncode == 0, done.stderr
    undisturbed = ha.analyze(DEMO_MODEL, DEMO_DATASET, num_samples=256, batch_size=4, cache=False)
    assert [row["affinity_score"] for row in json.loads(done.stdout)["rows"]] == undisturbed.scores.tolist()
    assert typed(capsys, "cache", "rm", entry.key[:5])[0] == 0
    assert cache_entries() == []


def test_a_model_that_fails_does_not_stop_the_others_and_the_exit_code_says_so(cache, tmp_path, capsys):
    (tmp_path / "broken").mkdir()
    shutil.copytree(DEMO_MODEL, tmp_path / "fine")
    models = [str(tmp_path / name) for name in ("broken", "fine")]
    command = ["analyze", *models, "--dataset", str(DEMO_DATASET), "--num-samples", "64"]
    code, out, _ = typed(capsys, *command, "--output", str(tmp_path / "signatures"))
    assert "error: 1 of 2 models could not be analysed" in code
    assert "broken failed: Model 'broken' belongs to no known library" in " ".join(out.split())
    (saved,) = (tmp_path / "signatures").iterdir()
    assert {file.name for file in saved.iterdir()} == {"signature.json", "signature.parquet", "signature.png"}
    code, out, _ = typed(capsys, *command, "--json")
    broken, fine = json.loads(out)
    assert "1 of 2" in code
    assert broken.keys() == fine.keys() == {"model", "signature", "error"}
    assert (broken["signature"], fine["error"]) == (None, None)


def test_a_last_group_that_is_not_full_is_left_out(cache):
    images = list(torch.randn(74, 3, 4, 4))
    found = ha.analyze(torch.nn.ReLU(), images, num_samples="all", group_size=32)
    assert found.metadata["dataset"]["num_groups"] == 2


def test_the_cache_lies_in_the_home_of_hugging_face_unless_told_otherwise(cache, monkeypatch):
    assert cache_folder() == cache
    monkeypatch.delenv("HF_AFFSCORE_CACHE")
    assert str(cache_folder()) == os.path.join(HF_HOME, "hf_affscore")


# docs/evaluate.md


def test_combined_metrics_are_all_passed_the_options_of_one():
    class Other(evaluate.Metric):
        def _info(self):
            return evaluate.load(str(FOLDER))._info()

        def _compute(self, predictions, references):
            return {"count": len(predictions)}

    both = evaluate.combine([evaluate.load(str(FOLDER)), Other()])
    rows = np.random.default_rng(0).normal(size=(50, 3)).tolist()
    assert {"affinity_score", "count"} <= both.compute(predictions=rows, references=rows).keys()
    with pytest.raises(TypeError, match="shrinkage"):
        both.compute(predictions=rows, references=rows, shrinkage=True)


def test_a_process_without_rows_lets_the_others_wait_and_fail():
    assert inspect.signature(evaluate.Metric).parameters["timeout"].default == 100
    metric = evaluate.load(str(FOLDER), num_process=2, process_id=0, experiment_id="alone", timeout=0.5)
    rows = np.zeros((4, 2))
    with pytest.raises(ValueError, match="Expected to find locked file"):
        metric.add_batch(predictions=rows, references=rows)


def test_importing_this_package_imports_no_evaluate_and_writes_nothing(hub, tmp_path):
    code = "import sys, hf_affscore; print(sorted({'evaluate', 'datasets', 'torch'} & set(sys.modules)))"
    done = hub.run("-c", code, home=tmp_path)
    assert done.stdout == "[]\n", done.stderr
    assert list(tmp_path.iterdir()) == []
    assert not hub.log
