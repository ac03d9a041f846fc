"""Every kind of checkpoint, written by its own library in this run, inspected and analysed: a table.

``python -m tests.models.matrix`` writes docs/models.md (``make models``). Each kind is held against the module that
a person loads with the library alone. A kind whose library is not installed is listed as such. The independent
count is that of ``tests/capture/coverage.py``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL import Image
from torch import nn

import hf_affscore as ha
from hf_affscore.models.libraries.by_hand import HANDS
from hf_affscore.models.loading import load_checkpoint
from hf_affscore.models.vision_forward import GRID
from hf_affscore.options import Options
from tests.capture.coverage import Count
from tests.models.by_hand import photographs
from tests.models.kinds import KINDS, Kind

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"

#: How each kind is analysed.
USUAL: dict[str, Any] = {"num_samples": 8, "batch_size": 4, "cache": False, "progress": False}

#: Options of an analysis that do not apply to a module.
OF_CHECKPOINTS = {"trust_remote_code", "timestep"}


@dataclass(frozen=True)
class Row:
    """What became of one kind.

    Attributes:
        kind: The kind.
        inspected: Rows that ``inspect`` lists.
        scored: Rows of the signature.
        skipped: Calls that the signature lists as skipped, without custom operators, which PyTorch cannot count.
        counted: Activation operators that PyTorch dispatched in the module loaded by hand.
        same: Whether all scores are those of the module loaded by hand, to the bit.
    """

    kind: Kind
    inspected: int
    scored: int
    skipped: int
    counted: int
    same: bool

    @property
    def is_right(self) -> bool:
        """Whether both saw the same rows, all that PyTorch counted, and scores are those by hand."""
        return self.same and self.inspected == self.scored and self.counted == self.scored + self.skipped


def is_installed(kind: Kind) -> bool:
    """Whether the library is here that writes such a checkpoint."""
    return importlib.util.find_spec(kind.package) is not None


def examine(kind: Kind) -> Row:
    """Write one, inspect it, analyse it, load it by hand, analyse that, and count its activation operators."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(place) / "net"
        folder.mkdir()
        options = kind.write(folder)
        chosen = {name: options[name] for name in ("trust_remote_code", "processor") if name in options}
        seen = ha.inspect(folder, **chosen)
        signature = _analyzed(folder, options)
        assert signature.metadata["model"]["library"] == kind.library, signature.metadata["model"]["library"]
        module, processor = kind.by_hand(folder)
        for part in module.modules():  # not by eval(), which programs lack
            part.training = False
        others = {name: value for name, value in options.items() if name not in OF_CHECKPOINTS}
        by_hand = _analyzed(module, {**others, "processor": processor})
        counted = _count(module, processor, others.get("repeat_frames", False))
    skipped = [call for call in signature.skipped if not call.reason.startswith("a custom operator")]
    scores, expected = ([row.affinity_score for row in each.rows] for each in (signature, by_hand))
    return Row(kind, len(seen.rows), len(scores), len(skipped), counted, scores == expected)


def _images() -> list[Image.Image]:
    """Images of one size, as towers that pack patches need them."""
    return [image.resize((48, 40)) for image in photographs()]


def _analyzed(model: Path | nn.Module, options: dict[str, Any]) -> ha.Signature:
    torch.manual_seed(0)  # for networks that draw random numbers while they run
    return ha.analyze(model, _images(), **USUAL, **options)


def _count(module: nn.Module, processor: Any, repeat_frames: bool) -> int:
    """Activation operators that one forward pass dispatches."""
    checkpoint = load_checkpoint(module, processor, Options(batch_size=4, repeat_frames=repeat_frames))
    inputs = checkpoint.inputs(_images()[:4])
    if GRID in inputs:  # images that run one by one
        inputs = {name: value[:1] for name, value in inputs.items()}
    with torch.no_grad(), Count(module) as count:
        checkpoint.forward(inputs)
    return count.calls.total()


INTRODUCTION = """# Checkpoints of which libraries

One checkpoint of each kind, written by its own library when this page was made (`make models`), with small random
weights, then inspected and analysed. *Counted* are the activation operators that PyTorch dispatched, without hooks
([how](coverage.md)), in the module that the library loads by itself. *By hand*: whether every score is that of this
module with the same processor, to the bit. The operators of packages for quantisation, inside which nothing can be
observed, are listed as skipped in a signature and not counted here. The library is recognised by the files; its
name is the value of `loader` (`--loader`) that insists on it.

| library | version | kind | inspect: rows | analyze: rows and skipped | counted | by hand |
| --- | --- | --- | ---: | --- | ---: | --- |
"""

BY_HAND = """
Pickles and programs of torch.export run code when they are read: they need `trust_remote_code`. What no library
here recognises is loaded by a class or function that `loader` names ([how](faq.md)), or by hand:

| library | line of Python that gives the module |
| --- | --- |
"""


def document() -> str:
    """The page."""
    lines = []
    for kind in KINDS:
        if not is_installed(kind):
            lines.append(f"| {kind.library} | not installed | {kind.name} | | | | |")
            continue
        row = examine(kind)
        print(row, file=sys.stderr, flush=True)
        version = importlib.metadata.version(kind.distribution)
        total = f"{row.scored} + {row.skipped} skipped = {row.scored + row.skipped}"
        wrong = "" if row.is_right else " **differs**"
        same = "same" if row.same else "other"
        cells = (kind.library, version, kind.name, row.inspected, total + wrong, row.counted, same)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    by_hand = (f"| {name} | `{hand.line}` |" for name, hand in HANDS.items())
    return "\n".join([INTRODUCTION.rstrip("\n"), *lines, BY_HAND.rstrip("\n"), *by_hand]) + "\n"


if __name__ == "__main__":
    hf.logging.set_verbosity_error()
    DOCUMENT.write_text(document(), encoding="utf-8")
