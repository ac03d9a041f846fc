"""One analysis from beginning to end: locate, resume, collect, score, assemble.

Images stream through the model in batches. Only the pooled rows of each activation are kept, and a group of samples
is scored when it is full. Memory grows with the size of a group and the width of the layers, not with the length of
the data set or the size of the images.
"""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.capture import no_blocks, nothing_to_score
from hf_affscore.capture.activations import registered_names
from hf_affscore.errors import DatasetError, NoActivationError, warn
from hf_affscore.images.draw import reach_of
from hf_affscore.images.open import is_name, locate_images, open_images
from hf_affscore.images.stream import ImageStream
from hf_affscore.models.dependencies import dependencies
from hf_affscore.models.evaluation import batch_size, device_of, evaluating
from hf_affscore.models.loading import (
    Checkpoint,
    load_checkpoint,
    locate_model,
    warn_of_missing_weights,
)
from hf_affscore.options import Options
from hf_affscore.publish.reuse import PublishedSignatures
from hf_affscore.run.accelerators import unused, usable
from hf_affscore.run.collect import Collector
from hf_affscore.run.groups import GroupScoring, Totals
from hf_affscore.run.keep import RowKeeper
from hf_affscore.run.memory import freed_memory_kept
from hf_affscore.run.metadata import asked, metadata
from hf_affscore.run.probe import warn_of_behaviour
from hf_affscore.run.processes import Processes
from hf_affscore.run.progress import bar, library_bars, own_images
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.rows import records
from hf_affscore.run.scoring import Scorer
from hf_affscore.signature import Signature
from hf_affscore.sources import Source
from hf_affscore.torch_settings import float32_precision

if TYPE_CHECKING:
    from torch import nn


#: Images as :func:`hf_affscore.analyze` takes them, or the result of :func:`located_images`.
Images = str | Path | Iterable[Any] | Source


def run(
    model: str | Path | nn.Module,
    dataset: Images,
    processor: Any,
    options: Options,
    published: PublishedSignatures | None = None,
    name: str | None = None,
) -> Signature:
    """:func:`hf_affscore.analyze` with its options in one object.

    Args:
        model: As in :func:`hf_affscore.analyze`.
        dataset: The same, or the result of :func:`located_images`.
        processor: As in :func:`hf_affscore.analyze`.
        options: Its options.
        published: The collection that ``options.reuse`` names, if it was opened before.
        name: As in :func:`hf_affscore.analyze`.
    """
    processes = Processes.current(options.device)
    options = replace(options, progress=options.progress and processes.is_main)
    if options.reuse is not None:
        published = published or PublishedSignatures(options.reuse, options.token)
    with processes.sharing_errors(), library_bars(enabled=options.progress):
        # Only the main process asks the Hub for commits: once, and all use the same ones if a branch moves.
        found_model: Source | nn.Module
        if isinstance(model, str | Path):
            found_model = processes.from_main(lambda: locate_model(model, options))
        else:
            found_model = model
        found_images = _located(dataset, options, processes)

        @cache  # for the cache and for the collection, where they are asked for
        def others() -> dict[str, str]:
            assert isinstance(found_model, Source)
            return processes.from_main(lambda: dependencies(found_model, options))

        opened = _open_resume_cache(found_model, found_images, processor, options, processes, others)
        with closing(opened) as resume:
            keeper = RowKeeper(options.keep_rows, resume.key)
            signature = processes.from_main(resume.finished)
            if signature is not None and not processes.from_main(partial(keeper.has, signature)):
                _say(options, "Analysed before, but its rows were not kept: it is analysed again.")
                signature = None
            elif signature is not None:
                resume.forget_parts()  # left by a run that was interrupted after it wrote its signature
                _say(
                    options,
                    "Analysed before: the result comes from the cache. "
                    "To repeat the analysis, pass --no-cache, in Python cache=False.",
                )
            elif published is not None and processor is None and options.keep_rows is None:
                signature = _reused(published, found_model, found_images, options, processes, others)
            if signature is not None:
                warn_of_missing_weights(signature.metadata["model"])
                warn_of_behaviour(
                    signature.metadata["model"], signature.metadata["options"].get("batch_size")
                )
            else:
                signature = _computed(
                    found_model, found_images, processor, options, processes, resume, keeper, name
                )
    _warn_about_images(signature, options)
    if processor is not None and signature.metadata["preprocessing"].get("applied") is False:
        warn("The processor is not used: the data set gives ready tensors, which are taken unchanged.")
    return signature


def _computed(
    model: Source | nn.Module,
    dataset: Source | Iterable[Any],
    processor: Any,
    options: Options,
    processes: Processes,
    resume: ResumeCache,
    keeper: RowKeeper,
    name: str | None,
) -> Signature:
    """The signature of an analysis that is run now, and kept in its cache."""
    keeper.writer = processes.from_main(keeper.begin)
    _say(options, "Resuming an interrupted run of this analysis.", if_=resume.begun)
    checkpoint = load_checkpoint(model, processor, options, name)
    stream = open_images(dataset, options, checkpoint.input_shape, checkpoint.clip_length)
    signature = signature_of(checkpoint, stream, options, processes, resume, keeper)
    if processes.is_main:
        keeper.finish(signature)
    reproducible = signature.metadata["model"]["deterministic"]
    elsewhere = dict(ChainMap(*processes.gather(resume.elsewhere)))
    kept = reproducible and processes.is_main and resume.finish(signature, elsewhere)
    if processes.broadcast(kept) or not reproducible:
        resume.forget_parts()  # also on the disks of other machines
    return signature


