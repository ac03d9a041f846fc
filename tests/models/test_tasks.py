"""Checkpoints of other tasks than classification run through analyze: detection, masks, depth, CLIP and others."""

from pathlib import Path

import numpy as np
import pytest
import transformers as hf
from PIL import Image

import hf_affscore as ha
from hf_affscore.errors import ModelError

VISION = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SIZE = {"height": 32, "width": 32}
RESNET = hf.ResNetConfig(
    embedding_size=8,
    hidden_sizes=[8, 8, 8, 8],
    depths=[1, 1, 1, 1],
    layer_type="basic",
    out_features=["stage4"],
)
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 64,
}


def detr() -> tuple[hf.PreTrainedModel, object]:
    layers = {"encoder_layers": 1, "decoder_layers": 1, "num_queries": 5, "d_model": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    widths = {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = hf.DetrConfig(use_timm_backbone=False, backbone_config=RESNET, **layers, **heads, **widths)
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessor(size=SIZE)


def yolos() -> tuple[hf.PreTrainedModel, object]:
    config = hf.YolosConfig(**VISION, image_size=[32, 32], patch_size=8, num_detection_tokens=3)
    return hf.YolosForObjectDetection(config), hf.YolosImageProcessor(size=SIZE)


def segformer() -> tuple[hf.PreTrainedModel, object]:
    config = hf.SegformerConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], decoder_hidden_size=8)
    return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(size=SIZE)


def dpt() -> tuple[hf.PreTrainedModel, object]:
    neck = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "backbone_out_indices": [0, 1, 2, 3]}
    config = hf.DPTConfig(
        **{**VISION, "num_hidden_layers": 4}, image_size=32, patch_size=16, is_hybrid=False, **neck
    )
    return hf.DPTForDepthEstimation(config), hf.DPTImageProcessor(size=SIZE)


def clip() -> tuple[hf.PreTrainedModel, object]:
    vision = {**VISION, "image_size": 32, "patch_size": 8}
    model = hf.CLIPModel(hf.CLIPConfig(text_config=TEXT, vision_config=vision, projection_dim=8))
    return model, hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)


def siglip() -> tuple[hf.PreTrainedModel, object]:
    vision = {**VISION, "image_size": 32, "patch_size": 8}
    model = hf.SiglipModel(hf.SiglipConfig(text_config=TEXT, vision_config=vision))
    return model, hf.SiglipImageProcessor(size=SIZE)


def masked_images() -> tuple[hf.PreTrainedModel, object]:
    config = hf.ViTConfig(**VISION, image_size=32, patch_size=8, encoder_stride=8)
    return hf.ViTForMaskedImageModeling(config), hf.ViTImageProcessor(size=SIZE)


#: Per task: the part that runs, and activations that must be among those scored.
TASKS = {
    detr: ("forward", {"ReLU", "relu"}),
    yolos: ("forward", {"GELUActivation", "relu"}),
    segformer: ("forward", {"GELUActivation", "ReLU"}),
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
    config = hf.BertConfig(**{**TEXT, "hidden_size": 16})
    hf.BertModel(config).save_pretrained(tmp_path)
    hf.ViTImageProcessor(size=SIZE).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="BertModel cannot run on images alone: it needs input_ids"):
        ha.analyze(tmp_path, images, num_samples=6, progress=False)
