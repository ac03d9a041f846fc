"""Train the checkpoint that the package carries, and write the images it is analysed on.

``python examples/train_digits_resnet.py`` writes two folders into ``hf_affscore/assets`` (or ``--output``):

- ``digits-resnet/``: a ResNet-20 of half the usual width (19 ReLUs) with its image processor and model card;
- ``digits/``: 512 handwritten digits that the training never saw, as one Parquet file with a data set card.

The architecture is the one on which the paper shows (section 5, "residual connections") that the two ReLUs of
a residual block behave differently. The accuracy in the model card is measured at the very end, through the
written files: stored PNG, stored processor, stored weights. A second run on the same machine writes the same
bytes.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image, load_dataset
from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData
from PIL import Image as PILImage
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification, pipeline

from hf_affscore.assets import DEMO_MODEL

HELD_OUT = 512
SEED = 0
EPOCHS = 40
BATCH = 64
LABELS = [str(digit) for digit in range(10)]


def digit_images() -> tuple[list[PILImage.Image], list[int]]:
    """The 1,797 digits as 8 x 8 grey images, their 17 levels spread over 0 to 255, and their labels."""
    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return [PILImage.fromarray(image) for image in pixels], digits.target.tolist()


def make_processor() -> ConvNextImageProcessor:
    """8 x 8 grey to 32 x 32 RGB in [-1, 1]: the smallest size that leaves the last stage a 2 x 2 map."""
    return ConvNextImageProcessor(
        size={"shortest_edge": 32},
        crop_pct=1.0,
        do_convert_rgb=True,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def make_network(blocks: int = 3) -> ResNetForImageClassification:
    """An embedding and three stages of so many basic blocks, 8, 16 and 32 channels wide; three: ResNet-20."""
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 32],
            depths=[blocks] * 3,
            layer_type="basic",
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
    )


def jitter(pixels: Tensor) -> Tensor:
    """Turn, scale and shift each image a little: 1,285 digits alone would be learned by heart.

    Args:
        pixels: Images, shape ``(n, 3, H, W)``, background -1.
    """
    n = len(pixels)
    angle, scale = (torch.rand(n) - 0.5) * 0.5, 1 + (torch.rand(n) - 0.5) * 0.3
    cos, sin, shift = scale * angle.cos(), scale * angle.sin(), (torch.rand(2, n) - 0.5) * 0.4
    affine = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels + 1, grid, align_corners=False) - 1  # outside is background


def train(
    network: nn.Module, pixels: Tensor, labels: Tensor, *, peak: float = 0.01, epochs: int = EPOCHS
) -> None:
    """Train a network in place and leave it in evaluation mode.

    Args:
        network: From pixels to logits, or to an output of transformers that has them.
        pixels: Shape ``(n, 3, 32, 32)``.
        labels: Shape ``(n,)``.
        peak: Largest learning rate of the cycle.
        epochs: How often every image is seen.
    """
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    steps = epochs * (len(pixels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(pixels))
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            loss = functional.cross_entropy(logits(network, jitter(pixels[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()


def logits(network: nn.Module, pixels: Tensor) -> Tensor:
    """What the network says, shape ``(n, 10)``, whether it is a network of transformers or of anyone else."""
    output = network(pixels)
    return output if isinstance(output, Tensor) else output.logits


def write_images(folder: Path, images: list[PILImage.Image], labels: list[int]) -> None:
    """One Parquet file that ``load_dataset(folder)`` reads as split ``test``, and its card."""
    folder.mkdir(parents=True, exist_ok=True)
    column = [{"bytes": _png(image), "path": f"digit-{index:03d}.png"} for index, image in enumerate(images)]
    features = Features({"image": Image(), "label": ClassLabel(names=LABELS)})
    table = Dataset.from_dict({"image": column, "label": labels}, features=features)
    table.to_parquet(folder / "test.parquet")
    data = DatasetCardData(
        pretty_name="512 handwritten digits",
        license="cc-by-4.0",
        task_categories=["image-classification"],
        size_categories=["n<1K"],
        source_datasets=["extended"],
        configs=[{"config_name": "default", "data_files": [{"split": "test", "path": "test.parquet"}]}],
    )
    DatasetCard(f"---\n{data.to_yaml()}\n---\n{DATASET_TEXT}").save(folder / "README.md")


def _png(image: PILImage.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def measure_accuracy(model: Path, images: Path) -> float:
    """Share of the stored images that the stored model names correctly, through the stock pipeline."""
    rows = list(load_dataset(str(images), split="test", streaming=True))
    classify = pipeline("image-classification", model=str(model), device="cpu", top_k=1)
    answers = [answer[0]["label"] for answer in classify([row["image"] for row in rows], batch_size=BATCH)]
    return sum(answer == LABELS[row["label"]] for answer, row in zip(answers, rows, strict=True)) / len(rows)


def write_model_card(folder: Path, accuracy: float, parameters: int) -> None:
    """The card with the accuracy as ``model-index`` metadata, where Hub tools look for it."""
    data = ModelCardData(
        model_name="digits-resnet",
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["resnet", "digits"],
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type="digits",
                dataset_name="scikit-learn digits, last 512 images",
                dataset_split="test",
                metric_type="accuracy",
                metric_value=round(accuracy, 4),
            )
        ],
    )
    text = MODEL_TEXT.format(accuracy=accuracy, correct=round(accuracy * HELD_OUT), parameters=parameters)
    ModelCard(f"---\n{data.to_yaml()}\n---\n{text}").save(folder / "README.md")


DATASET_TEXT = """
# 512 handwritten digits

