"""The embedded checkpoint and images are what their cards say, read by the stock libraries alone."""

import re
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import ModelCard
from sklearn.datasets import load_digits
from transformers import pipeline

import hf_affscore
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The shipped images, streamed as a user would."""
    cache = tmp_path_factory.mktemp("cache")
    return list(load_dataset(str(DEMO_DATASET), split="test", streaming=True, cache_dir=str(cache)))


def test_images_stream_with_labels(digits):
    assert len(digits) == 512
    assert {image.size for image in (row["image"] for row in digits)} == {(8, 8)}
    assert {row["image"].mode for row in digits} == {"L"}
    assert {row["label"] for row in digits} == set(range(10))


def test_images_are_the_last_of_scikit_learn(digits):
    """Exact: none of them was in the training set, which is everything before."""
    stored = np.stack([np.asarray(row["image"], dtype=float) for row in digits])
    np.testing.assert_array_equal(np.round(stored * 16 / 255), load_digits().images[-512:])


def test_accuracy_through_stock_pipeline_is_the_recorded_one(digits):
    classify = pipeline("image-classification", model=str(DEMO_MODEL), device="cpu", top_k=1)
    answers = [answer[0]["label"] for answer in classify([row["image"] for row in digits], batch_size=64)]
    correct = sum(answer == str(row["label"]) for answer, row in zip(answers, digits, strict=True))
    (recorded,) = ModelCard.load(DEMO_MODEL / "README.md").data.eval_results
    assert correct / 512 > 0.95
    # One image in 512 may change sides: resizing and convolutions differ in their last bits between CPUs.
    assert recorded.metric_value == pytest.approx(correct / 512, abs=1.01 / 512)


def test_package_data_is_small_and_safe():
    files = [path for folder in (DEMO_MODEL, DEMO_DATASET) for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "test.parquet",
    }
    assert sum(path.stat().st_size for path in files) < 500_000


def test_cards_name_source_and_licence():
    card = (DEMO_DATASET / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert re.search(r"E\. Alpaydin and C\. Kaynak", card)


def test_folders_belong_to_the_package():
    package = Path(hf_affscore.__file__).resolve().parent
    assert DEMO_MODEL.is_relative_to(package)
    assert DEMO_DATASET.is_relative_to(package)