def located_images(dataset: Images, options: Options) -> Source | Iterable[Any]:
    """A data set with its state pinned, in all processes, for several runs on it; an object is returned unchanged.

    Raises:
        DatasetError: The folder or repository does not exist or is not accessible.
    """
    processes = Processes.current(options.device)
    with processes.sharing_errors():
        return _located(dataset, options, processes)


def _located(dataset: Images, options: Options, processes: Processes) -> Source | Iterable[Any]:
    if not is_name(dataset):
        return dataset
    return processes.from_main(lambda: locate_images(dataset, options))


def _reused(
    published: PublishedSignatures,
    model: Source | nn.Module,
    dataset: Source | Iterable[Any],
    options: Options,
    processes: Processes,
    others: Callable[[], dict[str, str]],
) -> Signature | None:
    """A published signature of this analysis, in all processes; None if there is none."""
    if not isinstance(model, Source) or not isinstance(dataset, Source):
        return None
    if others():  # a published signature does not say of which commits they were
        return None
    found = processes.from_main(lambda: published.find(model, dataset, options, registered_names()))
    message = f"Fetched from {published.repo_id}, where the same analysis is published."
    _say(options, message, if_=found is not None)
    return found


def _say(options: Options, message: str, *, if_: bool = True) -> None:
    if options.progress and if_:
        print(message, file=sys.stderr)


def _open_resume_cache(
    model: Source | nn.Module,
    dataset: Source | Iterable[Any],
    processor: Any,
    options: Options,
    processes: Processes,
    others: Callable[[], dict[str, str]],
) -> ResumeCache:
    """The resume cache of this analysis; one that stores nothing if an input cannot be identified by name."""
    if not isinstance(model, Source) or not isinstance(dataset, Source):
        return ResumeCache()
    # A function or processor object cannot be identified by its name.
    if processor is not None or callable(options.loader) or not options.cache:
        return ResumeCache()
    return ResumeCache.open(
        processes.broadcast(asked(model, others(), dataset, options, device_of(options))), processes
    )


def signature_of(
    checkpoint: Checkpoint,
    stream: ImageStream,
    options: Options,
    processes: Processes,
    resume: ResumeCache,
    keeper: RowKeeper | None = None,
) -> Signature:
    """The signature of a loaded model on an open stream of images: collect, score, assemble.

    Raises:
        DatasetError: There are fewer than two usable images.
        NoActivationError: No activation could be scored.
        ModelError: The model cannot run on the images.
    """
    keeper = keeper or RowKeeper()
    # All processes use one batch size, whatever their devices.
    size = processes.broadcast(batch_size(options, checkpoint.module))
    options = replace(options, batch_size=size)
    with ExitStack() as stack:
        stack.enter_context(freed_memory_kept())
        images = stack.enter_context(
            bar(own_images(stream, options, processes), "Images", "image", enabled=options.progress)
        )
        collector = Collector(
            checkpoint, stream, options, processes=processes, resume=resume, progress=images
        )
        stack.enter_context(closing(collector))
        devices = usable(checkpoint.module, options)
        said = unused(devices, options)
        _say(options, said, if_=bool(said))
        scorer = stack.enter_context(
            Scorer(options, processes=processes, resume=resume, keeper=keeper, devices=devices)
        )
        stack.enter_context(evaluating(checkpoint.module))
        precision = float32_precision()
        stack.enter_context(collector.watched)
        scoring = GroupScoring(collector, scorer, processes=processes, resume=resume, keeper=keeper)
        if options.num_samples == "all":
            groups = scoring.all_groups(options.group_size)
        else:
            groups = scoring.one_group(options.num_samples)
    totals = scoring.totals
    if totals.num_samples < 2:
        raise _too_few(totals, options)
    rows, skipped = records(groups, totals.skipped, stream.metadata.get("draw", {}))
    if not rows and not skipped and options.level == "blocks":
        raise NoActivationError(no_blocks(checkpoint.metadata["class"]))
    if not rows:
        raise NoActivationError(
            nothing_to_score(checkpoint.metadata["class"], [(row.activation, row.reason) for row in skipped])
        )
    about = metadata(checkpoint, stream, totals, options, processes, precision)
    if processes.is_main:
        warn_of_behaviour(about["model"], size)
    return Signature(rows, skipped, about)


def _too_few(totals: Totals, options: Options) -> DatasetError:
    advice = " Look at split and max_images." if options.split or options.max_images else ""
    return DatasetError(
        f"The data set gave {totals.num_samples} usable image(s){totals.unread()}; a score needs at least 2."
        + advice
    )


def _warn_about_images(signature: Signature, options: Options) -> None:
    """Warn if the images differ from what was asked for; also for a signature from the cache."""
    dataset = signature.metadata["dataset"]
    if (reach := reach_of(dataset.get("draw", {}))) is not None:
        warn(reach)
    count, lost = dataset["num_samples"], dataset["undecodable"]
    unread = f" ({lost} more could not be decoded)" if lost else ""
    if options.num_samples != "all" and count < options.num_samples:
        limited = options.max_images is not None and options.max_images < options.num_samples
        what = f"With max_images = {options.max_images} the data set" if limited else "The data set"
        warn(
            f"{what} has {count} usable images{unread}, fewer than num_samples = {options.num_samples}; "
            f"the scores rest on {count}."
        )
    elif lost:
        became = "left out" if options.num_samples == "all" else "replaced by later ones"
        warn(
            f"{lost} image(s) could not be decoded and were {became}; the metadata names them, as "
            "undecodable_reasons."
        )