The last 512 of the 1,797 images of `sklearn.datasets.load_digits()`, in its order: 8 x 8 grey PNG files, the
17 levels of the source spread over 0 to 255, and the digit as label. The network in `../digits-resnet` was
trained on the other 1,285 and never saw these.

Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, 1998,
[UCI Machine Learning
Repository](https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits),
[doi:10.24432/C50P49](https://doi.org/10.24432/C50P49), licensed
[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/) there. scikit-learn redistributes a copy of its test
set; scikit-learn's own description names source and authors, and no licence. Changes made here: the
selection, and the storage as PNG in Parquet.
"""

MODEL_TEXT = """
# A ResNet-20 for handwritten digits

A residual network of half the usual width ({parameters:,} parameters, 19 ReLUs), trained from scratch on the
first 1,285 images of `sklearn.datasets.load_digits()` for the demonstration of hf_affscore. It is small on
purpose, and of no use beyond 8 x 8 digits.

- Test accuracy: {accuracy:.2%} ({correct} of 512 held-out images, see `../digits`), measured through these
  files with `transformers.pipeline("image-classification")`.
- Training: 40 epochs of AdamW in batches of 64, one cycle of the learning rate up to 0.01, weight decay 0.05,
  small random turns, scalings and shifts, seed 0. No setting was chosen by looking at the test images.
- Reproduce: `python examples/train_digits_resnet.py`.
- Training data: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, 1998,
  [doi:10.24432/C50P49](https://doi.org/10.24432/C50P49), CC BY 4.0, through scikit-learn.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded checkpoint and write its test images.")
    parser.add_argument("--output", type=Path, default=DEMO_MODEL.parent, help="default: %(default)s")
    output = parser.parse_args().output
    torch.set_num_threads(1)  # sums over threads could differ in their last bit
    torch.use_deterministic_algorithms(True)
    images, labels = digit_images()
    processor = make_processor()
    pixels = processor(images[:-HELD_OUT], return_tensors="pt")["pixel_values"]
    torch.manual_seed(SEED)
    network = make_network()
    train(network, pixels, torch.tensor(labels[:-HELD_OUT]))
    model = output / "digits-resnet"
    network.save_pretrained(model)
    processor.save_pretrained(model)
    write_images(output / "digits", images[-HELD_OUT:], labels[-HELD_OUT:])
    accuracy = measure_accuracy(model, output / "digits")
    write_model_card(model, accuracy, network.num_parameters())
    print(f"{model}: {accuracy:.2%} of {HELD_OUT} held-out digits")


if __name__ == "__main__":
    main()
