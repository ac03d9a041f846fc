import math
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from hf_affscore.errors import InputError
from hf_affscore.plots import plot_signature
from tests.pictures import reaches_the_edge
from tests.signatures import make_signature


def scores(count):
    return np.random.default_rng(count).uniform(size=count)


def drawn_points(figure):
    """Score by position, of the points that are drawn with a marker and are not crosses."""
    lines = (line for line in figure.axes[0].lines if line.get_marker() not in ("None", "x", None))
    return dict(sorted((int(x), y) for line in lines for x, y in line.get_xydata()))


def test_every_defined_score_is_a_point_and_every_other_a_cross():
    figure = plot_signature(make_signature([0.5, math.nan, 0.25, 1.0]))
    assert drawn_points(figure) == {0: 0.5, 2: 0.25, 3: 1.0}
    (crosses,) = (line for line in figure.axes[0].lines if line.get_marker() == "x")
    assert list(crosses.get_xdata()) == [1]


def test_kinds_of_activation_differ_in_colour_and_in_marker():
    kinds = [f"Kind{i}" for i in range(20)]
    figure = plot_signature(make_signature(scores(20), activations=kinds))
    looks = [(line.get_color(), line.get_marker()) for line in figure.axes[0].lines[1:]]
    assert len(set(looks)) == 20


@pytest.mark.parametrize("count", [0, 1, 30, 300])
def test_no_label_is_clipped(count):
    long = ["A" * 60, "mish"]
    signature = make_signature(scores(count), name="o/" + "n" * 94, activations=long)
    assert not reaches_the_edge(plot_signature(signature))


def test_a_clipped_label_would_be_found():
    figure = plot_signature(make_signature(scores(3)))
    figure.axes[0].set_title("W" * 300)
    assert reaches_the_edge(figure)


def test_intervals_are_drawn_where_rows_have_them():
    ends = {"affinity_score_low": [0.4, None, math.nan], "affinity_score_high": [0.7, None, math.nan]}
    figure = plot_signature(make_signature([0.5, 0.6, 0.7], **ends))
    (bars,) = figure.axes[0].collections
    assert [bar.tolist() for bar in bars.get_segments()] == [[[0, 0.4], [0, 0.7]]]
    assert "95 % interval" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert not plot_signature(make_signature([0.5])).axes[0].collections


def test_what_is_no_evidence_is_hollow_and_the_caption_is_the_verdict():
    words = ["ok", "few_samples", "ok", "constant_output"]
    signature = make_signature([0.5, 0.9, 0.6, 1], activations=("ReLU",), evidence=words)
    axes = plot_signature(signature).axes[0]
    points = {line.get_label(): line for line in axes.lines if line.get_marker() == "o"}
    assert {name.strip(): line.get_xdata().tolist() for name, line in points.items()} == {
        "ReLU": [0, 2],
        "ReLU, no evidence": [1, 3],
    }
    assert points[" ReLU, no evidence"].get_markerfacecolor() == "white"
    assert points[" ReLU"].get_markerfacecolor() != "white"
    assert axes.get_xlabel().replace("\n", " ") == " ".join(signature.verdict)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_names_are_text_and_the_bytes_are_always_the_same(tmp_path, monkeypatch, suffix):
    signature = make_signature(
        [0.5, math.nan, 0.2], name="$x_{$ <script>\n\x00", activations=("_hidden", "$", r"$\frac")
    )
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    plot_signature(signature, first)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # matplotlib's clock, where it writes the time
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.prop_cycle": mpl.cycler(color="r")}):
        plot_signature(signature, second)
    assert first.read_bytes() == second.read_bytes()
    legend = [text.get_text() for text in plot_signature(signature).legends[0].get_texts()]
    assert [label.strip() for label in legend] == ["_hidden", r"$\frac", "undefined"]


def test_a_figure_leaves_nothing_behind():
    code = """
import sys, matplotlib as mpl
from hf_affscore.signature import Record, Signature
from hf_affscore.plots import plot_signature
before = {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}  # reading it loads pyplot
row = Record(index=0, module="act", activation="ReLU", call=0, affinity_score=0.5)
plot_signature(Signature(rows=(row,), skipped=(), metadata={}))
assert {name: mpl.rcParams[name] for name in before} == before
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_what_cannot_be_written_is_said(tmp_path):
    signature = make_signature([0.5])
    with pytest.raises(InputError, match=r"ends in '\.gif'; expected \.png, \.svg, \.pdf"):
        plot_signature(signature, tmp_path / "a.gif")
    with pytest.raises(InputError, match="ends in 'no suffix'"):
        plot_signature(signature, tmp_path / "a")
    with pytest.raises(InputError, match=r"could not be written to .*Choose a folder that exists"):
        plot_signature(signature, tmp_path / "missing" / "a.png")
