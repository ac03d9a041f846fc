"""What is usual: the stored scores, the script that makes them, and the band behind a signature."""

import json

import numpy as np
import pytest

from examples.reference import FILE, IMAGES, NETWORKS, document
from hf_affscore import reference as module
from hf_affscore.errors import InputError
from hf_affscore.plots import plot_signature
from hf_affscore.reference import DEPTHS, quantiles, read_reference, stored_reference, unlike
from hf_affscore.signature import NUMBERS_VERSION, Signature
from tests.plots.test_signature_plot import overlapping, texts
from tests.signatures import make_signature

SETTINGS = {"pooling": "paper", "regularization": 1e-6}


def made(scores, **options):
    signature = make_signature(scores, evidence=["ok"] * (len(scores) - 1) + ["few_samples"])
    metadata = {**signature.metadata, "numbers_version": NUMBERS_VERSION, "options": {**SETTINGS, **options}}
    return Signature(signature.rows, (), metadata)


def test_the_stored_file_is_what_the_script_writes():
    stored = json.loads(FILE.read_text())
    written = document({name: made([0.5, 0.61234567, 0.9]) for name in NETWORKS})
    assert {key: type(value) for key, value in stored.items()} == {
        key: type(value) for key, value in written.items()
    }
    assert written["networks"]["MobileNetV2"] == [0.5, 0.6123, None]
    assert list(stored["networks"]) == list(NETWORKS)
    for key in ("format", "numbers_version", "images", *SETTINGS):
        assert stored[key] == written[key]
    assert stored["num_samples"] >= 1024
    assert stored["images"] == IMAGES
    assert FILE.stat().st_size < 10_000
    scores = [score for network in stored["networks"].values() for score in network if score is not None]
    assert len(scores) > 120
    assert all(0 < score < 1 and round(score, 4) == score for score in scores)


def test_signatures_made_in_two_ways_make_no_reference():
    with pytest.raises(ValueError, match="made in one way"):
        document({"a": made([0.5, 0.6]), "b": made([0.5, 0.6], pooling="channels")})


def test_quantiles_are_those_of_the_scores_nearby():
    random = np.random.default_rng(0)
    networks = [random.uniform(size=100).tolist() for _ in range(3)]
    low, middle, high = quantiles(networks, np.array([0.5]))
    near = np.concatenate([network[35:65] for network in networks])  # depths 0.355 to 0.645
    np.testing.assert_allclose([low[0], middle[0], high[0]], np.quantile(near, [0.1, 0.5, 0.9]))


def test_the_band_is_drawn_behind_and_the_picture_says_of_what():
    figure = plot_signature(made([0.5, 0.6, 0.9]), reference=True)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 0].min(), band[:, 0].max()) == (0, 2)
    depth = np.linspace(0, 1, DEPTHS)
    low, _, high = quantiles(stored_reference()["networks"].values(), depth)
    assert (band[:, 1].min(), band[:, 1].max()) == (low.min(), high.max())
    caption = " ".join(texts(figure))
    assert all(name in caption for name in stored_reference()["networks"])
    assert IMAGES in caption
    assert "This signature is of 64 images." in caption
    assert not overlapping(figure)
    assert not plot_signature(made([0.5, 0.6, 0.9])).axes[0].collections


def test_scores_of_other_settings_are_other_quantities():
    with pytest.raises(InputError, match=r"its pooling is 'positions' and that of the reference 'paper'"):
        made([0.5, 0.6], pooling="positions").plot(reference=True)


@pytest.mark.parametrize(
    ("pooling", "axis", "alike"), [("paper", 1, True), ("paper", 2, False), ("channels", 2, True)]
)
def test_features_decide_not_the_name_of_the_pooling(pooling, axis, alike):
    rows = make_signature([0.5, 0.6], channel_axis=[axis] * 2).rows
    signature = Signature(rows, (), made([0.5, 0.6], pooling=pooling).metadata)
    told = ("features are tokens or image rows and those of the reference channels",)
    assert unlike(signature) == (() if alike else told)
    assert "features are channels" in read_reference().caption


def test_an_old_reference_is_not_drawn(monkeypatch):
    stored_reference.cache_clear()
    monkeypatch.setattr(module, "NUMBERS_VERSION", NUMBERS_VERSION + 1)
    with pytest.raises(InputError, match="Make it anew with"):
        made([0.5, 0.6]).plot(reference=True)
