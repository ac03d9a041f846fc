"""Differences of two signatures: what is paired, what is tested, and what is found."""

import dataclasses
import json
import math

import numpy as np
import pytest
from sklearn.datasets import load_digits

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.comparison import compare, difference
from hf_affscore.errors import InputError
from hf_affscore.signature import Record, Signature
from hf_affscore.summary import EFFECTS, standardised


def made(scores, *, errors=0.01, effects=None, images="same", names=None, **metadata):
    """A signature with these scores, on images that the text ``images`` stands for."""
    rows = tuple(
        Record(
            index=i,
            module=names[i] if names else f"layers.{i}.act",
            activation="ReLU",
            call=0,
            kind="module",
            dim=8,
            num_samples=512,
            affinity_score=float(score),
            affinity_score_stderr=errors if np.isscalar(errors) else errors[i],
            **({EFFECTS: standardised(effects[i])} if effects is not None else {}),
        )
        for i, score in enumerate(scores)
    )
    dataset = {"id": "cifar10", "split": "test", "num_samples": 512, "fingerprint": images}
    return Signature(rows, (), {"model": {"id": "net"}, "dataset": dataset, "numbers_version": 2, **metadata})


def with_evidence(signature, place, word):
    rows = [
        Record(**{**row, "evidence": word if i == place else "ok"}) for i, row in enumerate(signature.rows)
    ]
    return dataclasses.replace(signature, rows=tuple(rows))


EFFECT = np.random.default_rng(0).normal(size=(3, 64))


def test_errors_cancel_on_the_same_images():
    """Two networks that err alike: a change of a tenth of each standard error is seen."""
    noise = np.random.default_rng(1).normal(size=(3, 64))
    one, two = made([0.5, 0.6, 0.7], effects=EFFECT), made([0.5, 0.601, 0.7], effects=EFFECT + 0.01 * noise)
    found = difference(one, two)
    assert found.paired
    assert (found.changes[0].index, found.changes[0].significant) == (1, True)
    assert len(found.significant) == 1
    expected = 0.01 * np.std(
        EFFECT[1] / EFFECT[1].std() - (EFFECT + 0.01 * noise)[1] / (EFFECT + 0.01 * noise)[1].std()
    )
    assert found.changes[0].stderr == pytest.approx(math.hypot(expected, 1e-5), rel=0.02)
    assert "same images" in found.verdict[1]


def test_errors_add_up_on_other_images_and_where_there_are_no_effects():
    for first, second in (
        (made([0.5] * 3, effects=EFFECT), made([0.501] * 3, effects=EFFECT, images="others")),
        (made([0.5] * 3, effects=EFFECT, images=None), made([0.501] * 3, effects=EFFECT, images=None)),
        (made([0.5] * 3), made([0.501] * 3)),
    ):
        found = difference(first, second)
        assert not found.significant
        assert [row.stderr for row in found.changes] == pytest.approx([0.01 * math.sqrt(2)] * 3, rel=1e-5)
    assert found.mean_stderr == pytest.approx(
        0.01 * math.sqrt(2), rel=1e-3
    )  # the worst case: all err together


def test_what_did_not_change_has_no_error_but_that_of_rounding():
    signature = made([0.5, 0.6, 0.7], effects=EFFECT)
    found = difference(signature, signature)
    assert [(row.change, row.p_value) for row in found.changes] == [(0.0, 1.0)] * 3
    assert found.verdict[0].startswith("None of 3 scores changed beyond noise (false discovery rate 5 %)")
    rounded = made([0.500003, 0.6, 0.7], effects=EFFECT)
    assert not difference(signature, rounded).significant


