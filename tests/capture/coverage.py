"""Proof that an inspection lists every activation: an independent count over every architecture, as a table.

The independent count knows nothing of hooks on modules' names or of functions in Python. It listens below
both, where PyTorch dispatches its operators, and counts those that are activations. What a composite module
(SiLU written as ``x * sigmoid(x)``, an LSTM, multi-head attention) calls inside counts once, for the module.
What :func:`hf_affscore.inspect` says is scored and what it says is skipped have to equal that count together,
module by module.

``python -m tests.capture.coverage`` writes docs/coverage.md (``make coverage``). What has been examined is also
written into ``--log``, a line for each architecture; a run that finds its log goes on from there.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from hf_affscore import inspect
from hf_affscore.capture import ROOT
from hf_affscore.capture.activations import MODULES
from hf_affscore.errors import NoActivationError
from tests.capture.settings import CAUSES, of_class
from tests.capture.zoo import Architecture, run, timm_models, torchvision_models, transformers_models

DOCUMENT = Path(__file__).parents[2] / "docs" / "coverage.md"

#: Parameters of a model that is built on the CPU at most.
CPU_LIMIT = 2_500_000_000

#: Operators of ATen that are activations, softmax or attention. Written down apart from the package's table.
OPERATORS = {
    *("relu", "relu6", "hardtanh", "leaky_relu", "prelu", "_prelu_kernel", "rrelu", "rrelu_with_noise"),
    *("elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh", "log_sigmoid_forward", "hardsigmoid"),
    *("hardswish", "hardshrink", "softshrink", "softplus", "threshold", "glu", "log_sigmoid"),
    *("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax"),
    *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_fused_attention_overrideable"),
    *("_scaled_dot_product_flash_attention", "_scaled_dot_product_attention_math"),
    *(
        "_scaled_dot_product_efficient_attention",
        "_native_multi_head_attention",
        "scaled_dot_product_attention",
    ),
    *("_transformer_encoder_layer_fwd", "lstm", "gru"),
}


class Count(TorchDispatchMode):
    """Counts activation operators by the module that runs, composites once."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self._model = model
        self._running = [ROOT]
        self._inside: str | None = None
        self._undo = ExitStack()

    def __enter__(self) -> Count:
        composites = {
            (home, name) for homes in MODULES.values() for home, names in homes.items() for name in names
        }
        for path, module in self._model.named_modules():
            kinds = {(base.__module__, base.__name__) for base in type(module).__mro__}
            composite = bool(kinds & composites)

            def before(_: nn.Module, __: Any, path: str = path or ROOT, composite: bool = composite) -> None:
                if composite and self._inside is None:
                    self.calls[path] += 1
                    self._inside = path
                self._running.append(path)

            def after(_: nn.Module, __: Any, ___: Any) -> None:
                path = self._running.pop()
                if self._inside == path:
                    self._inside = None

            self._undo.callback(module.register_forward_pre_hook(before).remove)
            self._undo.callback(module.register_forward_hook(after).remove)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._undo.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if self._inside is None and name.removesuffix("_") in OPERATORS | {"_softmax"}:
            self.calls[self._running[-1]] += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Result:
    """What an inspection said of one architecture, or why it could not run."""

    library: str
    name: str
    device: str = ""
    captured: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    counted: int = 0
    difference: str = ""
    problem: str = ""
    uncounted: bool = False

    @property
    def is_covered(self) -> bool:
        return not self.difference and not self.problem


def examine(architecture: Architecture) -> Result:
    """Build and run once on the meta device, or where values are needed on the CPU with random weights."""
    problem = ""
    for device in ("meta", "cpu"):
        model = None
        try:
            with torch.device(device):
                model = architecture.build().eval()
            return _compare(architecture, model, device)
        except Exception as error:  # whatever a library raises: it is written into the table
            problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if model is not None and sum(parameter.numel() for parameter in model.parameters()) > CPU_LIMIT:
            break
    return Result(architecture.library, architecture.name, problem=problem)


