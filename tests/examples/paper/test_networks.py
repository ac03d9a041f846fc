"""Experiments on trained networks at a reduced size, against other ways to the same numbers."""

import numpy as np
import pytest
from datasets import load_dataset

import hf_affscore as ha
from examples.paper import companions, inputs, residual, robustness, through_time, trained_or_random
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from tests.examples.paper.test_functions import quick


def demo(num_samples, **options):
    """The embedded network on a draw of the embedded digits, without what the examples share."""
    drawn = np.random.default_rng(0).permutation(512)[:num_samples]
    stored = load_dataset(str(DEMO_DATASET), split="test")["image"]
    images = [stored[int(index)] for index in drawn]
    return ha.analyze(DEMO_MODEL, images, num_samples=num_samples, shuffle=False, cache=False, **options)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return quick(residual, tmp_path_factory.mktemp("residual"))


def test_shortcuts_separate_the_two_relus_of_a_block(blocks):
    assert blocks["residual"]["mean_second"] - blocks["residual"]["mean_first"] > 0.1
    assert abs(blocks["plain"]["mean_second"] - blocks["plain"]["mean_first"]) < 0.05
    assert blocks["residual"]["ashman"] > 1.5 > 0.8 > blocks["plain"]["ashman"]
    assert blocks["residual"]["second_higher"] == 9 > blocks["plain"]["second_higher"]
    assert blocks["residual"]["overlap"] < 0.2 < 0.3 < blocks["plain"]["overlap"]


def test_both_networks_have_learned_and_have_nine_blocks(blocks):
    for kind in residual.KINDS:
        (network,) = blocks[kind]["networks"]
        assert network["accuracy"] > 0.5
        assert len(network["first"]) == len(network["second"]) == 9


def test_two_modes_are_found_where_they_are():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0.5, 0.03, 40), rng.normal(0.9, 0.03, 40)
    apart = residual.separation(low, high)
    assert apart["two_modes"]
    assert apart["overlap"] == 0
    assert apart["ashman"] == pytest.approx(0.4 / 0.03, rel=0.2)
    alike = residual.separation(low[::2], low[1::2])
    assert not alike["two_modes"]
    assert alike["overlap"] > 0.35
    wide = residual.separation(rng.normal(0.6, 0.1, 40), rng.normal(0.75, 0.1, 40))
    assert not wide["two_modes"]


@pytest.mark.slow
def test_robustness(tmp_path):
    networks = quick(robustness, tmp_path)["networks"]
    assert networks["digits-resnet"]["sizes"]["32"] == pytest.approx(demo(32).scores, abs=1e-5)
    pooled = demo(16, pooling="positions").scores
    assert networks["digits-resnet"]["poolings"]["positions"] == pytest.approx(pooled, abs=1e-5)
    for varied in networks.values():
        few, more = (np.mean(varied["sizes"][size]) for size in ("16", "32"))
        assert few > more  # the score falls with the number of samples
        first, second = varied["seeds"].values()
        assert first != second
        assert np.corrcoef(first, second)[0, 1] > 0.8
        poolings = varied["poolings"]
        assert poolings["paper"] == poolings["channels"]  # in a CNN they are the same
        assert poolings["paper"] != poolings["positions"]
    assert "none" in networks["digits-resnet"]["poolings"]


@pytest.mark.slow
def test_companions(tmp_path):
    values = quick(companions, tmp_path)
    signature = demo(160)
    for statistic in ("cka", "r2", "norm", "entropy_post"):
        column = [row[statistic] for row in signature.rows]
        expected = np.corrcoef(signature.scores, column)[0, 1]
        assert values["correlations"]["digits-resnet"][statistic] == pytest.approx(expected, abs=1e-3)
    assert list(values["correlations"]) == ["digits-resnet", "efficientnet-lite0", "vit-4", "mixer-8"]
    for statistic, summary in values["summary"].items():
        each = [network[statistic] for network in values["correlations"].values()]
        assert summary["mean"] == pytest.approx(np.mean(each), abs=1e-5)
        assert summary["std"] == pytest.approx(np.std(each), abs=1e-5)
    assert {companions.published(statistic) for statistic in values["summary"]} == set(
        companions.PAPER.values()
    )


@pytest.mark.slow
def test_trained_or_random(tmp_path):
    networks = quick(trained_or_random, tmp_path)["networks"]
    digits = networks["digits-resnet"]
    assert digits["paper"]["trained"] == pytest.approx(demo(24).scores, abs=1e-5)
    relative = demo(24, random_weights=True, regularization="relative", seed=0).scores
    assert digits["relative"]["random"][0] == pytest.approx(relative, abs=1e-5)
    deep = {ridge: np.array(of["random"][0]) for ridge, of in networks["efficientnet-lite0"].items()}
    # Drawn as timm draws them, its activations keep their variance: neither ridge makes the outputs constant.
    assert all(np.median(scores) < 1 - 1e-3 for scores in deep.values())


@pytest.mark.slow
def test_inputs(tmp_path):
    networks = quick(inputs, tmp_path)["networks"]
    assert networks["digits-resnet"]["digits"] == pytest.approx(demo(24).scores, abs=1e-5)
    noise = ha.analyze(DEMO_MODEL, "noise", num_samples=24, shuffle=False, cache=False)
    assert networks["digits-resnet"]["noise"] == pytest.approx(noise.scores, abs=1e-5)
    for scores in networks.values():
        assert len({tuple(each) for each in scores.values()}) == len(inputs.INPUTS)


@pytest.mark.slow
def test_through_time(tmp_path):
    values = quick(through_time, tmp_path)
    assert [network["network"] for network in values["networks"]] == ["digits-resnet", "efficientnet-lite0"]
    assert [network["activations"] for network in values["networks"]] == [19, 33]
    assert [network["year"] for network in values["networks"]] == [2015, 2020]
    (zero, distance), (same, _) = values["distances"]
    assert zero == 0 < distance == same
