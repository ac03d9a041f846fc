"""One analysis from beginning to end: find, take up, collect, score, assemble.

Images stream through the model in batches; of every activation only the pooled rows are kept; a group of
samples is scored when it is full. Memory grows with the size of a group and the width of the layers, not with
the length of the data set or the size of the images.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import platform
import sys
import warnings
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.capture import looked_for
from hf_affscore.capture.sites import CallSite
from hf_affscore.errors import AffscoreWarning, DatasetError, NoActivationError
from hf_affscore.images.open import locate_images, open_images
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.evaluation import batch_size, evaluating
from hf_affscore.models.loading import (
    Checkpoint,
    device_of,
    load_checkpoint,
    locate_model,
    warn_of_missing_weights,
)
from hf_affscore.options import Options
from hf_affscore.run.collect import Collector, Group
from hf_affscore.run.memory import freed_memory_kept
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import bar, library_bars
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.scoring import Scorer, Scores, from_json, over_groups, to_json
from hf_affscore.signature import NUMBERS_VERSION, Record, Signature
from hf_affscore.sources import Source
from hf_affscore.version import __version__

if TYPE_CHECKING:
    from torch import nn

_LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "datasets",
    "accelerate",
    "numpy",
    "scipy",
    "pillow",
)


def run(
    model: str | Path | nn.Module, dataset: str | Path | Iterable[Any], processor: Any, options: Options
) -> Signature:
    """:func:`hf_affscore.analyze` with its options in one object."""
    processes = Processes.current(options.device)
    options = replace(options, progress=options.progress and processes.is_main)
    with processes.together(), library_bars(enabled=options.progress):
        # All processes go by what the main one found, in case a branch moves meanwhile.
        found_model = (
            processes.gather(locate_model(model, options))[0] if isinstance(model, str | Path) else model
        )
        found_images = (
            processes.gather(locate_images(dataset, options))[0]
            if isinstance(dataset, str | Path)
            else dataset
        )
        with closing(_open_resume_cache(found_model, found_images, processor, options, processes)) as resume:
            signature = processes.gather(resume.finished() if processes.is_main else None)[0]
            if signature is None:
                if options.progress and resume.begun:
                    print("An interrupted run of this analysis is there, and goes on.", file=sys.stderr)
                checkpoint = load_checkpoint(found_model, processor, options)
                stream = open_images(found_images, options, checkpoint.input_shape)
                signature = signature_of(checkpoint, stream, options, processes, resume)
                if processes.gather(processes.is_main and resume.finish(signature))[0]:
                    resume.forget_parts()  # also on the disks of other machines
            else:
                warn_of_missing_weights(signature.metadata["model"])
                if options.progress:
                    print(
                        "Analysed before: the result comes from the cache. "
                        "--no-cache, in Python cache=False, makes it again.",
                        file=sys.stderr,
                    )
    _warn_about_images(signature, options)
    return signature


def _open_resume_cache(
    model: Source | nn.Module,
    dataset: Source | Iterable[Any],
    processor: Any,
    options: Options,
    processes: Processes,
) -> ResumeCache:
    """The resume cache of this analysis; one that keeps nothing where the inputs have no name to be known by."""
    if not isinstance(model, Source) or not isinstance(dataset, Source):
        return ResumeCache()
    if processor is not None or not options.cache:
        return ResumeCache()
    asked = {
        "model": {"name": model.name, "state": model.state},
        "dataset": {"name": dataset.name, "state": dataset.state},
        "options": {**options.recorded(), "device": processes.gather(device_of(options).type)[0]},
        "numbers_version": NUMBERS_VERSION,
        "versions": _versions(),
    }
    return ResumeCache.open(asked, processes)


def signature_of(
    checkpoint: Checkpoint, stream: ImageStream, options: Options, processes: Processes, resume: ResumeCache
) -> Signature:
    """The signature of a model that is ready to run, on images that are open: collect, score, assemble."""
    # All cut the stream alike, whatever device each of them has.
    size = processes.gather(batch_size(options, checkpoint.module))[0]
    options = replace(options, batch_size=size)
    total = None
    if options.num_samples != "all":
        starts = enumerate(range(0, options.num_samples, size))
        total = sum(
            min(size, options.num_samples - start) for batch, start in starts if processes.is_mine(batch)
        )
    with ExitStack() as stack:
        stack.enter_context(freed_memory_kept())
        images = stack.enter_context(bar(total, "Images", "image", enabled=options.progress))
        collector = Collector(
            checkpoint, stream, options, processes=processes, resume=resume, progress=images
        )
        stack.enter_context(closing(collector))
        scorer = stack.enter_context(Scorer(options, processes=processes, resume=resume))
        stack.enter_context(evaluating(checkpoint.module))
        stack.enter_context(collector.watched)
        totals = _Totals()
        scores = over_groups(_groups(collector, scorer, totals, options, processes, resume))
    if totals.num_samples < 2:
        advice = " Look at split and max_images." if options.split or options.max_images else ""
        raise DatasetError(
            f"The data set gave {totals.num_samples} usable image(s){totals.unread()}; a score needs at least 2."
            + advice
        )
    rows, skipped = _records(scores, totals)
    if not rows:
        raise NoActivationError(_nothing_found(checkpoint, skipped))
    return Signature(rows, skipped, _metadata(checkpoint, stream, totals, options, processes))


@dataclass
class _Totals:
    """What all groups together used, could not read, passed over and left."""

    num_samples: int = 0
    num_groups: int = 0
    unused: int = 0
    undecodable: list[str] = field(default_factory=list)
    skipped: dict[CallSite, str] = field(default_factory=dict)

    def unread(self) -> str:
        if not self.undecodable:
            return ""
        return f" ({len(self.undecodable)} more could not be decoded, such as {self.undecodable[0]})"


def _groups(
    collector: Collector,
    scorer: Scorer,
    totals: _Totals,
    options: Options,
    processes: Processes,
    resume: ResumeCache,
) -> list[Scores]:
    """The scores of one group, or of every group of the data set.

    While a group is scored, the images of the next one run. A last group that is not full is left out, since
    fewer samples score higher; unless it is the only one.
    """
    all_groups = options.num_samples == "all"
    size = options.group_size if options.num_samples == "all" else options.num_samples
    scores: list[Scores] = []
    under_way: _UnderWay | None = None
    for number in itertools.count():
        stored = processes.gather(resume.load_group(number) if processes.is_main else None)[0]
        if stored is not None:
            collector.skip(stored["taken"])
            totals.num_samples += stored["num_samples"]
            totals.undecodable += stored["undecodable"]
            totals.skipped |= {CallSite(**site): reason for site, reason in stored["skipped"]}
            scores.append(from_json(stored["scores"]))
            continue
        group = collector.group(size, unless=under_way.failed if under_way else None)
        if not all_groups or not group.complete:
            collector.close()
        if under_way is not None:
            scores.append(under_way.finish(processes, resume))
        totals.undecodable += group.undecodable
        if group.num_samples < 2 or (all_groups and scores and not group.complete):
            totals.unused = group.num_samples
            totals.num_samples += group.num_samples * (not scores)
            group.features.close()
            break
        totals.num_samples += group.num_samples
        for skipped in processes.gather(group.skipped):
            totals.skipped |= skipped
        under_way = _UnderWay(number, group, scorer.start(group, number))
        if not all_groups or not group.complete:
            scores.append(under_way.finish(processes, resume))
            break
    totals.num_groups = len(scores)
    return scores


@dataclass(frozen=True)
class _UnderWay:
    """A group whose layers are being scored."""

    number: int
    group: Group
    scoring: Future[Scores]

    def failed(self) -> BaseException | None:
        """Why there will be no scores, as soon as that is known."""
        return self.scoring.exception() if self.scoring.done() else None

    def finish(self, processes: Processes, resume: ResumeCache) -> Scores:
        """Wait for the scores, and keep them in place of what they were made of."""
        scores = self.scoring.result()
        group = self.group
        group.features.close()
        written = False
        if processes.is_main:
            document = {
                "taken": group.taken,
                "num_samples": group.num_samples,
                "undecodable": group.undecodable,
                "skipped": [[vars(site), reason] for site, reason in group.skipped.items()],
                "scores": to_json(scores),
            }
            written = resume.save_group(self.number, document)
        if processes.gather(written)[0]:  # nobody removes a part before the whole is there
            resume.forget(
                f"layer-{self.number:06}-*.json", *(f"batch-{start:08}.npz" for start in group.starts)
            )
        return scores


def _records(scores: Scores, totals: _Totals) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The rows of a signature, and the records of what was seen and not scored."""
    rows: list[Record] = []
    reasons = dict(totals.skipped)
    for site, columns in scores:
        if "skipped" in columns:
            reasons.setdefault(site, columns["skipped"])
            continue
        row = Record(
            index=len(rows),
            module=site.module,
            activation=site.activation,
            call=site.call,
            kind=site.kind,
            **columns,
        )
        rows.append(row)
    return tuple(rows), tuple(_skipped(site, reason) for site, reason in reasons.items())


