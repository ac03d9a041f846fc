"""Replace the activations of a classifier that act almost as affine maps, as far as its predictions allow."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from torch import Tensor, nn

from hf_affscore.errors import InputError, ModelError, shown_cause
from hf_affscore.images.open import is_name, locate_images, open_images
from hf_affscore.inspection.operations import Operations
from hf_affscore.models.evaluation import batch_size, evaluating
from hf_affscore.models.loading import Checkpoint, load_checkpoint, locate_model
from hf_affscore.options import AnalysisOptions
from hf_affscore.run.progress import bar, library_bars
from hf_affscore.signature import Record
from hf_affscore.simplify.channel_map import ChannelMap, Fit, fit_maps
from hf_affscore.simplify.options import checked_options
from hf_affscore.simplify.replacing import put, settle
from hf_affscore.simplify.report import Costs, LinearisationReport
from hf_affscore.simplify.sample import Part, Sample, drawn_sample, logits
from hf_affscore.simplify.sites import Site, find_sites
from hf_affscore.spelling import checked_keywords

#: Forward passes that are timed; the fastest counts, which other programs have disturbed least.
TIMED = 7


class Linearised(NamedTuple):
    """What :func:`linearise` returns.

    Attributes:
        model: The network with affine maps in place of activations: ordinary modules, in evaluation mode.
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
    min_agreement: float = 0.99,
    processor: Any = None,
    **options: Unpack[AnalysisOptions],
) -> Linearised:
    """Replace activations of a classifier by affine maps while it gives images the classes that it gave before.

    Every activation gets the map of least squared error, one slope and offset per channel, on half of the
    images. On a quarter of them the maps are tried: each alone, then together, the one with the highest
    agreement alone first; one is kept if at least ``min_agreement`` of these images keep their class with it
    and all that were kept before. The last quarter measures the result. A map is folded into the layer
    before it where that is exact, which is tested by running; elsewhere it becomes a 1 x 1 convolution,
    channel by channel.

    What stays, each with its reason in the report: activations that are called as functions, or whose module
    runs more than once in a pass.

    Args:
        model: Hub id, local folder, or a ``torch.nn.Module``, which is left unchanged.
        dataset: As in :func:`hf_affscore.analyze`.
        sites: What may be replaced: paths of modules, such as ``row.module`` of a signature, or names of
            activations (``"ReLU"``), with wildcards; default: every activation outside attention.
        min_agreement: Least share of the choosing images that must keep their class; 0 replaces all that it
            can.
        processor: Image processor, as in :func:`hf_affscore.analyze`.
        **options: Keywords of :func:`hf_affscore.analyze` that say what is loaded and drawn. By default 512
            images are drawn; all are kept in memory.

    Returns:
        The new network and a report. The network saves and loads as any other: ``torch.save(model, path)``,
        or its ``state_dict``. ``save_pretrained`` of transformers would write a configuration that builds
        the old activations.

    Raises:
        InputError: An option is out of range or does not apply, a site does not exist, or the network gives
            no logits.
        ModelError: The network cannot be found, loaded, copied or run, or has no activation.
        DatasetError: The images cannot be found or read, or there are fewer than eight.
        TypeError: An option is misspelt.

    Example:
        >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
        >>> model, report = linearise(DEMO_MODEL, DEMO_DATASET, num_samples=64, min_agreement=0.9)
        >>> report.agreement_chosen >= 0.9, report.after.elements < report.before.elements
        (True, True)
        >>> len(report.rows), report.rows[0].module
        (19, 'resnet.embedder.embedder.activation')
    """
    if not isinstance(min_agreement, int | float) or not 0 <= min_agreement <= 1:
        raise InputError(f"min_agreement is {min_agreement!r}; expected a share of images from 0 to 1.")
    chosen = checked_options(options)
    with library_bars(enabled=chosen.progress):
        found = locate_model(model, chosen) if isinstance(model, str | Path) else model
        images = locate_images(dataset, chosen) if is_name(dataset) else dataset
        checkpoint = load_checkpoint(found, processor, chosen)
        stream = open_images(images, chosen, checkpoint.input_shape, checkpoint.clip_length)
        size = batch_size(chosen, checkpoint.module)
        with evaluating(checkpoint.module):
            sample = drawn_sample(checkpoint, stream, chosen, size)
            return _linearised(checkpoint, sample, sites, min_agreement, progress=chosen.progress)


def _linearised(
    checkpoint: Checkpoint,
    sample: Sample,
    sites: Sequence[str] | None,
    min_agreement: float,
    *,
    progress: bool,
) -> Linearised:
    original = checkpoint.module
    network = _copied(original)
    found = find_sites(network, sample.fitting.first(2), sites)
    candidates = [site for site in found if site.reason is None]
    trial = Trial(network, sample, fit_maps(network, candidates, sample.fitting))
    with bar(2 * len(candidates), "Replacements", "trial", enabled=progress) as shown:
        for site in candidates:
            trial.alone(site)
            shown.update()
        for site in trial.order(candidates):
            trial.together(site, min_agreement)
            shown.update()
    before, after = _costs(original, network, found, trial.maps, sample.measuring)
    kept = _classes(logits(network, sample.measuring)) == _classes(logits(original, sample.measuring))
    low, high = _interval(int(kept.sum()), len(kept))
    report = LinearisationReport(
        name=checkpoint.metadata["id"],
        rows=tuple(trial.record(index, site) for index, site in enumerate(found)),
        agreement=float(kept.double().mean()),
        agreement_low=low,
        agreement_high=high,
        agreement_chosen=trial.agreement(),
        min_agreement=float(min_agreement),
        num_fitting=len(sample.fitting),
        num_choosing=len(sample.choosing),
        num_measuring=len(sample.measuring),
        before=before,
        after=after,
        batch_size=min(sample.measuring.size, len(sample.measuring)),
    )
    return Linearised(network, report)


