import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

import hf_affscore
import hf_affscore.comparison
from hf_affscore.comparison import compare
from hf_affscore.comparison.sources import read_published
from hf_affscore.errors import HubError, InputError, SignatureError
from hf_affscore.report.folder import save_comparison
from tests.signatures import make_signature


@pytest.fixture(name="families")
def _families():
    """Two families of three; within one, networks differ in length and a little noise."""
    random = np.random.default_rng(0)
    wave = np.sin(np.arange(10)) / 4
    return [
        make_signature(
            np.append(base + wave, [base] * extra) + random.normal(0, 0.005, 10 + extra),
            name=f"{kind}{extra}",
        )
        for kind, base in (("cnn", 0.7), ("vit", 0.3))
        for extra in range(3)
    ]


def test_families_are_found(families):
    comparison = compare(families)
    clusters = comparison.clusters(2)
    assert {clusters[name] for name in ("cnn0", "cnn1", "cnn2")} != {
        clusters[n] for n in ("vit0", "vit1", "vit2")
    }
    assert len(set(clusters.values())) == 2
    assert {name for name, _ in comparison.nearest("cnn1", 2)} == {"cnn0", "cnn2"}
    assert sorted(comparison.leaf_order) == list(range(6))


def test_nearest_is_sorted_and_leaves_out_the_network_itself(families):
    near = compare(families).nearest("vit0", 100)
    assert len(near) == 5
    assert [distance for _, distance in near] == sorted(distance for _, distance in near)
    assert "vit0" not in dict(near)


def test_undefined_scores_are_left_out_and_alignment_speaks_of_rows():
    comparison = compare(
        [make_signature([0.1, math.nan, 0.9], name="a"), make_signature([math.nan, 0.1, 0.9, 0.9], name="b")]
    )
    assert comparison.distances[0, 1] == 0
    assert comparison.align("a", "b") == [(0, 1), (2, 2), (2, 3)]


def test_the_table_of_networks():
    plain = make_signature([0.2, 0.4, math.nan, 0.9], name="a")
    metadata = plain.metadata | {"model": {"id": "b", "accuracy": 0.7, "num_parameters": 1000}}
    other = dataclasses.replace(plain, metadata=metadata)
    table = compare([plain, other], published={"a": {"accuracy": 0.6, "year": 2012}}).networks
    assert table.loc["a", ["activations", "undefined", "median", "min", "max"]].tolist() == [
        3,
        1,
        0.4,
        0.2,
        0.9,
    ]
    assert table.loc["a", "std"] == pytest.approx(np.std([0.2, 0.4, 0.9]))
    assert table["accuracy"].tolist() == [0.6, 0.7]
    assert math.isnan(table.loc["a", "num_parameters"])
    assert table.loc["a", "year"] == 2012
    assert math.isnan(table.loc["b", "year"])


def test_published_figures_come_from_a_frame_too_and_go_before_recorded_ones(families):
    frame = pd.DataFrame({"accuracy": [0.8]}, index=["cnn0"])
    assert compare(families, published=frame).networks.loc["cnn0", "accuracy"] == 0.8
    with pytest.raises(InputError, match="published has figures for resnet, which is not compared"):
        compare(families, published={"resnet": {"accuracy": 0.8}})


def test_mean_and_deviation_of_correlations_over_networks():
    scores = [0.1, 0.5, 0.9]
    signatures = [
        make_signature(scores, name="up", cka=[0.0, 0.5, 1.0]),
        make_signature(scores, name="down", cka=[1.0, 0.5, 0.0]),
        make_signature(scores, name="flat", cka=[0.5, 0.5, 0.5]),
    ]
    comparison = compare(signatures)
    assert comparison.correlations["cka"].tolist()[:2] == [pytest.approx(1), pytest.approx(-1)]
    summary = comparison.correlation_summary().loc["cka"]
    assert summary.tolist() == [pytest.approx(0), pytest.approx(1), 2, 2]


def test_networks_of_one_name_are_told_apart():
    def network(revision):
        signature = make_signature([0.5], name="a")
        return dataclasses.replace(signature, metadata={"model": {"id": "a", "revision": revision}})

    revisions = ["0123456789", "sha256:fedcba9876", "sha256:fedcba9876", None]
    names = compare([network(revision) for revision in revisions]).names
    assert names == ("a@0123456", "a@fedcba9", "a@fedcba9 (2)", "a")


