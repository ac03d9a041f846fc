"""What evaluate 0.4.6 does by itself: several processes, and the defects that docs/evaluate.md names.

A defect is kept as a test that fails once evaluate is repaired, and the page can then lose a paragraph.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import datasets
import evaluate
import numpy as np
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from tests.versions import needs

TWO_PROCESSES = """
import os, evaluate, numpy as np, hf_affscore
before = np.random.default_rng(0).normal(size=(400, 5))
after = np.maximum(before, 0)
child = os.fork()
rank = 0 if child else 1
metric = evaluate.load("affinity_signature", num_process=2, process_id=rank, experiment_id="two")
mine = slice(200 * rank, 200 * rank + 200)
metric.add_batch(predictions=after[mine][:150], references=before[mine][:150])
result = metric.compute(predictions=after[mine][150:], references=before[mine][150:])
if rank:
    os._exit(0 if result is None else 1)
alone = hf_affscore.affinity_score(before, after)
print(os.waitpid(child, 0)[1], result["num_samples"], result["affinity_score"], alone)
"""


class Counting(evaluate.Metric):
    """The least that evaluate takes for a metric of rows."""

    def _info(self) -> evaluate.MetricInfo:
        rows = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description="",
            citation="",
            inputs_description="",
            features=datasets.Features({"predictions": rows, "references": rows}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        return {"widths": [len(row) for row in predictions]}


@pytest.mark.slow
def test_two_processes_on_one_host_score_all_rows_together(hub, tmp_path):
    done = hub.run("-c", TWO_PROCESSES, home=tmp_path)
    status, count, together, alone = done.stdout.split()
    assert (status, count) == ("0", "400"), done.stderr
    assert float(together) == pytest.approx(float(alone), abs=1e-12)


def test_evaluate_drops_unknown_settings():
    Counting(experimentid="x")


def test_evaluate_takes_rows_of_unequal_width_and_nan():
    assert Counting().compute(predictions=[[1.0, 2.0], [float("nan")]], references=[[1.0], [2.0]]) == {
        "widths": [2, 1]
    }


def test_evaluate_save_leaves_half_a_file_behind_a_numpy_number(tmp_path):
    with pytest.raises(TypeError, match="float32"):
        evaluate.save(tmp_path / "result.json", score=np.float32(0.5))
    with pytest.raises(json.JSONDecodeError):
        json.loads((tmp_path / "result.json").read_text())


@needs("huggingface-hub", "1", "evaluate catches its errors")
def test_evaluate_push_to_hub_does_not_get_over_a_data_set_that_is_not_on_the_hub(hub):
    hub.add("model", "ada/net", {"README.md": b"# net"})
    with pytest.raises(RepositoryNotFoundError):
        evaluate.push_to_hub(
            model_id="ada/net",
            task_type="image-classification",
            dataset_type="my-images",
            dataset_name="My images",
            metric_type="affinity_signature",
            metric_name="Affinity score",
            metric_value=0.5,
        )


@pytest.mark.library("gradio")
def test_evaluates_gradio_widget_asks_for_what_gradio_no_longer_has():
    with pytest.raises(AttributeError, match="inputs"):
        evaluate.utils.launch_gradio_widget(Counting())


def test_evaluates_command_line_asks_for_what_huggingface_hub_no_longer_has():
    with pytest.raises(ImportError, match=r"cookiecutter|Repository"):
        importlib.import_module("evaluate.commands.evaluate_cli")
