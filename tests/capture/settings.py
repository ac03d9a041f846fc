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
    **{"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16},
}

#: What a default configuration leaves out, as published checkpoints set it. Also within parts: a dict updates.
SETTINGS: dict[str, dict[str, Any]] = {
    "AyaVision": {"vision_config": {**_SO400M, "patch_size": 14, "image_size": 364}},
    "BeitForSemanticSegmentation": {"out_indices": [3, 5, 7, 11], "out_features": None},
    "EdgeTam": {
        "backbone_config": {
            "model_type": "timm_wrapper",
            "architecture": "repvit_m1",
            "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        }
    },
    "Granite4Vision": {
        "vision_config": {**_SO400M, "patch_size": 16, "image_size": 384},
        "deepstack_layer_map": [[-19, 9], [-13, 6], [-7, 3], [-1, 0]],
        "downsample_rate": "4/8",
    },
    "LwDetrForObjectDetection": {"projector_scale_factors": [1.0]},
    "LwDetrModel": {"projector_scale_factors": [1.0]},
    "PerceiverForImageClassificationFourier": {"d_model": 261, "num_cross_attention_heads": 1},
    "PerceiverForImageClassificationConvProcessing": {"d_model": 322, "num_cross_attention_heads": 1},
    "PPDocLayoutV2": {"class_thresholds": [0.5] * 25, "class_order": list(range(25))},
    "PPOCRV5ServerDet": _PP_OCR,
    "PPOCRV6MediumDet": _PP_OCR,
    "Sapiens2ForSemanticSegmentation": {
        "head_config": {"upsample_out_channels": [768] * 4, "conv_out_channels": [64, 64]}
    },
    "Sapiens2ForPoseEstimation": {
        "head_config": {"upsample_out_channels": [768] * 2, "conv_out_channels": [64, 64]}
    },
    "Sapiens2ForImageMatting": {
        "head_config": {"upsample_out_channels": [768] * 4, "conv_out_channels": [64, 64]}
    },
    "ShieldGemma2": {"vision_config": {**_SO400M, "patch_size": 14, "image_size": 896}},
    "TimmBackbone": {"backbone": "resnet18"},
    "TimmWrapperModel": {"architecture": "resnet18"},
    "TimmWrapperForImageClassification": {"architecture": "resnet18"},
    "VitMatte": {
        "backbone_config": {
            "model_type": "vitdet",
            **{"hidden_size": 384, "num_attention_heads": 6, "num_channels": 4, "image_size": 512},
            **{"window_size": 14, "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10]},
            **{"residual_block_indices": [2, 5, 8, 11], "use_relative_position_embeddings": True},
            "out_features": ["stage12"],
        }
    },
}

#: Image sizes where the configuration does not name one, or names one that does not fit.
SIZES = {"DepthPro": 1536, "EdgeTam": 1024, "RfDetr": 560}

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
    size = model.config.image_size
    return {"pixel_values_videos": torch.zeros(BATCH, 4, 3, size, size, device=device)}


def _packed(*, side: int = 16, form: str = "flat", grid: str = "grid_thw", pixels: str = "pixel_values") -> Inputs:
    """Patches of all images one after the other, and how many of them each image has.

    Args:
        side: Patches along each side of an image.
        form: A patch as a row of numbers (``"flat"``), or as a small image (``"square"``).
        grid: Name of the input that holds the numbers of patches.
        pixels: Name of the input that holds the patches.
    """

    def inputs(model: Any, device: str) -> dict[str, Tensor]:
        config = model.config
        channels = getattr(config, "in_channels", None) or getattr(config, "num_channels", None) or 3
        frames = getattr(config, "temporal_patch_size", None) or getattr(config, "patch_temporal", None) or 1
        shape = (channels, config.patch_size, config.patch_size) if form == "square" else (
            channels * frames * config.patch_size**2,
        )
        patches = torch.zeros(BATCH * side * side, *shape, device=device)
        return {pixels: patches, grid: torch.tensor([[1, side, side]] * BATCH)}

    return inputs


#: Inputs beside a batch of square images.
INPUTS: dict[str, Inputs] = {
    "Siglip2": _siglip2,
    "EfficientLoFTR": _pair,
    "LightGlue": _pair,
    "SuperGlue": _pair,
    "ImageGPT": _tokens,
    "PerceiverModel": _perceiver,
    "VideoPrismVision": _video,
    "Videomt": _video,
    "CohereCompassVision": _packed(pixels="hidden_states"),
    "Cosmos3EdgeVision": _packed(),
    "Exaone4_5_Vision": _packed(pixels="hidden_states"),
    "Glm4vVision": _packed(pixels="hidden_states"),
    "Glm4vMoeVision": _packed(pixels="hidden_states"),
    "Glm5NextVision": _packed(pixels="hidden_states"),
    "GlmImageVision": _packed(),
    "GlmOcrVision": _packed(pixels="hidden_states"),
    "HunYuanVLVision": _packed(),
    "Inkling2Vision": _packed(grid="image_grid_thw"),
    "Kimi_K25Vision": _packed(form="square"),
    "Lfm3VlVision": _packed(),
    "MuseGlimmerVision": _packed(),
    "MuseSparkVision": _packed(),
    "Qwen2_5_Vision": _packed(pixels="hidden_states"),
    "Qwen3_5Vision": _packed(pixels="hidden_states"),
    "Qwen3_5MoeVision": _packed(pixels="hidden_states"),
    "Qwen3VLVision": _packed(pixels="hidden_states"),
    "Qwen3VLMoeVision": _packed(pixels="hidden_states"),
    "Qwen4ExpVision": _packed(pixels="hidden_states"),
}


def of_class(table: dict[str, Any], name: str) -> Any:
    """The entry for a class: of its whole name, else of the longest beginning; None without one."""
    beginnings = [beginning for beginning in table if name.startswith(beginning)]
    return table[max(beginnings, key=len)] if beginnings else None


