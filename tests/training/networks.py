"""What the tests of this folder train: a small network with everything that has a state or draws numbers."""

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed

CLASSES = 3


class Network(nn.Module):
    """Convolution, batch norm, dropout, a functional activation, and a part that stays in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.frozen = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.3)
        self.body = nn.Conv2d(6, 8, 3, stride=2)
        self.head = nn.Linear(8, CLASSES)

    def train(self, mode: bool = True) -> "Network":
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        x = self.drop(self.frozen(self.stem(pixel_values)))
        logits = self.head(functional.gelu(self.body(x)).mean((-2, -1)))
        output = {"logits": logits}
        if labels is not None:
            output = {"loss": functional.cross_entropy(logits, labels), **output}
        return output


class Images(Dataset):
    """Random images whose label is in their mean; each access draws noise from three generators."""

    def __init__(self, count: int = 48) -> None:
        generator = torch.Generator().manual_seed(1)
        self.labels = torch.randint(CLASSES, (count,), generator=generator)
        self.pixels = torch.randn(count, 3, 10, 10, generator=generator) + self.labels[:, None, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        noise = torch.rand(()) + float(np.random.rand()) + random.random()
        return {"pixel_values": self.pixels[index] + 0.1 * noise, "labels": self.labels[index]}


def sample(count: int = 20) -> list[Tensor]:
    return list(torch.randn(count, 3, 10, 10, generator=torch.Generator().manual_seed(2)))


def trained(folder, callbacks=(), *, network=None, **arguments) -> Trainer:
    """A Trainer that has trained a network of fixed seed: 3 epochs of 6 steps, with shuffling and dropout."""
    set_seed(0)
    settings = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    options = TrainingArguments(output_dir=str(folder), **{**settings, **arguments})
    trainer = Trainer(
        Network() if network is None else network,
        options,
        train_dataset=Images(),
        eval_dataset=Images(16),
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer
