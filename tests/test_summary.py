"""What scores sum up to: what takes part, and standard errors of scores whose errors go together."""

import math

import numpy as np
import pytest

from hf_affscore.summary import summarize


def rows(scores, errors, correlations, evidence=None):
    words = evidence or ["ok"] * len(scores)
    return [
        {
            "affinity_score": float(score),
            "affinity_score_stderr": error,
            "affinity_score_error_correlation": correlation,
            "evidence": word,
        }
        for score, error, correlation, word in zip(scores, errors, correlations, words, strict=True)
    ]


def simulated(loadings, own, trials=4000):
    """Scores with a common error and one of their own, and the rows that an analysis would write about them."""
    rng = np.random.default_rng(0)
    true = np.linspace(0.6, 0.7, len(loadings))
    drawn = true + np.outer(rng.normal(size=trials), loadings) + own * rng.normal(size=(trials, len(true)))
    errors = np.sqrt(np.square(loadings) + own**2)
    covariance = np.outer(loadings, loadings) + own**2 * np.eye(len(true))
    correlations = covariance.mean(axis=1) / errors / math.sqrt(covariance.mean())
    return drawn, rows(true, errors, correlations)


@pytest.mark.parametrize("common", [0.0, 0.01, 0.03])
def test_standard_errors_are_the_spread_over_draws(common):
    loadings = common * np.linspace(0.5, 1.5, 21)
    drawn, described = simulated(loadings, own=0.01)
    summary = summarize(described)
    # The spread of 4,000 is known to 1 %, that of the draws inside to 2 %; the rest is that one factor is a model.
    assert summary["mean_stderr"] == pytest.approx(drawn.mean(axis=1).std(), rel=0.04)
    assert summary["median_stderr"] == pytest.approx(np.median(drawn, axis=1).std(), rel=0.12)


def test_only_evidence_takes_part_and_the_rest_is_counted():
    words = ["ok", "few_samples", "constant_output", "ridge_dominates", "undefined", "ok", "few_samples"]
    summary = summarize(rows([0.5, 0.9, 1, 0.8, math.nan, 0.7, 0.95], [0.01] * 7, [1.0] * 7, words))
    assert (summary["min"], summary["max"], summary["median"]) == (0.5, 0.7, pytest.approx(0.6))
    assert [summary[name] for name in ("count", *dict.fromkeys(words[1:5]))] == [2, 2, 1, 1, 1]


def test_without_evidence_every_figure_is_nan():
    summary = summarize(rows([0.9], [0.01], [1.0], ["few_samples"]))
    assert summary["count"] == 0
    figures = ("min", "max", "mean", "median", "std", "mean_stderr", "median_stderr")
    assert all(math.isnan(summary[name]) for name in figures)
    assert summarize([])["count"] == 0


def test_rows_that_do_not_say_how_their_errors_go_together_are_taken_to_agree():
    described = rows([0.5, 0.6, 0.7], [0.01, 0.02, 0.03], [None] * 3)
    assert summarize(described)["mean_stderr"] == pytest.approx(0.02)
    assert summarize(described)["median_stderr"] == pytest.approx(0.02, rel=0.05)  # of 1,000 draws
