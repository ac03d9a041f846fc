import math
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import fontManager

from hf_affscore.errors import InputError
from hf_affscore.plots import plot_signature
from hf_affscore.plots.style import BEGINNINGS
from hf_affscore.plots.text import FONT, fonts, text_width
from hf_affscore.signature import Record, Signature
from tests.pictures import golden_difference, reaches_the_edge
from tests.signatures import make_signature
from tests.versions import needs


def scores(count, low=0.4):
    return np.random.default_rng(count).uniform(low, 0.97, size=count)


def network(count, *, stages=4, parts=("conv1.act", "conv2.act"), name="organisation/network"):
    """A signature of residual stages, with a stem, intervals, and its last tenth without evidence."""
    paths = ["backbone.stem.act"]
    per_stage = -(-(count - 1) // (stages * len(parts)))
    paths += [
        f"backbone.stages.{s}.{b}.{part}" for s in range(stages) for b in range(per_stage) for part in parts
    ]
    rows = [
        Record(
            index=i,
            module=path,
            activation="ReLU",
            call=0,
            dim=64,
            affinity_score=score,
            affinity_score_low=score - 0.02,
            affinity_score_high=score + 0.02,
            evidence="few_samples" if i > 0.9 * count else "ok",
        )
        for i, (path, score) in enumerate(zip(paths, scores(count), strict=False))
    ]
    metadata = {"model": {"id": name}, "dataset": {"id": "cifar10", "split": "test", "num_samples": 2048}}
    return Signature(tuple(rows), (), metadata)


def texts(figure):
    return [text.get_text() for text in figure.texts]


def points(figure):
    """All lines of points in the axes: marker, colour, fill, and score by index."""
    lines = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", None)]
    return [
        (line.get_marker(), line.get_color(), line.get_markerfacecolor(), dict(line.get_xydata().tolist()))
        for line in lines
    ]


def overlapping(figure):
    """Pairs of texts of the figure that cover one another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes = figure.axes[0]
    found = [*figure.texts, *axes.texts, axes.xaxis.label, axes.yaxis.label]
    found += [tick for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()) if tick.get_text()]
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in found]
    return [
        (one, two)
        for i, (one, first) in enumerate(boxes)
        for two, second in boxes[:i]
        if first.padded(-1).overlaps(second.padded(-1))
    ]


def test_every_defined_score_is_a_point_at_its_index_and_every_other_a_cross():
    figure = plot_signature(make_signature([0.5, math.nan, 0.25, 1.0]))
    drawn = {at: y for marker, _, _, values in points(figure) if marker != "x" for at, y in values.items()}
    assert drawn == {0: 0.5, 2: 0.25, 3: 1.0}
    (crosses,) = (values for marker, _, _, values in points(figure) if marker == "x")
    assert list(crosses) == [1]
    assert "undefined" in texts(figure)


def test_kinds_of_activation_differ_in_colour_and_in_marker_and_no_line_joins_them():
    kinds = [f"Kind{i}" for i in range(20)]
    figure = plot_signature(make_signature(scores(20), activations=kinds))
    looks = [(marker, colour) for marker, colour, _, _ in points(figure)]
    assert len(set(looks)) == 20
    assert set(kinds) <= set(texts(figure))
    joined = [
        line for line in figure.axes[0].lines if line.get_linestyle() != "None" and len(line.get_xdata()) > 2
    ]
    assert not joined


def test_places_in_a_repeated_block_are_told_apart():
    figure = plot_signature(network(17))
    of = {tuple(values): marker for marker, _, fill, values in points(figure) if fill != "white"}
    assert of == {tuple(range(1, 16, 2)): "o", tuple(range(2, 15, 2)): "s", (0,): "^"}
    assert {"ReLU, conv1.act", "ReLU, conv2.act", "ReLU elsewhere"} <= set(texts(figure))


@pytest.mark.parametrize("count", [0, 1, 5, 30, 300])
def test_no_text_is_clipped_or_covered(count):
    long = ["A" * 60, "mish"]
    figure = plot_signature(make_signature(scores(count), name="o/" + "n" * 94, activations=long))
    assert not reaches_the_edge(figure)
    assert not overlapping(figure)


@pytest.mark.parametrize("parts", [("a" * 40 + "." + "b" * 90,), ("x.y", "z")])
@pytest.mark.parametrize("count", [5, 33, 100, 300])
def test_no_name_of_a_module_is_clipped_or_covered(count, parts):
    figure = plot_signature(network(count, parts=parts, stages=12 if count > 100 else 3))
    assert not reaches_the_edge(figure)
    assert not overlapping(figure)


def test_a_covered_and_a_clipped_text_would_be_found():
    figure = plot_signature(make_signature(scores(3)))
    figure.text(0.15, 0.1, "W" * 300)
    assert reaches_the_edge(figure)
    assert overlapping(figure)


def test_the_lowest_and_highest_are_named_without_the_common_beginning():
    signature = network(33)
    figure = plot_signature(signature)
    evidence = [i for i, row in enumerate(signature.rows) if row.evidence == "ok"]
    order = sorted(evidence, key=lambda i: signature.rows[i].affinity_score)
    for place in (*order[:3], *order[-3:]):
        row = signature.rows[place]
        shown = texts(figure)
        assert row.module.removeprefix("backbone.") in shown
        assert f"{row.affinity_score:.4f}" in shown
        assert str(place) in [text.get_text() for text in figure.axes[0].texts]
    assert "module names without their common beginning backbone." in texts(figure)


def test_long_names_are_ends_of_names_that_can_be_searched():
    signature = network(
        33, parts=("convolution_of_three_by_three.activation", "shortcut.normalisation.activation")
    )
    found = [text for text in texts(plot_signature(signature)) if text.startswith("…")]
    assert found
    modules = [row.module for row in signature.rows]
    assert all(any(module.endswith(f".{text[1:]}") for module in modules) for text in found)


def test_stages_are_bands_with_their_names():
    figure = plot_signature(network(33))
    bands = [
        (patch.get_x() + 0.5, patch.get_x() + patch.get_width() - 0.5) for patch in figure.axes[0].patches
    ]
    assert bands == [(0, 0), (9, 16), (25, 32)]  # every other one of five
    assert {"stages", "0", "1", "2", "3"} <= set(texts(figure))


def test_the_axis_begins_below_every_score_and_end_of_interval_and_says_so():
    for low, begin in (
        (0.1, 0),
        (0.3, 0.25),
        (0.6, 0.5),
        (0.78, 0.75),
        (0.92, 0.9),
        (0.9951, 0.99),
        (0.5, 0.25),
    ):
        axes = plot_signature(make_signature([low, 0.999])).axes[0]
        assert axes.get_yticks()[0] == begin
        assert (f"begins at {begin:g}" in axes.get_ylabel()) == (begin > 0)
        assert begin in BEGINNINGS
        assert [label.get_text() for label in axes.get_yticklabels()][-1] == "1 = affine"
    low = {"affinity_score_low": [0.4, None], "affinity_score_high": [0.7, None]}
    assert plot_signature(make_signature([0.6, 0.999], **low)).axes[0].get_yticks()[0] == 0.25


def test_intervals_are_drawn_where_rows_have_them():
    ends = {"affinity_score_low": [0.4, None, math.nan], "affinity_score_high": [0.7, None, math.nan]}
    figure = plot_signature(make_signature([0.5, 0.6, 0.7], **ends))
    (bars,) = figure.axes[0].collections
    assert [bar.tolist() for bar in bars.get_segments()] == [[[0, 0.4], [0, 0.7]]]
    assert "95 % interval" in texts(figure)
    without = plot_signature(make_signature([0.5]))
    assert not without.axes[0].collections
    assert "95 % interval" not in texts(without)


def test_what_is_no_evidence_is_hollow_and_the_caption_is_the_verdict():
    words = ["ok", "few_samples", "ok", "constant_output"]
    signature = make_signature([0.5, 0.9, 0.6, 1], activations=("ReLU",), evidence=words)
    figure = plot_signature(signature)
    assert {fill == "white": list(values) for _, _, fill, values in points(figure)} == {
        False: [0, 2],
        True: [1, 3],
    }
    assert "hollow: no evidence" in texts(figure)
    assert " ".join(signature.verdict) in " ".join(texts(figure))


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
    assert {"_hidden", r"$\frac", "undefined"} <= set(texts(plot_signature(signature)))


@pytest.mark.filterwarnings("error")
def test_scripts_need_a_font_that_has_them_and_no_warning(tmp_path):
    paths = [f"сеть.{i}.طبقة.层" for i in range(8)]
    rows = tuple(Record(module=path, activation="激活", call=0, affinity_score=0.5) for path in paths)
    figure = plot_signature(Signature(rows, (), {"model": {"id": "用户/نموذج"}}), tmp_path / "a.png")
    covered = any("CJK" in font.name or "WenQuanYi" in font.name for font in fontManager.ttflist)
    shown = " ".join(texts(figure))
    assert "طبقة" in shown  # DejaVu, which matplotlib brings along, has Arabic and Cyrillic
    assert ("层" in shown) or not covered
    assert ("\N{REPLACEMENT CHARACTER}" in shown) or "层" in shown


@pytest.mark.filterwarnings("error")  # matplotlib warns of a character that the font lacks
def test_what_the_usual_font_lacks_is_drawn_and_measured_in_another(tmp_path):
    letter = "\N{SCRIPT SMALL G}"  # only in STIX of the fonts that matplotlib brings along
    row = Record(module=f"a.{letter}", activation="ReLU", call=0, affinity_score=0.5)
    figure = plot_signature(Signature((row,), (), {"model": {"id": f"net {letter}"}}), tmp_path / "a.png")
    assert any(letter in text for text in texts(figure))
    assert fonts([letter])[0] == FONT
    assert len(fonts([letter])) == 2
    assert text_width(letter, 10) > 0


def test_a_figure_leaves_nothing_behind():
    code = """
import sys, matplotlib as mpl
from hf_affscore.signature import Record, Signature
from hf_affscore.plots import plot_signature
from hf_affscore.plots.style import BEGINNINGS
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


@needs("matplotlib", "3.11", "the stored pictures are of its text")
@pytest.mark.parametrize("count", [5, 33, 100, 300])
def test_pictures_look_as_they_did(count):
    assert golden_difference(plot_signature(network(count)), f"signature-{count}") < 4