def test_folders_are_read_in_order_and_mixed_with_objects(families, tmp_path):
    for signature in families[:2]:
        signature.save_pretrained(tmp_path / "many" / signature.name)
    families[2].save_pretrained(tmp_path / "one")
    names = compare([tmp_path / "many", str(tmp_path / "one"), families[3]]).names
    assert names == ("cnn0", "cnn1", "cnn2", "vit0")


def test_collections_on_the_hub_are_read(families, hub):
    for signature in families:
        signature.push_to_hub("ada/signatures", token=hub.token("ada"))
    comparison = compare(["ada/signatures"])
    assert sorted(comparison.names) == sorted(signature.name for signature in families)
    local = compare(families).nearest("cnn1", 5)
    assert comparison.nearest("cnn1", 5) == [(name, pytest.approx(distance)) for name, distance in local]
    with pytest.raises(HubError, match="'ada/none' was not found"):
        compare(["ada/none"])


def test_what_cannot_be_compared_is_said(families, tmp_path):
    with pytest.raises(InputError, match="nothing to compare"):
        compare([])
    for one in ("folder", families[0], {"a": "folder"}):
        with pytest.raises(InputError, match=r"is a (str|Signature|dict); expected a list: compare\(\["):
            compare(one)
    with pytest.raises(InputError, match="undefined: no activation has a defined score"):
        compare([families[0], make_signature([math.nan], name="undefined")])
    with pytest.raises(SignatureError, match=r"No signature in .* or below"):
        compare([tmp_path])
    with pytest.raises(SignatureError, match=r"neither a folder with .* nor a Hub id"):
        compare([tmp_path / "missing"])
    comparison = compare(families)
    with pytest.raises(InputError, match="No network is called 'x'; expected one of cnn0, cnn1"):
        comparison.nearest("x")
    with pytest.raises(InputError, match="count is 7; expected 1 to 6"):
        comparison.clusters(7)


def test_a_comparison_does_not_change(families):
    comparison = compare(families)
    with pytest.raises(dataclasses.FrozenInstanceError):
        comparison.names = ()
    with pytest.raises(ValueError, match="read-only"):
        comparison.distances[0, 1] = 0


def test_saving_writes_figures_tables_and_pictures(families, tmp_path):
    named = make_signature([0.1, 0.2, 0.3], name="other", cka=[0.1, 0.5, 0.2])
    comparison = compare([*families, named], published={"cnn0": {"year": np.int64(2012)}})
    folder = save_comparison(comparison, tmp_path / "new" / "folder")
    document = json.loads((folder / "comparison.json").read_text())
    assert document["networks"][0]["network"] == "cnn0"
    assert document["networks"][0]["year"] == 2012
    assert document["networks"][1]["year"] is None
    np.testing.assert_allclose(document["distances"], comparison.distances)
    assert (folder / "comparison.md").read_text() == comparison.to_markdown()
    assert (folder / "comparison.tex").read_text() == comparison.to_latex()
    pictures = ("correlations", "distances", "distributions", "signatures", "timeline")
    assert {p.name for p in folder.iterdir()} == {
        "comparison.json",
        "comparison.md",
        "comparison.tex",
        *(f"{name}{suffix}" for name in pictures for suffix in (".png", ".pdf")),
    }
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written to"):
        save_comparison(comparison, tmp_path / "file")


def test_published_figures_are_read_from_a_csv_file(families, tmp_path):
    table = tmp_path / "published.csv"
    table.write_text("network,year,accuracy\ncnn0,2012,0.6\nvit1,2020,\n")
    networks = compare(families, published=read_published(table)).networks
    assert networks.loc["cnn0", ["year", "accuracy"]].tolist() == [2012, 0.6]
    assert math.isnan(networks.loc["vit1", "accuracy"])
    table.write_text("network,year\na,1\na,2\n")
    with pytest.raises(InputError, match="names a more than once"):
        read_published(table)
    for content in (b"", b"a,b\n1,2,3,4\n1\n1,2,3,4,5", b"\xff\xfe\x00"):
        table.write_bytes(content)
        with pytest.raises(InputError, match="could not be read as a table"):
            read_published(table)
    with pytest.raises(InputError, match="could not be read as a table"):
        read_published(tmp_path / "missing.csv")


def test_compare_stays_a_function_whatever_was_imported_before():
    assert hf_affscore.compare is compare
    assert hf_affscore.Comparison is hf_affscore.comparison.Comparison