def _skipped(site: CallSite, reason: str) -> Record:
    return Record(
        module=site.module, activation=site.activation, call=site.call, kind=site.kind, reason=reason
    )


def _nothing_found(checkpoint: Checkpoint, skipped: Iterable[Record]) -> str:
    seen = "; ".join(
        f"{row.module} ({row.activation}): {row.reason}" for row in itertools.islice(skipped, 10)
    )
    return f"{checkpoint.metadata['class']} ran without any activation that can be scored. " + (
        f"Seen and skipped: {seen}." if seen else f"Looked for calls of {', '.join(looked_for())}."
    )


def _metadata(
    checkpoint: Checkpoint, stream: ImageStream, totals: _Totals, options: Options, processes: Processes
) -> dict[str, Any]:
    """Everything that changes a number, and what the numbers were made with."""
    import torch

    weights = {"weights": f"random, seed {options.seed}"} if options.random_weights else {}
    return {
        "model": {**checkpoint.metadata, **weights},
        "dataset": {
            **stream.metadata,
            "num_samples": totals.num_samples,
            "num_groups": totals.num_groups,
            "unused": totals.unused,
            "undecodable": len(totals.undecodable),
            "undecodable_reasons": totals.undecodable[:20],
        },
        "preprocessing": checkpoint.preprocessing,
        "options": options.recorded(),
        "numbers_version": NUMBERS_VERSION,
        "environment": {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "versions": {"hf_affscore": __version__, **_versions()},
            "device": str(next((p.device for p in checkpoint.module.parameters()), "cpu")),
            "num_threads": torch.get_num_threads(),
            "num_processes": processes.size,
        },
    }


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _warn_about_images(signature: Signature, options: Options) -> None:
    """Say where the images were not those asked for; also of a signature that comes from the cache."""
    dataset = signature.metadata["dataset"]
    count, lost = dataset["num_samples"], dataset["undecodable"]
    unread = f" ({lost} more could not be decoded)" if lost else ""
    if options.num_samples != "all" and count < options.num_samples:
        limited = options.max_images is not None and options.max_images < options.num_samples
        what = f"With max_images = {options.max_images} the data set" if limited else "The data set"
        _warn(
            f"{what} has {count} usable images{unread}, fewer than num_samples = {options.num_samples}; "
            f"the scores rest on {count}."
        )
    elif lost:
        became = "left out" if options.num_samples == "all" else "replaced by later ones"
        _warn(
            f"{lost} image(s) could not be decoded and were {became}; the metadata names them, as "
            "undecodable_reasons."
        )


def _warn(message: str) -> None:
    warnings.warn(message, AffscoreWarning, stacklevel=5)
