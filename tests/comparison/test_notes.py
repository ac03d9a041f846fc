"""What a comparison says about scores that are no evidence."""

import pytest

from hf_affscore.comparison import compare
from hf_affscore.comparison.text import comparison_text
from hf_affscore.plots import plot_distances
from tests.signatures import make_signature

NO_EVIDENCE = "Distances include scores that are no evidence: 1 of 5 of cnn, 4 of 4 of vit_4."


@pytest.fixture(name="compared")
def _compared():
    cnn = make_signature(
        [0.5, 0.6, 0.7, 0.8, 1.0],
        name="cnn",
        cka=[0.1, 0.2, 0.3, 0.4, 0.0],
        evidence=["ok"] * 4 + ["few_samples"],
    )
    vit = make_signature([0.9] * 4, name="vit_4", cka=[0.1, 0.5, 0.2, 0.4], evidence=["few_samples"] * 4)
    return compare([cnn, vit])


def test_modes_are_of_scores_that_are_evidence(compared):
    (mode,) = compared.networks.loc["cnn", "modes"]
    assert 0.5 <= mode <= 0.8
    assert compared.networks.loc["vit_4", "modes"] == []


def test_correlations_are_of_scores_that_are_evidence(compared):
    assert compared.correlations.loc["cnn", "cka"] == pytest.approx(1)
    assert compared.correlation_counts["cka"].tolist() == [4, 0]
    assert compared.correlation_summary().loc["cka", "networks"] == 1


def test_distances_say_how_many_of_their_scores_are_no_evidence(compared):
    assert compared.distance_notes == (NO_EVIDENCE,)
    assert NO_EVIDENCE in comparison_text(compared, 120)
    assert compared.to_dict()["distance_notes"] == [NO_EVIDENCE]
    assert f"\n{NO_EVIDENCE}\n".replace("_", r"\_") in compared.to_markdown()
    assert f"% {NO_EVIDENCE}\n" in compared.to_latex()
    assert NO_EVIDENCE in plot_distances(compared).get_suptitle().replace("\n", " ")


def test_distances_of_evidence_and_one_network_need_no_note(compared):
    assert compare(compared.signatures[1:]).distance_notes == ()
    assert compare([make_signature([0.5], name="a"), make_signature([0.6], name="b")]).distance_notes == ()


@pytest.fixture(name="measured")
def _measured():
    """Two networks whose scores have standard errors."""
    return compare(
        [
            make_signature([0.5, 0.759, 0.9], name=name, affinity_score_stderr=[0.004] * 3)
            for name in ("cnn", "vit")
        ]
    )


def test_medians_have_their_standard_error(measured):
    (stderr,) = set(measured.networks["median_stderr"])
    assert stderr == measured.signatures[0].summary()["median_stderr"] > 0
    assert measured.to_dict()["networks"][0]["median_stderr"] == stderr
    assert f"| 0.759 ±{stderr:.3f} |" in measured.to_markdown()
    assert rf"& 0.759 $\pm${stderr:.3f} &" in measured.to_latex()
    assert f"0.7590 ±{stderr:.4f}" in comparison_text(measured, 80)
    assert max(map(len, comparison_text(measured, 60).splitlines()[:3])) <= 60


def test_a_median_that_is_undefined_is_a_dash(compared):
    vit = next(line for line in compared.to_markdown().splitlines() if line.startswith(r"| vit\_4"))
    assert vit.startswith(r"| vit\_4 | 4 | 0 | - |")


def test_tables_say_what_they_are_of_and_what_their_signs_mean():
    signatures = [make_signature([0.5, 0.6], name=name) for name in ("a", "b")]
    for signature in signatures:
        signature.metadata["options"] = {"pooling": "paper"}
    signatures[1].metadata["dataset"]["split"] = "train"
    tables = compare(signatures, allow_differences=True)
    for text in (tables.to_markdown(), tables.to_latex()):
        assert (
            "64 images of cifar10, test, pooling 'paper'; 64 images of cifar10, train, pooling 'paper'."
            in text
        )
        assert "± is one standard error" in text
        assert "std is the population standard deviation" in text
        assert "Made differently: dataset.split" in text


def test_mean_correlations_say_over_how_many_networks_and_how_many_have_few_scores():
    scores = [i / 10 for i in range(9)]
    names = {"a": 9, "b": 9, "few": 4}
    networks = [make_signature(scores[:n], name=name, cka=scores[:n]) for name, n in names.items()]
    compared = compare(networks)
    assert compared.correlation_summary().loc["cka", ["networks", "few"]].tolist() == [3, 1]
    assert "cka        +1.00 ±0.00  3, 1 with fewer than 8 scores" in comparison_text(compared, 60)
    assert "| cka | 1.000 | 0.000 | 3 | 1 |" in compared.to_markdown()
    assert "cka        +1.00 ±0.00  2\n" in f"{comparison_text(compare(networks[:2]), 60)}\n"


def test_one_network_has_no_spread():
    scores = [i / 10 for i in range(9)]
    alone = compare([make_signature(scores, name="a", cka=scores)])
    assert alone.to_dict()["correlation_summary"]["cka"]["std"] is None
    assert comparison_text(alone, 60).endswith("cka        +1.00  1")


def test_very_different_numbers_of_activations_are_said():
    short, middle, long = (make_signature([0.5] * count, name=f"net-{count}") for count in (4, 7, 8))
    counts = "here 4 (net-4) to 8 (net-8)"
    note = f"A distance grows with the number of activations, {counts}, even where scores are alike."
    compared = compare([long, middle, short])
    assert compared.distance_notes == (note,)
    assert note in comparison_text(compared, 120)
    assert note in plot_distances(compared).get_suptitle().replace("\n", " ")
    assert compare([short, middle]).distance_notes == ()
