import io

import numpy as np
import pytest

from hf_affscore.comparison import compare
from hf_affscore.errors import AffscoreWarning, InputError
from hf_affscore.plots import (
    plot_correlations,
    plot_distances,
    plot_distributions,
    plot_signatures,
    plot_timeline,
)
from hf_affscore.plots.style import COLOURS
from tests.pictures import golden_difference, reaches_the_edge
from tests.signatures import make_signature
from tests.versions import needs

PICTURES = {
    "correlations": plot_correlations,
    "distances": plot_distances,
    "distributions": plot_distributions,
    "signatures": plot_signatures,
    "timeline": plot_timeline,
}


def networks(count, name="organisation/network-of-some-size-#"):
    random = np.random.default_rng(0)
    signatures = []
    for i in range(count):
        scores = np.clip(random.normal(0.3 + 0.4 * (i % 2), 0.1, 12 + i % 5), 0, 1)
        noise = random.normal(0, 0.1, len(scores))
        columns = {
            "cka": (scores + noise).tolist(),
            "norm": (-scores).tolist(),
            "sparsity_pre": [0.0] * len(scores),
        }
        signatures.append(make_signature(scores, name=name.replace("#", str(i)), **columns))
    return signatures


def comparison(count, **options):
    signatures = networks(count, **options)
    published = {
        one.name: {"year": 2020 - i % 9, "accuracy": 0.6 + i / 200} for i, one in enumerate(signatures)
    }
    return compare(signatures, published=published)


@pytest.mark.parametrize("count", [1, 3, 60])
@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_no_label_is_clipped(draw, count):
    figure = draw(comparison(count, name="organisation/" + "n" * 90 + "#"))
    figure.dpi = 50  # proportions are the same, and it is faster
    assert not reaches_the_edge(figure)


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_names_are_text(draw):
    figure = draw(compare(networks(2, name="$x_{ # $ \\frac")))
    figure.savefig(io.BytesIO())


def test_the_heat_map_stands_in_leaf_order_under_its_dendrogram():
    compared = comparison(5)
    tree, heat, _ = plot_distances(compared).axes
    order = compared.leaf_order
    np.testing.assert_array_equal(heat.images[0].get_array(), compared.distances[np.ix_(order, order)])
    assert [label.get_text() for label in heat.get_yticklabels()] == [compared.names[i] for i in order]
    heights = sorted(line.get_ydata().max() for line in tree.lines)
    np.testing.assert_allclose(heights, sorted(compared.linkage[:, 2]))


def test_time_runs_by_year_and_accuracy_stands_beside_the_scores():
    compared = comparison(4)
    scores, accuracy = plot_timeline(compared).axes
    table = compared.networks.sort_values("year", kind="stable")
    assert [label.get_text() for label in scores.get_yticklabels()] == [
        f"{name} ({year})" for name, year in zip(table.index, table["year"], strict=True)
    ]
    assert [line.get_xydata().tolist() for line in scores.lines] == [
        [[median, place]] for place, median in enumerate(table["median"])
    ]
    assert [line.get_xdata()[0] for line in accuracy.lines] == table["accuracy"].tolist()
    assert scores.yaxis_inverted()  # the oldest at the top
    assert len(plot_timeline(compare(networks(4))).axes) == 1


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_every_picture_has_a_title(draw):
    assert draw(comparison(3)).get_suptitle()


def test_every_score_is_drawn_by_depth_and_hollow_where_it_is_no_evidence():
    words = ["ok", "few_samples", "ok"]
    two = compare(
        [make_signature([0.5, 0.6, 0.7], evidence=words, name="a"), make_signature([0.3, 0.2], name="b")]
    )
    (axes,) = plot_signatures(two).axes
    drawn = {
        (line.get_color(), line.get_markerfacecolor() == "white"): line.get_xydata().tolist()
        for line in axes.lines
        if len(line.get_xdata())
    }
    assert drawn == {
        (COLOURS[0], False): [[0, 0.5], [1, 0.7]],
        (COLOURS[0], True): [[0.5, 0.6]],
        (COLOURS[1], False): [[0, 0.3], [1, 0.2]],
    }
    three = plot_signatures(comparison(3))
    assert len(three.axes) == 3
    assert {axes.get_ylim() for axes in three.axes} == {three.axes[0].get_ylim()}


def heights(axes):
    return [patch.get_height() for patch in axes.patches]