class Trial:
    """Tries maps in one network, on the images that choose.

    Args:
        network: Changed in place.
        sample: The images.
        fits: The map of every activation that can be replaced.

    Attributes:
        maps: Where the maps that are kept went, by module: the path of a layer, or ``"convolution"``.
    """

    def __init__(self, network: nn.Module, sample: Sample, fits: Mapping[str, Fit]) -> None:
        self.maps: dict[str, str] = {}
        self._network, self._images, self._fits = network, sample.choosing, fits
        self._few = sample.fitting.first(sample.fitting.size)
        self._wanted = logits(network, self._images)
        self._alone: dict[str, tuple[float, float]] = {}  # agreement, and how much the logits change
        self._together: dict[str, float] = {}
        self._reasons: dict[str, str] = {}

    def alone(self, site: Site) -> None:
        """Measure one map in the unchanged network."""
        tried = ChannelMap(self._fits[site.module], site.axis)
        activation = put(self._network, site.module, tried)
        given = logits(self._network, self._images)
        put(self._network, site.module, activation)
        if not tried.runs:
            self._reasons[site.module] = (
                "a module in its place does not run: the network reaches it another way"
            )
            return
        change = float((given - self._wanted).double().square().mean())
        self._alone[site.module] = self._agreement(given), change

    def order(self, sites: Sequence[Site]) -> list[Site]:
        """The order in which maps are tried together: by agreement alone, then by how little the logits change."""
        measured = [site for site in sites if site.module in self._alone]
        return sorted(measured, key=lambda site: (-self._alone[site.module][0], self._alone[site.module][1]))

    def together(self, site: Site, min_agreement: float) -> None:
        """Replace an activation for good if enough images keep their class."""
        if self._alone[site.module][0] < min_agreement:
            self._reasons[site.module] = "too few images keep their class with it alone replaced"
            return
        fit = self._fits[site.module]
        activation = put(self._network, site.module, ChannelMap(fit, site.axis))
        agreement = self.agreement()
        self._together[site.module] = agreement
        if agreement < min_agreement:
            self._reasons[site.module] = "too few keep it with this one and those before it replaced"
        elif (where := settle(self._network, site, fit, self._few)) is None:
            self._reasons[site.module] = (
                "the layer before it has other uses, and no convolution takes its place"
            )
        else:
            self.maps[site.module] = where
            return
        put(self._network, site.module, activation)

    def agreement(self) -> float:
        """The share of images that keep their class in the network as it is now."""
        return self._agreement(logits(self._network, self._images))

    def record(self, index: int, site: Site) -> Record:
        """What was found about an activation."""
        fit = self._fits.get(site.module) if site.reason is None else None
        return Record(
            index=index,
            module=site.module,
            activation=site.activation,
            call=site.call,
            elements=site.elements,
            r2=math.nan if fit is None else fit.r2,
            agreement_alone=self._alone.get(site.module, (math.nan, 0))[0] if fit else math.nan,
            agreement_together=self._together.get(site.module, math.nan) if fit else math.nan,
            replaced=fit is not None and site.module in self.maps,
            map=self.maps.get(site.module) if fit else None,
            reason=site.reason or self._reasons.get(site.module),
        )

    def _agreement(self, given: Tensor) -> float:
        return float((_classes(given) == _classes(self._wanted)).double().mean())


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


def _classes(given: Tensor) -> Tensor:
    return given.argmax(1)


def _interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    from scipy.stats import binomtest

    found = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def _costs(
    original: nn.Module, network: nn.Module, sites: Sequence[Site], maps: Mapping[str, str], images: Part
) -> tuple[Costs, Costs]:
    """What the two networks take; timed in turn, so that what else the machine does meets both."""
    batch = images.first(images.size)
    times: tuple[list[float], list[float]] = [], []
    for _ in range(TIMED):
        for each, its in zip((original, network), times, strict=True):
            begin = time.perf_counter()
            logits(each, batch)
            its.append(time.perf_counter() - begin)
    elements = sum(site.elements for site in sites)
    left = sum(site.elements for site in sites if site.module not in maps)
    before, after = (
        Costs(
            elements=count,
            parameters=sum(parameter.numel() for parameter in each.parameters()),
            operations=_operations(each, batch),
            seconds=min(its),
        )
        for each, its, count in zip((original, network), times, (elements, left), strict=True)
    )
    return before, after


def _operations(module: nn.Module, batch: Part) -> int | None:
    with Operations() as operations:
        logits(module, batch)
    return None if operations.problem is not None else sum(operations.flops.values()) // len(batch)
