"""Figures that the pages name and that no other benchmark measures; writes ``pages.md``.

    python -m benchmarks.pages

Seconds are those of the processor, one thread, so that other work on the machine does not count; of repeated
measurements the least.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.metrics import FOLDER
from hf_affscore.report import write_report
from hf_affscore.signature import Record

HERE = Path(__file__).parent


class ThroughArrow(evaluate.Metric):
    """What evaluate does with rows by itself: tables of Arrow, and back."""

    def _info(self) -> evaluate.MetricInfo:
        rows = datasets.Sequence(datasets.Value("float32"))
        features = datasets.Features({"predictions": rows, "references": rows})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions: Any, references: Any) -> dict[str, Any]:
        return {"rows": len(np.asarray(predictions)), "others": len(np.asarray(references))}


def least(repeats: int, action: Callable[[], object]) -> float:
    """The least processor time of ``action`` in seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def importing(what: str) -> float:
    """The processor time that a new Python takes for an import, beyond that of starting."""

    def run(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(run(f"import {what}") for _ in range(3)) - min(run("pass") for _ in range(3))


def of_evaluate() -> dict[str, float]:
    """``compute`` of the metric beside the score: for arrays, for nested lists, and what Arrow would take."""
    generator = np.random.default_rng(0)
    before = generator.normal(size=(2048, 1024)).astype(np.float32)
    after = np.maximum(before, 0)
    metric = evaluate.load(str(FOLDER))
    metric._compute.__globals__["affinity"] = lambda pre, post: ha.score.Affinity(1.0, 1.0)
    lists = {"predictions": after.tolist(), "references": before.tolist()}
    return {
        "arrays": least(3, lambda: metric.compute(predictions=after, references=before)),
        "nested lists": least(3, lambda: metric.compute(**lists)),
        "through Arrow": least(3, lambda: ThroughArrow().compute(predictions=after, references=before)),
    }


def tracking() -> float:
    """One measurement while training: the embedded network on 512 digits."""
    tracker = ha.track(
        AutoModelForImageClassification.from_pretrained(DEMO_MODEL),
        DEMO_DATASET,
        processor=AutoImageProcessor.from_pretrained(DEMO_MODEL),
        num_samples=512,
    )
    steps = iter(range(3))
    return least(3, lambda: tracker(next(steps)))


def signatures(count: int, length: int) -> list[ha.Signature]:
    """Signatures with intervals and six statistics, as large as real ones."""
    generator = np.random.default_rng(0)
    statistics = ("cka", "r2", "entropy", "sparsity", "norm", "identity_coupling_score")
    made = []
    for network in range(count):
        scores = generator.uniform(0.3, 1, length)
        rows = [
            Record(
                index=index,
                module=f"encoder.stages.{index // 10}.layers.{index % 10}.activation",
                activation="ReLU",
                call=0,
                kind="module",
                dim=64,
                num_samples=2048,
                affinity_score=score,
                affinity_score_low=score - 0.01,
                affinity_score_high=score + 0.01,
                reason=None,
                **{name: generator.uniform() for name in statistics},
            )
            for index, score in enumerate(scores.tolist())
        ]
        metadata = {"model": {"id": f"user/network-{network}"}, "dataset": {"id": "images"}, "options": {}}
        made.append(ha.Signature(tuple(rows), (), metadata))
    return made


def report() -> tuple[float, float]:
    """Megabytes of the page about 100 networks of 200 activations, and processor seconds until it is drawn."""
    from tests.browser import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = write_report(ha.compare(signatures(100, 200)), Path(folder) / "report.html")
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        page.fill("#search", "network-42")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return path.stat().st_size / 1e6, metrics["ProcessTime"]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    evaluation = of_evaluate()
    size, drawn = report()
    many = signatures(500, 100)
    lines = {
        "`import hf_affscore`": f"{importing('hf_affscore'):.2f} s",
        "`import evaluate`": f"{importing('evaluate'):.1f} s",
        **{
            f"`compute` of the metric beside the score, 2 x 2,048 x 1,024 float32, {how}": f"{seconds:.3f} s"
            for how, seconds in evaluation.items()
        },
        "one measurement of a tracker: digits-resnet, 19 activations, 512 digits": f"{tracking():.2f} s",
        "distances of 500 signatures of 100 activations": f"{least(1, lambda: ha.compare(many)):.1f} s",
        "the report of 100 networks of 200 activations: its size": f"{size:.1f} MB",
        "the report of 100 networks of 200 activations: drawn after": f"{drawn:.1f} s",
    }
    table = "\n".join(f"| {what} | {figure} |" for what, figure in lines.items())
    text = f"""# Figures that the pages name

{datetime.date.today()}, by `python -m benchmarks.pages`: processor seconds of one thread, the least of
three where it is quick. The report is drawn by headless Chromium without a GPU.

| what | measured |
| --- | --: |
{table}
"""
    (HERE / "pages.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
