"""What the number of images, the draw and the options do to the signature of the embedded network.

    python -m benchmarks.choosing

Writes ``choosing.md``, which ``docs/choosing.md`` quotes. It needs three minutes and nothing else.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL

SEEDS = 5
OPTIONS: dict[str, dict[str, Any]] = {
    "pooling='positions'": {"pooling": "positions"},
    "pooling='none'": {"pooling": "none"},
    "regularization='relative'": {"regularization": "relative"},
    "dtype='bfloat16'": {"dtype": "bfloat16"},
    "batch_size=64": {"batch_size": 64},
    "random_weights=True": {"random_weights": True},
}


def scores(**options: Any) -> np.ndarray:
    return ha.analyze(DEMO_MODEL, DEMO_DATASET, cache=False, progress=False, **options).scores


def main() -> None:
    torch.set_num_threads(1)
    reference = scores(num_samples=512)
    lines = [
        "# Choices, measured on the embedded network",
        "",
        f"{datetime.date.today()}, digits-resnet (19 activations, 8 to 32 features) on its embedded digits, "
        f"torch {torch.__version__}, one thread.",
        "",
        f"Draws of n images out of 512, {SEEDS} seeds; spread: the largest over the activations.",
        "",
        "| n | median score | range of one score over draws | correlation with n = 512 |",
        "| --: | --: | --: | --: |",
    ]
    for count in (16, 32, 64, 128, 256):
        drawn = np.array([scores(num_samples=count, seed=seed) for seed in range(SEEDS)])
        spread = (drawn.max(axis=0) - drawn.min(axis=0)).max()
        agreement = np.mean([np.corrcoef(one, reference)[0, 1] for one in drawn])
        lines.append(f"| {count} | {np.median(drawn, axis=1).mean():.3f} | {spread:.3f} | {agreement:.3f} |")
    lines += [
        f"| 512 | {np.median(reference):.3f} | | 1 |",
        "",
        "One option changed, n = 512.",
        "",
        "| option | median score | largest change of a score | correlation |",
        "| :-- | --: | --: | --: |",
    ]
    for name, options in OPTIONS.items():
        changed = scores(num_samples=512, **options)
        difference, agreement = np.abs(changed - reference).max(), np.corrcoef(changed, reference)[0, 1]
        lines.append(f"| `{name}` | {np.median(changed):.3f} | {difference:.1e} | {agreement:.3f} |")
    noise = ha.analyze(DEMO_MODEL, "noise", num_samples=512, cache=False, progress=False).scores
    agreement = np.corrcoef(noise, reference)[0, 1]
    change = np.abs(noise - reference).max()
    lines.append(f'| `dataset="noise"` | {np.median(noise):.3f} | {change:.1e} | {agreement:.3f} |')
    text = "\n".join(lines) + "\n"
    (Path(__file__).parent / "choosing.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
