"""Replace activations or blocks of a classifier that act almost as affine maps, as far as predictions allow."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from torch import nn

from hf_affscore.errors import InputError, ModelError, shown_cause
from hf_affscore.images.open import is_name, locate_images, open_images
from hf_affscore.models.evaluation import batch_size, evaluating
from hf_affscore.models.loading import Checkpoint, load_checkpoint, locate_model
from hf_affscore.options import AnalysisOptions, Options
from hf_affscore.run.progress import bar, library_bars
from hf_affscore.signature import Record
from hf_affscore.simplify.block_map import as_module, fit_blocks
from hf_affscore.simplify.block_sites import BlockSite, find_blocks
from hf_affscore.simplify.calls import separate
from hf_affscore.simplify.channel_map import ChannelMap, fit_maps
from hf_affscore.simplify.costs import costs
from hf_affscore.simplify.options import checked_options
from hf_affscore.simplify.replacing import is_trainable, settle
from hf_affscore.simplify.report import CONVOLUTION, LINEAR, LinearisationReport
from hf_affscore.simplify.sample import Sample, drawn_sample, logits
from hf_affscore.simplify.sites import Site, find_sites
from hf_affscore.simplify.trial import Replacement, Trial, classes
from hf_affscore.spelling import checked_keywords


class Linearised(NamedTuple):
    """What :func:`linearise` returns.

    Attributes:
        model: The network with affine maps in place of activations or blocks: modules of torch, for evaluation.
        report: What was replaced, and what that changed.
    """

    model: nn.Module
    report: LinearisationReport


@checked_keywords(AnalysisOptions.__annotations__)
def linearise(
    model: str | Path | nn.Module,
    dataset: str | Path | Iterable[Any],
    *,
    sites: Sequence[str] | None = None,
    budget: float = 0.01,
    dry_run: bool = False,
    processor: Any = None,
    **options: Unpack[AnalysisOptions],
) -> Linearised:
    """Replace activations of a classifier by affine maps while it gives images the classes that it gave before.

    Every activation gets the map of least squared error, one slope and offset per channel, on half of the
    images. On a quarter of them the maps are tried: each alone, then together, the one with the highest
    agreement alone first; one is kept if at most a share of ``budget`` of these images gets another class
    with it and all that were kept before. The last quarter measures the result. A map is folded into the layer
    before or after it where that is exact, which is tested by running; elsewhere it becomes a 1 x 1
    convolution, channel by channel.

    Every call is one activation, also of a function, or of a module that runs several times in a pass. The
    module around such a call becomes a ``torch.fx.GraphModule`` if the call is replaced. Calls that torch.fx
    cannot trace stay, with the reason.

    With ``level="blocks"`` the repeated blocks of :func:`hf_affscore.analyze` give way in the same manner, and
    their attention and MLP parts: to one matrix and offset for all positions, a linear layer for tokens, a 1 x
    1 convolution with the stride of the block for feature maps. Its ridge is chosen on images that it is not
    fitted to; it shrinks what a block adds to its input.

    Args:
        model: Hub id, local folder, or a ``torch.nn.Module``, which is left unchanged.
        dataset: As in :func:`hf_affscore.analyze`.
        sites: What may be replaced: paths of modules, such as ``row.module`` of a signature, or names of
            activations (``"ReLU"``), with wildcards; default: every activation outside attention. Of blocks:
            paths, classes, or ``"block"``, ``"attention"``, ``"mlp"``.
        budget: Largest share of the choosing images that may get another class; 1 replaces all that it can.
        dry_run: Only list what could be replaced, how well the map fits, and what that would save.
        processor: Image processor, as in :func:`hf_affscore.analyze`.
        **options: Keywords of :func:`hf_affscore.analyze` that say what is loaded and drawn. By default 512
            images are drawn; all are kept in memory.

    Returns:
        The new network and a report. The network saves and loads as any other: ``torch.save(model, path)``,
        or its ``state_dict``. ``save_pretrained`` of transformers would write a configuration that builds
        the old activations.

    Raises:
        InputError: An option is out of range or does not apply, a site does not exist, or the network gives
            no logits, or NaN.
        ModelError: The network cannot be found, loaded, copied or run, or has no activation, or no block.
        DatasetError: The images cannot be found or read, or there are fewer than eight.
        TypeError: An option is misspelt.

    Example:
        >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
        >>> model, report = linearise(DEMO_MODEL, DEMO_DATASET, num_samples=64, budget=0.1)
        >>> report.agreement_chosen >= 0.9, report.after.elements < report.before.elements
        (True, True)
        >>> len(report.rows), report.rows[0].module
        (19, 'resnet.embedder.embedder.activation')
    """
    _check_budget(budget)
    chosen = checked_options(options)
    with library_bars(enabled=chosen.progress):
        found = locate_model(model, chosen) if isinstance(model, str | Path) else model
        images = locate_images(dataset, chosen) if is_name(dataset) else dataset
        checkpoint = load_checkpoint(found, processor, chosen)
        stream = open_images(images, chosen, checkpoint.input_shape, checkpoint.clip_length)
        size = batch_size(chosen, checkpoint.module)
        with evaluating(checkpoint.module):
            sample = drawn_sample(checkpoint, stream, chosen, size)
            return _linearised(checkpoint, sample, sites, budget, chosen, dry_run=dry_run)


def _check_budget(budget: Any) -> None:
    real = isinstance(budget, numbers.Real) and not isinstance(budget, bool)
    if not (real and 0 <= budget <= 1):
        raise InputError(f"budget is {budget!r}; expected a share of images from 0 to 1.")


def _linearised(
    checkpoint: Checkpoint,
    sample: Sample,
    sites: Sequence[str] | None,
    budget: float,
    options: Options,
    *,
    dry_run: bool,
) -> Linearised:
    original = checkpoint.module
    network = _copied(original)
    by_level = _blocks if options.level == "blocks" else _activations
    network, found, replacements, finish = by_level(network, sample, sites)
    trial = Trial(network, sample.choosing, replacements, budget)
    if dry_run:
        trial.leave("a dry run tries nothing")
    else:
        _try_all(trial, replacements, options)
    network = finish()
    before, after = costs(original, network, sample.measuring)
    kept = classes(logits(network, sample.measuring)) == classes(logits(original, sample.measuring))
    low, high = _interval(int(kept.sum()), len(kept))
    report = LinearisationReport(
        name=checkpoint.metadata["id"],
        level=options.level,
        rows=tuple(
            Record(index=index, **site.row(), **trial.found(site)) for index, site in enumerate(found)
        ),
        agreement=float(kept.double().mean()),
        agreement_low=low,
        agreement_high=high,
        agreement_chosen=trial.agreement(),
        budget=float(budget),
        dry_run=dry_run,
        num_fitting=len(sample.fitting),
        num_choosing=len(sample.choosing),
        num_measuring=len(sample.measuring),
        before=before,
        after=after,
        batch_size=min(sample.measuring.size, len(sample.measuring)),
    )
    return Linearised(network, report)


def _try_all(trial: Trial, replacements: Sequence[Replacement], options: Options) -> None:
    with bar(2 * len(replacements), "Replacements", "trial", enabled=options.progress) as shown:
        for each in replacements:
            trial.alone(each)
            shown.update()
        for each in trial.order():
            trial.together(each)
            shown.update()


class _Sites(NamedTuple):
    """What a level brings: the network to try in, its sites, their maps, and what gives the network at the end."""

    network: nn.Module
    found: Sequence[Site | BlockSite]
    replacements: list[Replacement]
    finish: Callable[[], nn.Module]


def _activations(network: nn.Module, sample: Sample, sites: Sequence[str] | None) -> _Sites:
    """One map per channel for every activation."""
    separated = separate(network, sample.fitting.first(2))
    network = separated.network
    found = find_sites(network, sample.fitting.first(2), sites, separated)
    candidates = [site for site in found if site.reason is None]
    fits = fit_maps(network, candidates, sample.fitting)
    few = sample.fitting.first(sample.fitting.size)
    replacements = []
    for site in candidates:
        fit = fits[site.path]
        to_settle = partial(settle, site=site, fit=fit, images=few)
        replacements.append(Replacement(site, ChannelMap(fit, site.axis), fit.r2, to_settle))
    return _Sites(network, found, replacements, separated.restore)


def _blocks(network: nn.Module, sample: Sample, sites: Sequence[str] | None) -> _Sites:
    """One matrix for every block, and every part of one."""
    found = find_blocks(network, sample.fitting.first(2), sites)
    candidates = [site for site in found if site.reason is None]
    fits = fit_blocks(network, candidates, sample.fitting)
    trainable = is_trainable(network)
    replacements = []
    for site in candidates:
        fit = fits[site.path]
        stays = partial(_stays, name=LINEAR if site.is_linear else CONVOLUTION)
        replacements.append(Replacement(site, as_module(site, fit, trainable=trainable), fit.r2, stays))
    return _Sites(network, found, replacements, lambda: network)


def _stays(network: nn.Module, allowed: Callable[[], bool], name: str) -> str:
    """What is tried in the place of a block is an ordinary module already."""
    return name


def _copied(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode."""
    try:
        network = copy.deepcopy(module)
    except Exception as error:  # a module may hold anything
        raise ModelError(
            f"{type(module).__name__} cannot be copied: {type(error).__name__}: {error}. Expected a module that "
            "copy.deepcopy copies; pass it without what cannot be copied, such as hooks or open files."
        ) from shown_cause(error)
    for part in network.modules():
        part.training = False
    return network


def _interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    from scipy.stats import binomtest

    found = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)
