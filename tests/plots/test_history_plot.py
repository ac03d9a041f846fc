import numpy as np
import pytest

from hf_affscore.errors import InputError
from hf_affscore.plots import plot_history
from hf_affscore.training import History
from tests.pictures import reaches_the_edge
from tests.signatures import make_signature
from tests.versions import needs


def history(rows, steps, name="network"):
    random = np.random.default_rng(0)
    found = History()
    for step in steps:
        found.add(step, make_signature(random.uniform(0.2, 1, rows), name=name))
    return found


@pytest.mark.parametrize(
    ("rows", "steps"),
    [
        (1, [0]),
        pytest.param(19, range(0, 200, 10), marks=needs("matplotlib", "3.11", "a label touches the edge")),
        (60, range(0, 90000, 1000)),
    ],
)
def test_no_label_is_clipped(rows, steps):
    figure = plot_history(history(rows, steps, name="organisation/" + "n" * 90))
    figure.dpi = 50
    assert not reaches_the_edge(figure)


def test_shows_every_score_where_it_belongs():
    found = history(4, [0, 10, 30])
    figure = plot_history(found)
    top, heat = figure.axes[:2]
    shown = np.asarray(heat.images[0].get_array())
    np.testing.assert_array_equal(shown, np.array([one.scores for one in found.values()]).T)
    medians = [np.median(one.scores) for one in found.values()]
    np.testing.assert_allclose(top.lines[0].get_xydata(), np.column_stack([[0, 10, 30], medians]))
    assert [text.get_text() for text in heat.get_xticklabels()] == ["0", "10", "30"]


def test_the_axis_of_the_median_fits_the_scores():
    found = History()
    for step, low in enumerate((0.70, 0.71)):
        found.add(step, make_signature([low, low + 0.02, low + 0.04]))
    low, high = plot_history(found).axes[0].get_ylim()
    assert 0.69 < low < 0.70
    assert 0.75 < high < 0.76


def test_an_activation_that_did_not_run_at_a_step_is_left_grey():
    found = History()
    found.add(0, make_signature([0.5, 0.6]))
    found.add(1, make_signature([0.5]))
    shown = np.ma.filled(plot_history(found).axes[1].images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, [[0.5, 0.5], [0.6, np.nan]])


def test_an_empty_history_is_refused():
    with pytest.raises(InputError, match="history is empty"):
        plot_history(History())


def test_the_same_history_gives_the_same_bytes(tmp_path):
    for name in ("one.svg", "two.svg"):
        history(5, [0, 1, 2]).plot(tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
