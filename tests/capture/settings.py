"""What published checkpoints of transformers set and feed, where a default configuration does not run.

Three tables. Names are those of classes, whole or their beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 2

#: Kernel, stride and padding of PP-OCR's intra-class blocks.
_STRIPES = {"longratio": 7, "midratio": 5, "shortratio": 3}
_INTRACLASS = {
    "reduce_channel": [1, 1, 0],
    "return_channel": [1, 1, 0],
    **{f"vertical_long_to_small_conv_{k}": [[n, 1], [1, 1], [n // 2, 0]] for k, n in _STRIPES.items()},
    **{f"horizontal_small_to_long_conv_{k}": [[1, n], [1, 1], [0, n // 2]] for k, n in _STRIPES.items()},
    **{f"symmetric_conv_long_{k}": [[n, n], [1, 1], [n // 2, n // 2]] for k, n in _STRIPES.items()},
}
_PP_OCR = {
    "intraclass_block_config": _INTRACLASS,
    "scale_factor_list": [1, 2, 4, 8],
    "kernel_list": [3, 2, 2],
}
_SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
}

_REPVIT = {
    "model_type": "timm_wrapper",
    "architecture": "repvit_m1",
    "num_classes": 1000,
    "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
}
#: For detection every stage halves the image; by default, for reading lines of text, its height only.
_PP_LCNET = {
    "model_type": "pp_lcnet_v4",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
    "block_configs": [
        [[3, 96, 96, 1, True]],
        [[3, 96, 96, 2, False], [3, 96, 96, 1, False]],
        [[3, 96, 192, 2, False], *([3, 192, 192, 1, bool(n % 2)] for n in (1, 2, 3, 4, 5, 6))],
        [[3, 192, 384, 2, False], [3, 384, 384, 1, True], [3, 384, 384, 1, False]],
    ],
}

#: On an image without corners every pixel is one, and attention between all of them takes half an hour.
_FEW_KEYPOINTS = {"keypoint_detector_config": {"model_type": "superpoint", "max_keypoints": 64}}

#: What a default configuration leaves out, as published checkpoints set it.
SETTINGS: dict[str, dict[str, Any]] = {
    "AyaVision": {"vision_config": {**_SO400M, "patch_size": 14, "image_size": 364}},
    "BeitForSemanticSegmentation": {"out_indices": [3, 5, 7, 11], "out_features": None},
    "EdgeTamModel": {"vision_config": {"backbone_config": _REPVIT}},
    "EdgeTamVision": {"backbone_config": _REPVIT},
    "Granite4Vision": {
        "vision_config": {**_SO400M, "patch_size": 16, "image_size": 384},
        "deepstack_layer_map": [[-19, 9], [-13, 6], [-7, 3], [-1, 0]],
        "downsample_rate": "4/8",
    },
    "LightGlue": _FEW_KEYPOINTS,
    "SuperGlue": _FEW_KEYPOINTS,
    "LwDetrForObjectDetection": {"projector_scale_factors": [1.0], "num_feature_levels": 1},
    "LwDetrModel": {"projector_scale_factors": [1.0], "num_feature_levels": 1},
    "PerceiverForImageClassificationFourier": {"d_model": 261, "num_cross_attention_heads": 1},
    "PerceiverForImageClassificationConvProcessing": {"d_model": 322, "num_cross_attention_heads": 1},
    "PPDocLayoutV2": {"class_thresholds": [0.5] * 25, "class_order": list(range(25))},
    "PPOCRV5ServerDet": _PP_OCR,
    "PPOCRV6MediumDet": {**_PP_OCR, "backbone_config": _PP_LCNET},
    "PPOCRV6SmallDet": {"backbone_config": _PP_LCNET, "layer_list_out_channels": [96, 96, 192, 384]},
    "Sapiens2ForSemanticSegmentation": {
        "head_config": {"upsample_out_channels": [768] * 4, "conv_out_channels": [64, 64]}
    },
    "Sapiens2ForPoseEstimation": {
        "head_config": {"upsample_out_channels": [768] * 2, "conv_out_channels": [64, 64]}
    },
    "Sapiens2ForImageMatting": {
        "head_config": {"upsample_out_channels": [768] * 4, "conv_out_channels": [64, 64]}
    },
    # The default, 3,584, is the width of the language model. Exaone's copy of it likewise.
    "Qwen2_5_Vision": {"hidden_size": 1280},
    "Exaone4_5_Vision": {"hidden_size": 1280},
    "ShieldGemma2": {"vision_config": {**_SO400M, "patch_size": 14, "image_size": 896}},
    "TimmBackbone": {"backbone": "resnet18"},
    "TimmWrapperModel": {"architecture": "resnet18"},
    "TimmWrapperForImageClassification": {"architecture": "resnet18"},
    "VitMatte": {
        "backbone_config": {
            "model_type": "vitdet",
            "hidden_size": 384,
            "num_attention_heads": 6,
            "num_channels": 4,
            "image_size": 512,
            "window_size": 14,
            "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10],
            "residual_block_indices": [2, 5, 8, 11],
            "use_relative_position_embeddings": True,
            "out_features": ["stage12"],
        }
    },
}

#: Image sizes where the configuration does not name one, or names one that does not fit.
SIZES = {
    "DepthPro": 1536,
    "EdgeTam": 1024,
    "LwDetrForObjectDetection": 640,
    "LwDetrModel": 640,
    "RfDetr": 560,
}

Inputs = Callable[[nn.Module, str], dict[str, Tensor]]


def _siglip2(_: nn.Module, device: str) -> dict[str, Tensor]:
    """Patches, as its processor cuts them."""
    return {
        "pixel_values": torch.zeros(BATCH, 256, 768, device=device),
        "pixel_attention_mask": torch.ones(BATCH, 256, dtype=torch.int64, device=device),
        "spatial_shapes": torch.tensor([[16, 16]] * BATCH),
    }


def _pair(_: nn.Module, device: str) -> dict[str, Tensor]:
    return {"pixel_values": torch.zeros(BATCH, 2, 3, 160, 160, device=device)}


def _tokens(_: nn.Module, device: str) -> dict[str, Tensor]:
    """ImageGPT's colour clusters, one for each pixel."""
    return {"input_ids": torch.zeros(BATCH, 1024, dtype=torch.int64, device=device)}


