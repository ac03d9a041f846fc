"""The sentences under every table: how many scores are evidence, what they can be compared with, what next."""

import math

import pytest

from hf_affscore.verdict import interval_of, verdict, verdict_of_widths

METADATA = {
    "dataset": {"num_samples": 512},
    "options": {"pooling": "paper", "regularization": 1e-6},
    "numbers_version": 2,
}


def row(word="ok", score=0.8, dim=64, **more):
    return {"affinity_score": score, "evidence": word, "dim": dim, "num_samples": 512, **more}


def trusted(score=0.8, **more):
    bounds = {"limit_low": score - 0.05, "limit_high": score + 0.1}
    return row(score=score, affinity_score_stderr=0.01, **bounds, **more)


def test_where_all_is_evidence_there_are_two_lines():
    assert verdict([trusted(0.7), trusted()], METADATA) == (
        "All 2 scores are evidence.",
        "Compare with scores of 512 of these images, pooling 'paper' and ridge 1e-06 only; differences below 0.028 "
        "may be chance; more images may lower a score by up to 0.05 or raise it by up to 0.10.",
    )
    assert verdict([trusted()], METADATA)[0] == "The score is evidence."


def test_the_least_certain_score_has_a_limit_of_its_own():
    rows = [trusted(), trusted() | {"affinity_score_stderr": 0.03}, trusted()]
    said = "differences below 0.028 may be chance (0.083 for the least certain score);"
    assert said in verdict(rows, METADATA)[1]


def test_what_is_no_evidence_is_counted_by_kind_in_plain_words():
    words = ["few_samples", "few_samples", "constant_output", "ridge_dominates", "undefined"]
    rows = [trusted(), *(row(word) for word in words)]
    assert verdict(rows, METADATA)[0] == (
        "1 of 6 scores is evidence: 2 have no more images than features, 1 is of a constant output, 1 is of values "
        "so small that the ridge decides, 1 is undefined."
    )
    assert verdict([row("undefined", math.nan)], METADATA) == (
        "None of 1 scores are evidence: 1 is undefined.",
    )
    assert verdict([], METADATA) == ("There is no score.",)


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        (["few_samples"], {}, "Next: num_samples=2048 or more images."),
        (["few_samples"], {"pooling": "none"}, 'Next: pooling="channels"'),
        (["constant_output"] * 2 + ["few_samples"], {}, 'Next: regularization="relative"'),
        (["ridge_dominates"], {}, 'Next: regularization="relative"'),
        (["constant_output"], {"regularization": "relative"}, None),
        (["undefined"], {}, None),
        (["ok"], {}, None),
    ],
)
def test_the_one_next_step(words, options, said):
    metadata = METADATA | {"options": METADATA["options"] | options}
    lines = verdict([trusted(), *(row(word, dim=1280) for word in words)], metadata)
    assert 1 <= len(lines) <= 3
    steps = [line for line in lines if line.startswith("Next")]
    assert [step[: len(said)] for step in steps] == [said] if said else steps == []


def test_widths_alone_say_it_beforehand():
    assert verdict_of_widths([64, 1280, 512], 512, "paper") == (
        "With 512 images 1 of 3 scores would be evidence: 2 have no more images than features.",
        "Next: num_samples=2048 or more images.",
    )
    assert verdict_of_widths([64, 32], 512, "paper") == ("With 512 images all 2 scores would be evidence.",)


@pytest.mark.parametrize(("version", "holds"), [(1, "limit"), (2, "score"), (3, "score"), (None, "score")])
def test_which_interval_a_file_holds(version, holds):
    assert interval_of({} if version is None else {"numbers_version": version}).startswith(holds)


def test_rows_of_numbers_version_1_have_a_verdict_too():
    old = [
        {"affinity_score": 1.0, "reason": "constant output"},
        {"affinity_score": 0.9, "dim": 99, "num_samples": 50},
    ]
    assert verdict(old, {"numbers_version": 1})[0] == (
        "None of 2 scores are evidence: 1 has no more images than features, 1 is of a constant output."
    )
