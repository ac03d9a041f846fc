"""What scores sum up to: what takes part, and standard errors of scores whose errors go together."""

import math

import numpy as np
import pytest

from hf_affscore.summary import EFFECTS, joint_errors, mean_error, standardised, summarize


def rows(scores, errors, effects, evidence=None):
    words = evidence or ["ok"] * len(scores)
    return [
        {
            "affinity_score": float(score),
            "affinity_score_stderr": float(error),
            EFFECTS: effect if effect is None else standardised(effect),
            "evidence": word,
        }
        for score, error, effect, word in zip(scores, errors, effects, words, strict=True)
    ]


def simulated(loadings, own, trials=4000):
    """Scores with a common error and one of their own, and the rows that an analysis would write about them."""
    rng = np.random.default_rng(0)
    true = np.linspace(0.6, 0.7, len(loadings))
    drawn = true + np.outer(rng.normal(size=trials), loadings) + own * rng.normal(size=(trials, len(true)))
    covariance = np.outer(loadings, loadings) + own**2 * np.eye(len(true))
    # Effects with exactly this covariance: orthonormal columns, each of mean 0.
    columns = rng.normal(size=(64, len(true)))
    basis = np.linalg.qr(columns - columns.mean(axis=0))[0]
    effects = np.linalg.cholesky(covariance + 1e-12 * np.eye(len(true))) @ basis.T
    return drawn, rows(true, np.sqrt(np.diag(covariance)), effects)


@pytest.mark.parametrize("common", [0.0, 0.01, 0.03])
def test_standard_errors_are_the_spread_over_draws(common):
    loadings = common * np.linspace(0.5, 1.5, 21)
    drawn, described = simulated(loadings, own=0.01)
    summary = summarize(described)
    # The spread of 4,000 is known to 1 %, that of the thousand draws inside to 2 %.
    assert summary["mean_stderr"] == pytest.approx(drawn.mean(axis=1).std(), rel=0.04)
    assert summary["median_stderr"] == pytest.approx(np.median(drawn, axis=1).std(), rel=0.08)


def test_the_factor_of_the_covariance_has_the_errors_on_its_diagonal():
    _, described = simulated(np.linspace(0.0, 0.02, 5), own=0.01)
    factor = joint_errors(described)
    expected = np.outer(np.linspace(0.0, 0.02, 5), np.linspace(0.0, 0.02, 5)) + 1e-4 * np.eye(5)
    np.testing.assert_allclose(factor @ factor.T, expected, atol=2e-7)  # effects are kept to a thousandth


def test_effects_that_do_not_vary_are_zero():
    assert standardised([2.0, 2.0]) == (0, 0)
    assert standardised([]) == ()
    flat = rows([1.0, 0.5], [0.0, 0.1], [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    assert mean_error(joint_errors(flat)) == pytest.approx(0.05)


def test_only_evidence_takes_part_and_the_rest_is_counted():
    words = ["ok", "few_samples", "constant_output", "ridge_dominates", "undefined", "ok", "few_samples"]
    summary = summarize(rows([0.5, 0.9, 1, 0.8, math.nan, 0.7, 0.95], [0.01] * 7, [None] * 7, words))
    assert (summary["min"], summary["max"], summary["median"]) == (0.5, 0.7, pytest.approx(0.6))
    assert [summary[name] for name in ("count", *dict.fromkeys(words[1:5]))] == [2, 2, 1, 1, 1]


def test_without_evidence_every_figure_is_nan():
    summary = summarize(rows([0.9], [0.01], [None], ["few_samples"]))
    assert summary["count"] == 0
    figures = ("min", "max", "mean", "median", "std", "mean_stderr", "median_stderr")
    assert all(math.isnan(summary[name]) for name in figures)
    assert summarize([])["count"] == 0


@pytest.mark.parametrize("effects", [[None] * 3, [[1.0, 2.0], [1.0, 2.0], None], [[1.0, 2.0], [0.0], [1.0]]])
def test_rows_that_do_not_say_how_their_errors_go_together_are_taken_to_agree(effects):
    described = rows([0.5, 0.6, 0.7], [0.01, 0.02, 0.03], effects)
    assert summarize(described)["mean_stderr"] == pytest.approx(0.02)
    assert summarize(described)["median_stderr"] == pytest.approx(0.02, rel=0.05)  # of 1,000 draws


def test_a_file_with_the_correlations_of_before_is_summarised_in_the_worst_case():
    old = [
        {"affinity_score": 0.5, "affinity_score_stderr": 0.01, "affinity_score_error_correlation": 0.1}
    ] * 2
    assert summarize(old)["mean_stderr"] == pytest.approx(0.01)