def _perceiver(model: Any, device: str) -> dict[str, Tensor]:
    return {"inputs": torch.zeros(BATCH, 2048, model.config.d_model, device=device)}


def _video(model: Any, device: str) -> dict[str, Tensor]:
    size, frames = model.config.image_size, getattr(model.config, "num_frames", 4)
    return {"pixel_values_videos": torch.zeros(BATCH, frames, 3, size, size, device=device)}


def _video_and_text(model: Any, device: str) -> dict[str, Tensor]:
    config = model.config.vision_config
    frames = torch.zeros(BATCH, config.num_frames, 3, config.image_size, config.image_size, device=device)
    return {
        "pixel_values_videos": frames,
        "input_ids": torch.ones(BATCH, 8, dtype=torch.int64, device=device),
    }


def _placed(model: Any, device: str) -> dict[str, Tensor]:
    """Patches, and the column and row of each."""
    side = 2 * model.config.pooling_kernel_size
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).expand(BATCH, -1, -1)
    patches = torch.zeros(BATCH, side * side, 3 * model.config.patch_size**2, device=device)
    return {"pixel_values": patches, "pixel_position_ids": places.to(device)}


def _strip(model: Any, device: str) -> dict[str, Tensor]:
    """The patches of all images as one long image, and the height and width of each in patches."""
    patch = model.config.patch_size
    strip = torch.zeros(1, 3, patch, patch * BATCH * SIDE * SIDE, device=device)
    return {"pixel_values": strip, "target_sizes": torch.tensor([[SIDE, SIDE]] * BATCH, dtype=torch.int32)}