def test_distributions_count_scores_on_one_range_and_end_at_one():
    words = ["ok"] * 11 + ["few_samples"]
    compared = compare(
        [make_signature(np.linspace(0.01, 1, 12), evidence=words), make_signature([0.9] * 7, name="b")]
    )
    figure = plot_distributions(compared)
    for network, axes in zip(compared.leaf_order, figure.axes, strict=True):
        solid, hollow = heights(axes)[:20], heights(axes)[20:]
        assert (sum(solid), sum(hollow)) == [(11, 1), (7, 0)][network]
        assert axes.get_xlim() == figure.axes[0].get_xlim()
        assert len(axes.lines) == (1, 0)[network]  # seven scores are too few for a density
        if axes.lines:
            x, y = axes.lines[0].get_data()
            assert (x.min(), x.max()) == (0, 1)
            width = axes.patches[0].get_width()
            assert np.trapezoid(y, x) / width == pytest.approx(11, rel=0.01)


def test_families_have_colours_and_a_key():
    compared = compare(networks(6), families={"even": "*-[024]", "odd": "*-[135]"})
    assert compared.families == ("even", "odd") * 3
    for draw in (plot_signatures, plot_distributions, plot_timeline, plot_distances):
        figure = draw(compared)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [" even", " odd"]
    colours = [line.get_color() for line in plot_timeline(compared).axes[0].lines]
    assert colours == [COLOURS[0], COLOURS[1]] * 3
    assert not plot_timeline(compare(networks(6))).legends


def test_more_families_than_colours_share_a_grey_one():
    families = {f"family {i}": f"*-{i}" for i in range(9)}
    legend = plot_timeline(compare(networks(9), families=families)).legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [*(f" family {i}" for i in range(7)), " other families"]


def test_pooling_that_mixes_channels_and_tokens_is_said():
    signatures = [
        make_signature([0.5, 0.6], name=name, channel_axis=[axis] * 2)
        for name, axis in (("cnn", 1), ("vit", 2))
    ]
    for signature in signatures:
        signature.metadata["options"] = {"pooling": "paper"}
    with pytest.warns(AffscoreWarning, match="Features are channels in cnn but tokens or image rows in vit"):
        compared = compare(signatures)
    for draw in (plot_signatures, plot_distributions, plot_timeline, plot_distances):
        assert "Features are channels in some networks, tokens" in draw(compared).get_suptitle().replace(
            "\n", " "
        )
    for signature in signatures:
        signature.metadata["options"] = {"pooling": "channels"}
    assert compare(signatures).mixed_pooling is None


def test_marks_pooling_and_images_are_said():
    words = ["ok"] * 9 + ["few_samples"]
    doubtful = make_signature(np.linspace(0.3, 0.9, 10), evidence=words, name="a")
    doubtful.metadata["options"] = {"pooling": "channels"}
    compared = compare(
        [doubtful, *(make_signature([0.5, 0.6], name=name) for name in "bc")], allow_differences=True
    )
    for draw, said in (
        (plot_signatures, ["Hollow: no evidence.", "Pale grey dots: the scores of all other networks."]),
        (
            plot_distributions,
            ["Outlined: no evidence.", "Curve: kernel density of the scores that are evidence"],
        ),
    ):
        found = draw(compared).get_suptitle().replace("\n", " ")
        for text in ("On 64 images of cifar10, test, pooling 'channels'.", *said):
            assert text in found
        alone = draw(compare([make_signature([0.5, 0.6])])).get_suptitle()
        assert not any(text in alone for text in said)


def test_a_correlation_of_few_scores_has_a_star():
    few = make_signature([0.5, 0.6, 0.7], cka=[0.1, 0.3, 0.2], name="few")
    figure = plot_correlations(compare([few, *networks(1)]))
    _, heat, _ = figure.axes
    names = [label.get_text() for label in heat.get_yticklabels()]
    assert any(name.startswith("few (3)") for name in names)
    assert sum(text.get_text().endswith("*") for text in heat.texts) == 1
    assert "* is a correlation of fewer than 8" in figure.get_suptitle().replace("\n", " ")


def test_correlations_show_every_network_and_their_mean():
    compared = comparison(4)
    top, heat, _ = plot_correlations(compared).axes
    shown = heat.images[0].get_array()
    np.testing.assert_allclose(np.ma.filled(shown, np.nan), compared.correlations.iloc[compared.leaf_order])
    assert shown.mask[:, 2].all()  # a constant has no correlation
    np.testing.assert_allclose(top.lines[1].get_ydata().astype(float), compared.correlation_summary()["mean"])


def test_correlations_need_something_to_correlate_with():
    with pytest.raises(InputError, match="No signature has a statistic besides the score"):
        plot_correlations(compare([make_signature([0.5])]))


@needs("matplotlib", "3.11", "the stored pictures are of its text")
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_look_as_they_did(name):
    assert golden_difference(PICTURES[name](comparison(4)), name) < 4