def _compare(architecture: Architecture, model: nn.Module, device: str) -> Result:
    with Count(model) as count:
        run(model, architecture.batch(model, device))
    try:
        found = inspect(model, inputs=architecture.asked(model, device))
    except NoActivationError:
        if count.calls:
            raise
        return Result(architecture.library, architecture.name, device=device)  # the count found none either
    calls = Counter(row.module for row in [*found.rows, *found.skipped])
    difference = "; ".join(
        f"{path}: {calls[path]} seen, {count.calls[path]} counted"
        for path in sorted(calls.keys() | count.calls.keys())
        if calls[path] != count.calls[path]
    )
    return Result(
        architecture.library,
        architecture.name,
        device=device,
        captured=len(found.rows),
        skipped=Counter(_kind(row.reason) for row in found.skipped),
        counted=count.calls.total(),
        difference=difference,
        uncounted=found.cost.flops_per_image is None,
    )


def _kind(reason: str) -> str:
    """The reason without what is particular to the call."""
    for words in ("attention", "softmax", "no row per image", "recurrent", "floating point", "empty"):
        if words in reason:
            return words
    return reason


LIBRARIES = {"transformers": transformers_models, "timm": timm_models, "torchvision": torchvision_models}
INTRODUCTION = """# Coverage

Activation calls that `inspect` lists, against an independent count of the activation operators that PyTorch
dispatches, module by module. Models are built without weights on the meta device, or on the CPU with random
weights where their path depends on values, and run once on two images. *Captured* calls are scored; *skipped*
calls appear in `Signature.skipped` with the reason given. Written by `make coverage`; how it counts is told in
[its script](../tests/capture/coverage.py).
"""


def section(library: str, results: Sequence[Result]) -> str:
    """The part of the document about one library."""
    version = importlib.metadata.version(library)
    ran = [result for result in results if not result.problem]
    exact = sum(result.is_covered for result in ran)
    calls = sum(result.counted for result in ran)
    lines = [
        f"## {library} {version}",
        "",
        f"{len(results):,} architectures examined, {len(ran):,} ran, {exact:,} of them exact: "
        f"{calls:,} calls counted, "
        f"{sum(result.captured for result in ran):,} captured, "
        f"{sum(sum(result.skipped.values()) for result in ran):,} skipped.",
        "",
        "| architecture | counted | captured | skipped | on |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for result in ran:
        skipped = ", ".join(f"{count} {kind}" for kind, count in result.skipped.items()) or "0"
        wrong = f" **{result.difference}**" if result.difference else ""
        lines.append(
            f"| {result.name} | {result.counted} | {result.captured} | {skipped}{wrong} | {result.device} |"
        )
    problems = [result for result in results if result.problem]
    if problems:
        causes = (f"- {r.name}: {of_class(CAUSES, r.name) or r.problem}" for r in problems)
        lines += ["", f"{len(problems)} did not run:", "", *causes]
    return "\n".join(lines) + "\n"


def examined(library: str, log: Path, processes: int) -> Iterator[Result]:
    """Results of a library's architectures in their order: those of the log, the others by so many processes."""
    architectures = list(LIBRARIES[library]())
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    known = {(result.library, result.name): result for result in map(_from_json, lines)}
    missing = [a for a in architectures if (a.library, a.name) not in known]
    _waiting[:] = missing  # before the fork: builders, made on the spot, need not travel to the processes
    with multiprocessing.get_context("fork").Pool(processes) as pool, log.open("a", encoding="utf-8") as file:
        for result in pool.imap_unordered(_examine_waiting, range(len(missing))):
            known[result.library, result.name] = result
            print(json.dumps(vars(result)), file=file, flush=True)
            print(result, file=sys.stderr, flush=True)
    yield from (known[a.library, a.name] for a in architectures)


_waiting: list[Architecture] = []


def _examine_waiting(number: int) -> Result:
    return examine(_waiting[number])


def _from_json(line: str) -> Result:
    record = json.loads(line)
    return Result(**record | {"skipped": Counter(record["skipped"])})


def main() -> int:
    """Examine the libraries and put their sections into the document; 1 if a call was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("libraries", nargs="*", help=", ".join(LIBRARIES))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path("coverage.jsonl"))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    missed = 0
    for library in arguments.libraries or list(LIBRARIES):
        results = list(examined(library, arguments.log, arguments.processes))
        missed += sum(bool(result.difference) for result in results)
        text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else INTRODUCTION
        kept = [part for part in text.split("\n## ")[1:] if not part.startswith(f"{library} ")]
        parts = sorted([section(library, results), *(f"## {part}" for part in kept)])
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text("\n".join([INTRODUCTION, *parts]), encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
