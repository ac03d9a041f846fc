"""The interval on real layers of really different images: ``benchmarks/uncertainty.py``, reduced."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_affscore.assets import DEMO_MODEL
from hf_affscore.score.affinity import solve
from hf_affscore.score.sample import Layer, Sample
from hf_affscore.score.threads import one_blas_thread
from hf_affscore.score.uncertainty import uncertainty

DRAWS = 60


@pytest.fixture(scope="module", name="layers")
def _layers():
    """Pooled rows before and after every third activation of the embedded network, on 1,797 digits."""
    pixels = (load_digits().images * 255 / 16).astype(np.uint8)
    pixels = np.repeat(pixels[..., None], 3, axis=3)
    inputs = AutoImageProcessor.from_pretrained(DEMO_MODEL)(list(pixels), return_tensors="pt")
    model = AutoModelForImageClassification.from_pretrained(DEMO_MODEL).eval()
    rows = []
    for module in [module for module in model.modules() if isinstance(module, torch.nn.ReLU)][::3]:
        module.register_forward_hook(
            lambda _, given, made: rows.append([side.mean((-2, -1)).numpy() for side in (given[0], made)])
        )
    with torch.inference_mode():
        model(**inputs)
    return rows


@pytest.mark.parametrize("n", [24, 256])
def test_the_interval_covers_the_mean_score_over_draws(layers, n):
    """At n = 24 the last layers have more features than there are samples."""
    rng = np.random.default_rng(0)
    covered, ratios = [], []
    for before, after in layers:
        score, error, low, high = [], [], [], []
        for _ in range(DRAWS):
            chosen = rng.choice(len(before), n, replace=False)
            with one_blas_thread():
                layer = Layer(Sample(before[chosen]), Sample(after[chosen]))
                solution = solve(layer, shrinkage=False, regularization=1e-6)
                found = uncertainty(solution)
            score.append(solution.score)
            error.append(found.standard_error)
            low.append(found.low)
            high.append(found.high)
        covered.append(np.mean((np.array(low) <= np.mean(score)) & (np.mean(score) <= np.array(high))))
        ratios.append(np.mean(error) / np.std(score, ddof=1))
    # The spread of 60 scores is itself known to 9 %; draws of 256 of 1,797 differ 7 % less than of infinitely many.
    assert 0.75 < min(ratios) <= max(ratios) < 1.45
    assert np.mean(covered) > 0.9
    assert min(covered) > 0.8
