"""Small networks of transformers with random weights, and their image processors: one function for each kind."""

from __future__ import annotations

from typing import Any, TypeAlias

import transformers as hf

from tests.versions import is_older


def fast(name: str) -> Any:
    """A class of image processors that use torchvision: transformers 4 has Pillow's under the plain name."""
    return getattr(hf, f"{name}Fast" if is_older("transformers", "5") else name)


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {**TINY, "image_size": 32, "patch_size": 8}
TEXT = {**TINY, "vocab_size": 64, "max_position_embeddings": 64}
LLAMA = hf.LlamaConfig(**TEXT, num_key_value_heads=2)
SIZE = {"height": 32, "width": 32}
FRAMES = 4

Pair: TypeAlias = tuple[hf.PreTrainedModel, Any]

RESNET = hf.ResNetConfig(
    embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, layer_type="basic", out_features=["stage4"]
)
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "window_size": 4}
CROPPING = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
PACKING = hf.Qwen2VLImageProcessor(patch_size=4, min_pixels=256, max_pixels=4096)


def classifier() -> Pair:
    return hf.ViTForImageClassification(hf.ViTConfig(**VISION)), hf.ViTImageProcessor(size=SIZE)


def backbone() -> Pair:
    return hf.ViTModel(hf.ViTConfig(**VISION)), hf.ViTImageProcessor(size=SIZE)


def auto_backbone() -> Pair:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    config = hf.Dinov2Config(**sizes, image_size=32, patch_size=8, out_features=["stage2"])
    return hf.Dinov2Backbone(config), hf.ViTImageProcessor(size=SIZE)


def detr() -> Pair:
    layers = {"encoder_layers": 1, "decoder_layers": 1, "num_queries": 5, "d_model": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    widths = {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    backbone = {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone_config": RESNET}
    config = hf.DetrConfig(**backbone, **layers, **heads, **widths)
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessor(size=SIZE)


def yolos() -> Pair:
    config = hf.YolosConfig(**{**VISION, "image_size": [32, 32]}, num_detection_tokens=3)
    return hf.YolosForObjectDetection(config), hf.YolosImageProcessor(size=SIZE)


def segformer() -> Pair:
    config = hf.SegformerConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], decoder_hidden_size=8, num_attention_heads=[1] * 4
    )
    return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(size=SIZE)


def mask2former() -> Pair:
    stages = {"depths": [1] * 4, "num_heads": [1] * 4, "out_features": [f"stage{n}" for n in (1, 2, 3, 4)]}
    sizes = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "num_attention_heads": 2}
    layers = {"encoder_layers": 1, "decoder_layers": 2, "encoder_feedforward_dim": 16, "dim_feedforward": 16}
    swin = hf.SwinConfig(**SWIN, **stages)
    config = hf.Mask2FormerConfig(backbone_config=swin, num_queries=4, **sizes, **layers)
    return hf.Mask2FormerForUniversalSegmentation(config), hf.Mask2FormerImageProcessor(size=SIZE)


def dpt() -> Pair:
    neck = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "backbone_out_indices": [0, 1, 2, 3]}
    config = hf.DPTConfig(**{**VISION, "num_hidden_layers": 4, "patch_size": 16}, is_hybrid=False, **neck)
    return hf.DPTForDepthEstimation(config), hf.DPTImageProcessor(size=SIZE)


def masked_images() -> Pair:
    config = hf.ViTConfig(**VISION, encoder_stride=8)
    return hf.ViTForMaskedImageModeling(config), hf.ViTImageProcessor(size=SIZE)


def masked_autoencoder() -> Pair:
    """It draws which patches it masks in every forward pass."""
    decoder = {"decoder_num_hidden_layers": 1, "decoder_hidden_size": 16, "decoder_num_attention_heads": 2}
    config = hf.ViTMAEConfig(**VISION, **decoder, decoder_intermediate_size=32)
    return hf.ViTMAEForPreTraining(config), hf.ViTImageProcessor(size=SIZE)


def clip() -> Pair:
    config = hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=8)
    return hf.CLIPModel(config), CROPPING