def test_the_false_discovery_rate_is_that_of_benjamini_and_hochberg():
    """Of p-values 0.01, 0.02, 0.03, 0.5 the first three are found, though none is below 0.05 / 4 but the first."""
    z = np.array([2.6154, 2.3563, 2.1949, 0.6764])  # of a t distribution with 2 * 63 degrees of freedom
    one, two = made([0.5] * 4), made(0.5 + z * 0.01 * math.sqrt(2))
    found = difference(one, two)
    assert sorted(row.p_value for row in found.changes) == pytest.approx([0.01, 0.02, 0.03, 0.5], rel=0.02)
    assert len(found.significant) == 3
    assert len(difference(one, made([0.5, 0.5, 0.5, 0.5 + z[1] * 0.01 * math.sqrt(2)])).significant) == 0


def test_rows_are_paired_by_module_and_listed_without_a_partner():
    one = made([0.5, 0.6, 0.7], names=["a.relu", "b.relu", "c.relu"])
    two = made([0.7, 0.5, 0.1], names=["c.relu", "a.relu", "d.relu"])
    found = difference(one, two)
    assert {row.module: (row.first, row.second) for row in found.changes} == {
        "a.relu": (0.5, 0.5),
        "c.relu": (0.7, 0.7),
    }
    assert [row.module for row in (*found.only_first, *found.only_second)] == ["b.relu", "d.relu"]
    assert found.verdict[-1] == "Without a partner: 1 of A and 1 of B."


def test_a_wrapper_that_renames_every_module_is_no_other_architecture():
    one = made([0.5, 0.6], names=["net.stem.act", "net.head.act"])
    two = made([0.5, 0.8], names=["base_model.model.net.stem.act", "base_model.model.net.head.act"])
    assert [row.module for row in difference(one, two).changes] == ["net.head.act", "net.stem.act"]


def test_other_architectures_are_sent_to_compare():
    with pytest.raises(InputError, match="to compare architectures use compare"):
        difference(made([0.5], names=["a"]), made([0.5], names=["b"]))
    few = difference(
        made([0.5, 0.6, 0.7], names=["a", "b", "c"]), made([0.5, 0.6, 0.7], names=["a", "x", "y"])
    )
    assert "hf-affscore compare" in few.verdict[-1]


def test_what_is_no_evidence_is_not_tested_and_said():
    one = with_evidence(made([0.5, 0.6, 0.7]), 0, "few_samples")
    two = with_evidence(made([0.9, 0.6, 0.7], errors=[0.01, 0.01, math.nan]), 1, "constant_output")
    found = difference(one, two)
    assert {row.index: row.untested for row in found.changes} == {
        0: "no evidence in A",
        1: "no evidence in B",
        2: "without a standard error",
    }
    assert not found.significant
    assert found.verdict[0] == "No change could be tested."
    assert math.isnan(found.mean_change)
    json.dumps(found.to_dict(), allow_nan=False)


def test_errors_of_numbers_version_1_are_of_another_kind():
    old = [made([score], numbers_version=1) for score in (0.5, 0.9)]
    assert difference(*old).changes[0].untested == "without a standard error"


def test_signatures_made_differently_are_refused_but_for_what_makes_a_network():
    one, two = (
        made([0.5], options={"pooling": "paper", "seed": 0}),
        made([0.5], options={"pooling": "none", "seed": 1}),
    )
    with pytest.raises(
        InputError, match=r"options.pooling is 'paper' in net but 'none' in net.*--allow-differences"
    ):
        difference(one, two)
    assert difference(one, two, allow_differences=True).made_differently
    free = {"seed": 1, "dtype": "bfloat16", "random_weights": True, "loader": "timm"}
    options = {"seed": 0, "dtype": "float32", "random_weights": False, "loader": None}
    assert not difference(made([0.5], options=options), made([0.5], options=free)).made_differently


def test_the_direction_is_second_less_first():
    comparison = compare([made([0.5, 0.9]), made([0.8, 0.9])])
    found = comparison.difference(*comparison.names)
    assert found.names == comparison.names
    assert found.changes[0].change == pytest.approx(0.3)
    assert "1 higher in B" in found.verdict[0]
    assert comparison.difference(*comparison.names[::-1]).changes[0].change == pytest.approx(-0.3)
    with pytest.raises(InputError, match="No network is called 'other'"):
        comparison.difference("other", "net")
    assert list(found.to_dataframe()["index"]) == [0, 1]


