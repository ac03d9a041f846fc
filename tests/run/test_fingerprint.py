"""What a signature keeps so that it can be compared in pairs: which images, and the effects of their groups."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import hf_affscore as ha
from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
from hf_affscore.images.identity import fingerprint
from hf_affscore.summary import EFFECTS

USUAL = {"num_samples": 40, "exclude": ["*stages.[12]*"], "cache": False, "progress": False}


@pytest.fixture(scope="module", name="first")
def _first():
    return ha.analyze(DEMO_MODEL, DEMO_DATASET, **USUAL)


def pictures(count):
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8)) for _ in range(count)]


def seen(**options):
    return ha.analyze(DEMO_MODEL, **{"dataset": DEMO_DATASET, **USUAL, **options}).metadata["dataset"][
        "fingerprint"
    ]


def test_the_same_images_in_the_same_order_have_one_fingerprint_wherever_they_lie(first, tmp_path):
    mine = first.metadata["dataset"]["fingerprint"]
    folder = shutil.copytree(DEMO_DATASET, tmp_path / "elsewhere")
    assert seen(dataset=folder, batch_size=7, random_weights=True) == mine


def test_other_images_or_another_order_have_another(first, tmp_path):
    mine = first.metadata["dataset"]["fingerprint"]
    assert seen(seed=1) != mine
    assert seen(num_samples=39) != mine
    images = pictures(40)
    ordered = seen(dataset=images, shuffle=False)
    assert ordered == seen(dataset=list(images), shuffle=False)
    assert ordered != seen(dataset=images[::-1], shuffle=False)


def test_a_damaged_image_is_no_part_of_it(tmp_path):
    for place, name in (("whole", None), ("damaged", "05.png")):
        (tmp_path / place).mkdir()
        for number, image in enumerate(pictures(12)):
            image.save(tmp_path / place / f"{number:02}.png")
        if name:
            (tmp_path / place / name).write_bytes(b"broken")
    options = {"num_samples": 11, "shuffle": False}
    with pytest.warns(ha.errors.AffscoreWarning, match="could not be decoded"):
        damaged = seen(dataset=tmp_path / "damaged", **options)
    assert damaged != seen(dataset=tmp_path / "whole", **options)


def test_groups_of_images_have_one_fingerprint_together():
    options = {"num_samples": "all", "group_size": 20, "max_images": 40}
    assert seen(**options) == seen(**options) != seen(**{**options, "max_images": 60})


@pytest.mark.parametrize(
    "image", [Image.new("RGB", (300, 20), "red"), torch.rand(3, 5, 4), torch.rand(1, 1, 1)]
)
def test_pictures_and_tensors_have_fingerprints(image):
    changed = image + 0.25 if isinstance(image, torch.Tensor) else Image.new("RGB", (300, 20), "blue")
    assert len(fingerprint(image)) == 16
    assert fingerprint(image) == fingerprint(image) != fingerprint(changed)


def test_effects_come_back_from_files_and_stay_out_of_data_frames(first, tmp_path):
    loaded = ha.Signature.from_pretrained(first.save_pretrained(tmp_path))
    assert loaded == first
    assert all(len(row[EFFECTS]) == 40 for row in loaded.rows)
    assert EFFECTS not in first.to_dataframe()
    table = (tmp_path / "signature.parquet").stat().st_size
    assert table < 200_000


def test_the_errors_of_two_networks_on_the_same_images_go_together(first):
    """The same network in another number format errs almost the same way."""
    other = ha.analyze(DEMO_MODEL, DEMO_DATASET, **USUAL, dtype="bfloat16")
    for one, two in zip(first.rows, other.rows, strict=True):
        assert np.corrcoef(one[EFFECTS], two[EFFECTS])[0, 1] > 0.9