def siglip() -> Pair:
    config = hf.SiglipConfig(text_config=TEXT, vision_config=VISION)
    return hf.SiglipModel(config), hf.SiglipImageProcessor(size=SIZE)


def blip() -> Pair:
    text = {**TEXT, "encoder_hidden_size": 16}
    config = hf.BlipConfig(vision_config=VISION, text_config=text, projection_dim=8)
    return hf.BlipForConditionalGeneration(config), hf.BlipImageProcessor(size=SIZE)


def trocr() -> Pair:
    sizes = {"vocab_size": 64, "d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2}
    decoder = hf.TrOCRConfig(**sizes, decoder_ffn_dim=32)
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(hf.ViTConfig(**VISION), decoder)
    return hf.VisionEncoderDecoderModel(config), hf.ViTImageProcessor(size=SIZE)


def donut() -> Pair:
    encoder = hf.DonutSwinConfig(**SWIN, depths=[1, 1], num_heads=[1, 1])
    sizes = {"vocab_size": 64, "d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2}
    decoder = hf.MBartConfig(**sizes, decoder_ffn_dim=32, is_decoder=True, add_cross_attention=True)
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    return hf.VisionEncoderDecoderModel(config), hf.DonutImageProcessor(size=SIZE)


def llava() -> Pair:
    config = hf.LlavaConfig(vision_config=hf.CLIPVisionConfig(**VISION), text_config=LLAMA)
    return hf.LlavaForConditionalGeneration(config), CROPPING


def llava_next() -> Pair:
    tiles = {"image_grid_pinpoints": [[32, 64], [64, 32]]}
    config = hf.LlavaNextConfig(vision_config=hf.CLIPVisionConfig(**VISION), text_config=LLAMA, **tiles)
    processor = hf.LlavaNextImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE, **tiles)
    return hf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> Pair:
    tiles = {"image_grid_pinpoints": [[32, 64], [64, 32]]}
    text = hf.Qwen2Config(**TEXT, num_key_value_heads=2)
    config = hf.LlavaOnevisionConfig(vision_config=hf.SiglipVisionConfig(**VISION), text_config=text, **tiles)
    return hf.LlavaOnevisionForConditionalGeneration(config), hf.LlavaOnevisionImageProcessor(
        size=SIZE, **tiles
    )


def idefics3() -> Pair:
    config = hf.Idefics3Config(vision_config=VISION, text_config=LLAMA, scale_factor=2, image_token_id=5)
    processor = hf.Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    return hf.Idefics3ForConditionalGeneration(config), processor


def qwen2() -> Pair:
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2}
    config = hf.Qwen2VLConfig(vision_config=vision, text_config={**TEXT, "num_key_value_heads": 2})
    return hf.Qwen2VLForConditionalGeneration(config), PACKING


def qwen2_5() -> Pair:
    """Its attention is in windows, for which it reorders the patches of all images."""
    sizes = {
        "hidden_size": 16,
        "out_hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 4,
    }
    windows = {"depth": 2, "window_size": 16, "fullatt_block_indexes": [1]}
    text = {**TEXT, "num_key_value_heads": 2}
    config = hf.Qwen2_5_VLConfig(vision_config={**sizes, **windows}, text_config=text)
    return hf.Qwen2_5_VLForConditionalGeneration(config), PACKING


def videomae() -> Pair:
    config = hf.VideoMAEConfig(**VISION, num_frames=FRAMES, tubelet_size=2)
    processor = hf.VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    return hf.VideoMAEForVideoClassification(config), processor


def timesformer() -> Pair:
    config = hf.TimesformerConfig(**VISION, num_frames=FRAMES)
    return hf.TimesformerForVideoClassification(config), hf.ViTImageProcessor(size=SIZE)


def vjepa2() -> Pair:
    """Its processor is one of videos, in a file of another name."""
    layers = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }  # smaller heads failed before 5
    predictor = {"pred_hidden_size": 32, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    shape = {"crop_size": 32, "patch_size": 8, "frames_per_clip": FRAMES, "tubelet_size": 2}
    processor = hf.VJEPA2VideoProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    return hf.VJEPA2Model(hf.VJEPA2Config(**layers, **predictor, **shape)), processor
