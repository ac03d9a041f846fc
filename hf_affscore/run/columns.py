"""The columns of a signature from the rows of layers: from the CPU, or from accelerators that may be used.

On an accelerator some layers of one width are scored together (:mod:`hf_affscore.score.together`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hf_affscore.capture.features import Pair, SiteFeatures, defect
from hf_affscore.capture.sites import CallSite
from hf_affscore.options import Options
from hf_affscore.run.fit import MemoryBudget
from hf_affscore.score import score_layer
from hf_affscore.score.block import score_block
from hf_affscore.score.cost import block_bytes, scoring_bytes

if TYPE_CHECKING:
    import torch

#: The columns of one row, or ``skipped`` with the reason why there is none.
Columns: TypeAlias = dict[str, Any]

#: Layers that are scored together on an accelerator at most: of more, other accelerators would have none.
TOGETHER = 8


class Layer(NamedTuple):
    """One layer with its rows.

    Attributes:
        place: In the execution order.
        site: The call.
        batches: The rows of each batch of images.
    """

    place: int
    site: CallSite
    batches: dict[int, Pair]


#: What is done with the rows of a layer before it is scored.
Keep: TypeAlias = Callable[[Layer, SiteFeatures], None]


class LayerScorer:
    """Scores layers, in any number of threads, within the memory of the machine and of its accelerators.

    Args:
        options: Ridge, shrinkage, number of parts.
        devices: Accelerators that may be used, each up to ``device_memory_limit``.

    Attributes:
        device_bytes: Memory that may be used on each accelerator; 0 where there is none.
    """

    def __init__(self, options: Options, devices: Sequence[torch.device] = ()) -> None:
        self._options = options
        self._memory = MemoryBudget()
        self.device_bytes = int(options.device_memory_limit * 1e9) if devices else 0
        self._devices = [(device, MemoryBudget(self.device_bytes)) for device in devices]

    def columns(self, layers: Sequence[Layer], num_batches: int, keep: Keep, number: int) -> list[Columns]:
        """The columns of layers that are scored together, or why they are skipped.

        Args:
            layers: Their batches are dropped, as soon as they are joined.
            num_batches: How many batches a layer has that ran in all of them.
            keep: Called with a layer and its rows before they are scored.
            number: Of these layers among all that are scored together; chooses the accelerator.
        """
        reasons = [defect(layer.batches, num_batches) for layer in layers]
        whole = [layer for layer, reason in zip(layers, reasons, strict=True) if reason is None]
        found = iter(self._scored(whole, keep, number))
        return [next(found) if reason is None else {"skipped": reason} for reason in reasons]

    def _scored(self, layers: Sequence[Layer], keep: Keep, number: int) -> list[Columns]:
        size = sum(map(_scoring_bytes, layers))
        if not self._devices or size > self.device_bytes:
            return [self._on_cpu(layer, keep) for layer in layers]
        if len(layers) > 1 and not self._memory.can_hold(size):
            return [columns for layer in layers for columns in self._scored([layer], keep, number)]
        device, memory = self._devices[number % len(self._devices)]
        with self._memory.reserved(size):
            rows = [_joined(layer, keep) for layer in layers]
            with memory.reserved(size):
                found = self._on_accelerator(device, rows)
            return [
                columns_of(side, self._options) if columns is None else columns
                for side, columns in zip(rows, found, strict=True)
            ]

    def _on_cpu(self, layer: Layer, keep: Keep) -> Columns:
        with self._memory.reserved(_scoring_bytes(layer)):
            rows = _joined(layer, keep)
            part = layer.site.part
            return block_columns(rows, part) if part else columns_of(rows, self._options)

    def _on_accelerator(self, device: torch.device, layers: Sequence[SiteFeatures]) -> list[Columns | None]:
        """The columns; None for a layer that the accelerator fails on.

        That is where others have taken its memory, or its decomposition of a matrix fails and LAPACK's may not.
        """
        import torch

        from hf_affscore.score.together import together

        linalg: Any = torch.linalg  # partly without annotations
        failures = torch.OutOfMemoryError, linalg.LinAlgError

        def columns(rows: SiteFeatures) -> Columns | None:
            with suppress(*failures):
                return columns_of(rows, self._options, device)
            return None

        return together([partial(columns, rows) for rows in layers])


def together_on_accelerators(widths: Sequence[int], num_samples: int, limit: int) -> list[list[int]]:
    """The places of layers that are scored together: of one width, as far as the memory of an accelerator suffices.

    They depend on nothing else, so that the same layers have the same bits on any number of accelerators. Where
    main memory does not suffice for all of them, each is scored alone.

    Args:
        widths: Features of each layer.
        num_samples: Rows of each.
        limit: Bytes that may be used on an accelerator.

    Returns:
        Groups of places, the widest layers first, which take longest.

    Example:
        >>> together_on_accelerators([8, 16, 8], num_samples=100, limit=10**8)
        [[1], [0, 2]]
        >>> together_on_accelerators([8, 16, 8], num_samples=100, limit=0)
        [[1], [0], [2]]
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(widths)), key=lambda place: -widths[place]):
        last = groups[-1] if groups and widths[groups[-1][0]] == widths[place] else None
        size = scoring_bytes(num_samples, widths[place])
        if last is None or len(last) == TOGETHER or (len(last) + 1) * size > limit:
            groups.append([place])
        else:
            last.append(place)
    return groups


def columns_of(layer: SiteFeatures, options: Options, device: torch.device | None = None) -> Columns:
    """The columns of one activation, scored on this accelerator, or else on the CPU."""
    import torch

    pre, post = (
        side if device is None else torch.from_numpy(side).to(device) for side in (layer.pre, layer.post)
    )
    numbers = score_layer(
        pre,
        post,
        shrinkage=options.shrinkage,
        regularization=options.regularization,
        num_groups=min(options.num_groups, len(layer.pre) // 2),
    )
    return {
        "dim": layer.pre.shape[1],
        "num_samples": layer.pre.shape[0],
        **numbers,
        **({"scored_on": str(device or "cpu")} if options.device_memory_limit else {}),
        "sparsity_pre": layer.sparsity_pre[0],
        "sparsity_pre_error": layer.sparsity_pre[1],
        "sparsity_post": layer.sparsity_post[0],
        "sparsity_post_error": layer.sparsity_post[1],
    }


def block_columns(rows: SiteFeatures, part: str) -> Columns:
    """The columns of one block, or part of one."""
    return {
        "dim": rows.pre.shape[1],
        "dim_out": rows.post.shape[1],
        "num_samples": rows.pre.shape[0],
        **score_block(rows.pre, rows.post, rows.products, is_part=part != "block"),
    }


def _joined(layer: Layer, keep: Keep) -> SiteFeatures:
    rows = SiteFeatures.join(layer.batches)
    layer.batches.clear()  # otherwise the rows are in memory twice
    keep(layer, rows)
    return rows


def _scoring_bytes(layer: Layer) -> int:
    """Most memory that scoring a layer takes, its rows included."""
    count = sum(len(pre.rows) for pre, _ in layer.batches.values())
    width = max(side.rows.shape[1] for pair in layer.batches.values() for side in pair)
    return (block_bytes if layer.site.part else scoring_bytes)(count, width)