def analysed(images, **options):
    usual = {
        "num_samples": len(images),
        "shuffle": False,
        "shrinkage": False,
        "cache": False,
        "progress": False,
    }
    return ha.analyze(DEMO_MODEL, images, **{**usual, **options})


def digits():
    from PIL import Image

    pixels = (load_digits().images * 255 / 16).astype(np.uint8)
    return [Image.fromarray(each).convert("RGB") for each in pixels]


@pytest.mark.slow
def test_two_draws_for_the_same_network_differ_by_nothing():
    """The full count is in benchmarks/difference.md; of 20 true trials at most 3 would find something (99.9 %)."""
    images, loud = digits(), 0
    for trial in range(20):
        chosen = np.random.default_rng(trial).permutation(len(images))[:256]
        halves = [[images[i] for i in half] for half in (chosen[:128], chosen[128:])]
        loud += len(difference(*map(analysed, halves)).significant) > 0
    assert loud <= 3


def test_another_number_format_and_random_weights_are_found_on_the_same_images():
    options = {"num_samples": 256, "shrinkage": False, "cache": False, "progress": False}
    trained = ha.analyze(DEMO_MODEL, DEMO_DATASET, **options)
    half = difference(trained, ha.analyze(DEMO_MODEL, DEMO_DATASET, **options, dtype="bfloat16"))
    random = difference(trained, ha.analyze(DEMO_MODEL, DEMO_DATASET, **options, random_weights=True))
    assert half.paired
    assert random.paired
    assert 0 < len(half.significant) < len(random.significant)
    scored = np.median([row.affinity_score_stderr for row in trained.rows])
    assert np.median([row.stderr for row in half.changes]) < scored / 10


def with_activations(signature, *activations):
    """The same scores of other activations; ``#1`` behind a name makes it the second call."""
    rows = [
        Record(**{**row, "activation": name.removesuffix("#1"), "call": int(name.endswith("#1"))})
        for row, name in zip(signature.rows, activations, strict=True)
    ]
    return dataclasses.replace(signature, rows=tuple(rows))


def test_other_activations_at_the_same_places_are_compared_and_said():
    one, two = made([0.5, 0.6, 0.7], effects=EFFECT), made([0.5, 0.8, 0.7], effects=EFFECT)
    found = difference(one, with_activations(two, "GELU", "GELU", "ReLU"))
    same = difference(one, two)
    for change, usual in zip(found.changes, same.changes, strict=True):
        assert (change.change, change.stderr, change.p_value) == (usual.change, usual.stderr, usual.p_value)
    assert not found.only_first
    assert "Other activations at the same places: 2 ReLU → GELU." in found.verdict
    assert {row["index"]: row["second_activation"] for row in found.to_dict()["changes"]} == {
        0: "GELU",
        1: "GELU",
        2: "ReLU",
    }
    assert sum("ReLU → GELU" in line for line in str(found).splitlines()) == 3  # two rows and the verdict
    assert not any("Other activations" in sentence for sentence in same.verdict)


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        (["relu", "relu#1", "gelu"], ["relu", "gelu", "gelu#1"], [(0, 0), (1, 1), (2, 2)]),
        (["relu", "gelu"], ["gelu", "relu"], [(0, 1), (1, 0)]),  # the same activations, run in another order
        (["relu", "gelu", "silu"], ["gelu", "silu"], [(1, 0), (2, 1)]),
    ],
)
def test_calls_in_one_module_are_told_apart_by_their_order_and_by_their_activation(first, second, pairs):
    one, two = (
        with_activations(made(np.arange(len(names)) / 10, names=["block"] * len(names)), *names)
        for names in (first, second)
    )
    found = sorted(difference(one, two).changes, key=lambda row: row.index)
    assert [(row.index, round(row.second * 10)) for row in found] == pairs
