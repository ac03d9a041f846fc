"""Checkpoints of other tasks than classification run through analyze: detection, masks, depth, CLIP and others."""

from pathlib import Path

import numpy as np
import pytest
import transformers as hf
from PIL import Image

import hf_affscore as ha
from hf_affscore.errors import ModelError
from tests.models.networks import (
    SIZE,
    TEXT,
    clip,
    detr,
    dpt,
    mask2former,
    masked_images,
    segformer,
    siglip,
    yolos,
)

#: Per task: the part that runs, and activations that must be among those scored.
TASKS = {
    detr: ("forward", {"ReLU", "relu"}),
    yolos: ("forward", {"GELUActivation", "relu"}),
    segformer: ("forward", {"GELUActivation", "ReLU"}),
    mask2former: ("forward", {"GELUActivation", "relu", "ReLU"}),
    dpt: ("forward", {"GELUActivation", "ReLU"}),
    clip: ("get_image_features", {"QuickGELUActivation"}),
    siglip: ("get_image_features", {"GELUTanh"}),
    masked_images: ("forward", {"GELUActivation"}),
}


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_checkpoint_of_another_task(task, images: list[Image.Image], tmp_path: Path) -> None:
    model, processor = task()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    signature = ha.analyze(tmp_path, images, num_samples=6, batch_size=4, progress=False)
    runs, activations = TASKS[task]
    assert signature.metadata["model"]["runs"] == runs
    assert activations <= {row.activation for row in signature.rows}
    assert np.isfinite(signature.scores).all()
    inspected = ha.inspect(tmp_path)
    assert [row.dim for row in inspected.rows] == [row.dim for row in signature.rows]


def test_a_text_model_says_what_it_needs(images: list[Image.Image], tmp_path: Path) -> None:
    config = hf.BertConfig(**TEXT)
    hf.BertModel(config).save_pretrained(tmp_path)
    hf.ViTImageProcessor(size=SIZE).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="BertModel cannot run on images alone: it needs input_ids"):
        ha.analyze(tmp_path, images, num_samples=6, progress=False)