def _tiles(model: Any, device: str) -> dict[str, Tensor]:
    """Tiles of several patches each, of all images one after the other, and the grid of each image."""
    size = model.config.spatial_merge_size * model.config.patch_size
    tiles = torch.zeros(BATCH * SIDE * SIDE, size, size, 3, device=device)
    return {"pixel_values": tiles, "image_grid_thw": torch.tensor([[1, SIDE, SIDE]] * BATCH)}


#: Patches along each side of an image.
SIDE = 8


def _packed(pixels: str = "pixel_values", *, squares: bool = False, **others: list[int]) -> Inputs:
    """Patches of all images one after the other, and the grid of each image.

    Args:
        pixels: Name of the input that holds the patches.
        squares: Whether a patch is a small image, not a row of numbers.
        others: Further inputs, by name.
    """

    def inputs(model: Any, device: str) -> dict[str, Tensor]:
        config = getattr(model.config, "vision_config", model.config)
        grid = "image_grid_thw" if config is not model.config else "grid_thw"
        frames = getattr(config, "temporal_patch_size", None) or getattr(config, "patch_temporal", None) or 1
        square = (3, config.patch_size, config.patch_size)
        shape = square if squares else (3 * frames * config.patch_size**2,)
        patches = torch.zeros(BATCH * SIDE * SIDE, *shape, device=device)
        further = {name: torch.tensor(values) for name, values in others.items()}
        return {pixels: patches, grid: torch.tensor([[1, SIDE, SIDE]] * BATCH), **further}

    return inputs


#: Inputs beside a batch of square images.
INPUTS: dict[str, Inputs] = {
    "Siglip2": _siglip2,
    "EfficientLoFTR": _pair,
    "LightGlue": _pair,
    "SuperGlue": _pair,
    "ImageGPT": _tokens,
    "PerceiverModel": _perceiver,
    "Gemma4Vision": _placed,
    "VideoPrismClip": _video_and_text,
    "VideoPrismVision": _video,
    "Videomt": _video,
    "CohereCompassVision": _packed("hidden_states"),
    "Cosmos3EdgeVision": _packed(),
    "Exaone4_5_Vision": _packed("hidden_states"),
    "Glm4vVision": _packed("hidden_states"),
    "Glm4vMoeVision": _packed("hidden_states"),
    "Glm5NextVision": _packed("hidden_states"),
    "GlmImageVision": _packed(),
    "GlmOcrVision": _packed("hidden_states"),
    "HYV4VLVision": _packed(),
    "HunYuanVLVision": _packed(),
    "HyperCLOVAXVisionV2Model": _packed(),
    "Inkling2Vision": _tiles,
    "Kimi_K25Vision": _packed(squares=True),
    "Lfm3VlVision": _packed(),
    "MiniCPMOcrVision": _strip,
    "MiniCPMV4_7Vision": _strip,
    "MuseGlimmerVision": _packed(),
    "MuseSparkVision": _packed(),
    "Qwen2_5_Vision": _packed("hidden_states"),
    "Qwen3_5Vision": _packed("hidden_states"),
    "Qwen3_5MoeVision": _packed("hidden_states"),
    "Qwen3VLVision": _packed("hidden_states"),
    "Qwen3VLMoeVision": _packed("hidden_states"),
    "Qwen4ExpVision": _packed("hidden_states"),
    "VideoLlama3Vision": _packed(merge_sizes=[1] * BATCH),
}


#: Why the few that are left do not run here.
CAUSES = {
    "Dinat": "its attention is in the natten library, which PyPI has as source only",
    "HyperCLOVAXVisionV2Model": "its image side needs the values of image_grid_thw, which the meta device does not "
    "have, and the whole model is too large for the CPU; its vision tower, that of Qwen2.5-VL, is above",
    "Sam3VideoModel": "takes a session of inference on a video, no images",
}


def of_class(table: dict[str, Any], name: str) -> Any:
    """The entry for a class: of its whole name, else of the longest beginning; None without one."""
    beginnings = [beginning for beginning in table if name.startswith(beginning)]
    return table[max(beginnings, key=len)] if beginnings else None
