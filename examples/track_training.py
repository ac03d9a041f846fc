"""How does a signature come about? A residual network learns digits, and its signature is taken every epoch.

In the repository, ``python -m examples.track_training`` trains the architecture of the embedded checkpoint with
transformers' Trainer and :class:`hf_affscore.AffinityCallback`. It leaves in ``--output`` the picture
``signature_over_training.png``, ``values.json``, and the Trainer's folder with a signature for every epoch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import EvalPrediction, Trainer, TrainingArguments, set_seed

import hf_affscore as ha
from examples.command import perform
from examples.train_digits_resnet import HELD_OUT, SEED, digit_images, make_network, make_processor
from hf_affscore.training import History

EPOCHS = 12


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """Share of the images that were named correctly, under the name that the Trainer logs."""
    right = prediction.predictions.argmax(axis=1) == prediction.label_ids
    return {"accuracy": float(right.mean())}


def train(
    output: Path, *, blocks: int = 3, epochs: int = EPOCHS, num_samples: int = HELD_OUT
) -> tuple[History, list[float]]:
    """Train a network with the callback.

    Args:
        output: The Trainer's folder.
        blocks: Blocks per stage; three make a ResNet-20.
        epochs: How often the 1,285 training digits are seen.
        num_samples: Held-out digits on which the signature is taken.

    Returns:
        The signatures by step, and the accuracy on all held-out digits after each epoch.
    """
    images, labels = digit_images()
    pixels = make_processor()(images, return_tensors="pt")["pixel_values"]
    examples = [{"pixel_values": p, "labels": label} for p, label in zip(pixels, labels, strict=True)]
    callback = ha.AffinityCallback(
        list(pixels[-HELD_OUT:]), num_samples=num_samples, shuffle=False, log_rows=False
    )
    set_seed(SEED)
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=HELD_OUT,
        learning_rate=0.01,
        weight_decay=0.05,
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(
        make_network(blocks),
        arguments,
        train_dataset=examples[:-HELD_OUT],
        eval_dataset=examples[-HELD_OUT:],
        compute_metrics=accuracy,
        callbacks=[callback],
    )
    trainer.train()
    logs = trainer.state.log_history
    return callback.history, [entry["eval_accuracy"] for entry in logs if "eval_accuracy" in entry]


def values(history: History, accuracies: list[float]) -> dict[str, Any]:
    """What the picture shows, as numbers."""
    last = history[history.last_step]
    return {
        "steps": list(history),
        "accuracy_after_each_epoch": accuracies,
        "median": [signature.summary()["median"] for signature in history.values()],
        "scores": {
            row.module: [float(signature.scores[row.index]) for signature in history.values()]
            for row in last.rows
        },
    }


def main() -> None:
    found = perform(
        "The signature of a small network while it is trained.",
        folder="track_training",
        picture="signature_over_training.png",
        run=lambda output: values(*train(output)),
        draw=lambda _, path: History.load(path.parent / "affinity").plot(path),
    )
    for step, median in zip(found["steps"], found["median"], strict=True):
        print(f"step {step:4}: median score {median:.3f}")
    print("accuracy after each epoch:", " ".join(f"{a:.3f}" for a in found["accuracy_after_each_epoch"]))


if __name__ == "__main__":
    main()
