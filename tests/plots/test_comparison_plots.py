import io
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from hf_affscore.comparison import compare
from hf_affscore.errors import InputError
from hf_affscore.plots import (
    plot_correlations,
    plot_distances,
    plot_distributions,
    plot_signature,
    plot_timeline,
)
from hf_affscore.plots.style import style
from tests.pictures import reaches_the_edge
from tests.signatures import make_signature

GOLDEN = Path(__file__).parent / "golden"
PICTURES = {
    "correlations": plot_correlations,
    "distances": plot_distances,
    "distributions": plot_distributions,
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


def test_time_runs_by_year_and_accuracy_has_its_own_axis():
    compared = comparison(4)
    scores, accuracy = plot_timeline(compared).axes
    table = compared.networks.sort_values("year", kind="stable")
    assert [label.get_text() for label in scores.get_xticklabels()] == [
        f"{name} ({year})" for name, year in zip(table.index, table["year"], strict=True)
    ]
    assert scores.lines[0].get_ydata().tolist() == table["median"].tolist()
    assert accuracy.lines[0].get_ydata().tolist() == table["accuracy"].tolist()
    assert len(plot_timeline(compare(networks(4))).axes) == 1


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


def as_array(figure):
    with style():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=60)
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float64)


@pytest.mark.parametrize("name", ["signature", *PICTURES])
def test_pictures_look_as_they_did(name):
    """Compared with a stored picture; text is rasterised a little differently elsewhere, hence a tolerance.

    After a change that is meant, look at the new picture and store it: ``UPDATE_GOLDEN=1 pytest tests/plots``.
    """
    figure = plot_signature(networks(1)[0]) if name == "signature" else PICTURES[name](comparison(4))
    pixels = as_array(figure)
    stored = GOLDEN / f"{name}.png"
    if "UPDATE_GOLDEN" in os.environ:
        Image.fromarray(pixels.astype(np.uint8)).save(stored, optimize=True)
    expected = np.asarray(Image.open(stored).convert("RGB"), dtype=np.float64)
    assert pixels.shape == expected.shape
    assert np.sqrt(np.mean((pixels - expected) ** 2)) < 4, f"of 255; matplotlib {mpl.__version__}"
