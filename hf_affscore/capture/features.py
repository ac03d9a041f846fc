"""The pooled rows of every call site, collected batch by batch and given back site by site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_affscore.capture.summary import Summary, sparsity

if TYPE_CHECKING:
    from hf_affscore.capture.sites import Call, Site


@dataclass(frozen=True)
class SiteFeatures:
    """All that was collected at one call site.

    Attributes:
        pre: Pooled inputs, ``(n, d)``.
        post: Pooled outputs, ``(n, d)``.
        sparsity_pre: Share of near-zero entries of the unpooled inputs, and its standard error.
        sparsity_post: The same of the outputs.
    """

    pre: npt.NDArray[np.floating]
    post: npt.NDArray[np.floating]
    sparsity_pre: tuple[float, float]
    sparsity_post: tuple[float, float]


@dataclass
class Features:
    """Rows of every site by batch number: batches may come in any order and from any process."""

    num_batches: int = 0
    _chunks: dict[Site, dict[int, tuple[Summary, Summary]]] = field(default_factory=dict)

    def add(self, batch: int, calls: Sequence[Call[Summary]]) -> None:
        """Keep what one forward pass gave; ``batch`` is its number in the stream."""
        self.num_batches += 1
        for call in calls:
            self._chunks.setdefault(call.site, {})[batch] = (call.pre, call.post)

    @property
    def sites(self) -> list[Site]:
        """The sites that still hold rows, in execution order."""
        return list(self._chunks)

    def defect(self, site: Site) -> str | None:
        """Why the rows of a site do not belong together, or None."""
        chunks = self._chunks[site]
        if len(chunks) < self.num_batches:
            return (
                f"it ran in {len(chunks)} of {self.num_batches} batches only: the path depends on the image"
            )
        widths = sorted({summary.rows.shape[1] for chunk in chunks.values() for summary in chunk})
        if len(widths) > 1:
            return f"its pooled width differs between input and output or between batches: {widths}"
        return None

    def take(self, site: Site) -> SiteFeatures:
        """The rows of one site in the order of the images; the store forgets them."""
        chunks = self._chunks.pop(site)
        ordered = [chunks[batch] for batch in sorted(chunks)]
        pre, post = zip(*ordered, strict=True)
        return SiteFeatures(
            pre=np.concatenate([summary.rows for summary in pre]),
            post=np.concatenate([summary.rows for summary in post]),
            sparsity_pre=sparsity(pre),
            sparsity_post=sparsity(post),
        )
