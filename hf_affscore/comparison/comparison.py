"""The comparison of networks: one object with distances, families, statistics and correlations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hf_affscore.blocks import refuse_blocks
from hf_affscore.comparison import agreement, export, notes, statistics
from hf_affscore.comparison.difference import Difference, difference
from hf_affscore.comparison.distances import cut, dtw_distances, leaves, link, warping_path
from hf_affscore.comparison.families import families_of
from hf_affscore.comparison.sources import Published, Source, by_name, read
from hf_affscore.comparison.text import comparison_text
from hf_affscore.errors import InputError, warn
from hf_affscore.fileformat import plain
from hf_affscore.signature import Signature
from hf_affscore.spelling import checked_keywords, did_you_mean
from hf_affscore.tables import terminal_width


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of signatures, made by :func:`compare`.

    Attributes:
        signatures: The compared signatures, in the given order.
        names: A unique name for each: the network's name, with its revision if two share a name.
        distances: Dynamic time warping distances, shape ``(k, k)``, read-only. Undefined scores are left out; those
            that are no evidence are not, because a sequence has to be whole: :attr:`distance_notes` counts them.
        linkage: Average-linkage clustering of the distances, in scipy's format.
        differences: Settings in which the signatures differ, if that was allowed.
        published: Published figures of the networks, by name.
        families: A family for each network, by which pictures are coloured: named by a pattern, otherwise the
            architecture of the checkpoint.
    """

    signatures: tuple[Signature, ...]
    names: tuple[str, ...]
    distances: npt.NDArray[np.float64]
    linkage: npt.NDArray[np.float64]
    differences: tuple[str, ...]
    published: Published
    families: tuple[str, ...]

    @property
    def leaf_order(self) -> list[int]:
        """Positions of the networks in the order of the dendrogram's leaves; similar networks are neighbours."""
        return leaves(self.linkage)

    def clusters(self, count: int) -> dict[str, int]:
        """A cluster number from 1 for every network, from cutting the dendrogram into ``count`` branches.

        With ties there can be fewer clusters.

        Raises:
            InputError: ``count`` is not between 1 and the number of networks.
        """
        if not 1 <= count <= len(self.names):
            raise InputError(
                f"count is {count}; expected 1 to {len(self.names)}, the number of networks compared."
            )
        return dict(zip(self.names, cut(self.linkage, count), strict=True))

    def nearest(self, name: str, count: int = 5) -> list[tuple[str, float]]:
        """The ``count`` networks closest to ``name``, closest first, each with its distance."""
        me = self._position(name)
        order = np.argsort(self.distances[me], kind="stable")
        return [(self.names[i], float(self.distances[me, i])) for i in order if i != me][:count]

    def align(self, first: str, second: str) -> list[tuple[int, int]]:
        """Pairs of rows matched by the warping path, as positions in each signature's ``rows``."""
        one, two = self.signatures[self._position(first)], self.signatures[self._position(second)]
        (rows_one,), (rows_two,) = (np.nonzero(np.isfinite(each.scores)) for each in (one, two))
        path = warping_path(statistics.defined(one), statistics.defined(two))
        return [(int(rows_one[i]), int(rows_two[j])) for i, j in path]

    def difference(self, first: str, second: str) -> Difference:
        """The change of every score from network ``first`` to network ``second``, and which are beyond noise.

        Raises:
            InputError: A name is unknown, or the networks have no activation in common.
        """
        one, two = (self.signatures[self._position(name)] for name in (first, second))
        return difference(one, two, names=(first, second), allow_differences=bool(self.differences))

    @cached_property
    def networks(self) -> pd.DataFrame:
        """One line per network: a summary of its scores, and its published figures.

        Columns are ``activations`` (rows with a score), ``evidence`` (scores that are evidence) and ``undefined``;
        ``median`` with its standard error ``median_stderr``, ``min``, ``max``, ``mean``, ``std`` (population) and
        ``modes`` of the scores that are evidence; then ``accuracy``, ``num_parameters`` and further columns of
        ``published``; nan where unknown.
        """
        lines = []
        for name, signature in zip(self.names, self.signatures, strict=True):
            summary = signature.summary()
            model = signature.metadata.get("model", {})
            line = {
                "activations": len(statistics.defined(signature)),
                "evidence": summary["count"],
                "undefined": summary["undefined"],
                **{key: summary[key] for key in ("median", "median_stderr", "min", "max", "mean", "std")},
                "modes": statistics.modes(statistics.evidence(signature)),
                "accuracy": _number(model.get("accuracy")),
                "num_parameters": _number(model.get("num_parameters")),
            }
            lines.append({**line, **self.published.get(name, {})})
        return pd.DataFrame(lines, index=pd.Index(self.names, name="network"))

    @cached_property
    def correlations(self) -> pd.DataFrame:
        """Pearson correlation of the score with every companion statistic: networks by statistics.

        It is taken over the scores of each network that are evidence; nan if fewer than three have both numbers.
        """
        lines = [statistics.correlations(signature) for signature in self.signatures]
        return pd.DataFrame(lines, index=pd.Index(self.names, name="network"), dtype=np.float64)

    @cached_property
    def correlation_counts(self) -> pd.DataFrame:
        """The number of activations that each correlation rests on: networks by statistics."""
        lines = [statistics.correlation_counts(signature) for signature in self.signatures]
        return pd.DataFrame(lines, index=pd.Index(self.names, name="network")).fillna(0).astype(int)

    @property
    def mixed_pooling(self) -> str | None:
        """One sentence if pooling made rows of channels in some networks and of tokens in others."""
        return agreement.mixed_pooling(self.signatures, self.names)

    @property
    def distance_notes(self) -> tuple[str, ...]:
        """What to know of the distances: scores that are no evidence, very different numbers of activations."""
        return notes.distance_notes(self.networks)

    def correlation_summary(self) -> pd.DataFrame:
        """Mean and population standard deviation over networks, per statistic, as in the paper.

        ``networks`` is the number of networks that have this correlation, and ``few`` how many of them have it over
        fewer than eight scores; ``std`` of one network is nan.
        """
        table = self.correlations
        networks, few = table.count(), ((self.correlation_counts < statistics.FEW) & table.notna()).sum()
        std = table.std(ddof=0).where(networks > 1)
        return pd.DataFrame({"mean": table.mean(), "std": std, "networks": networks, "few": few})

    def to_markdown(self) -> str:
        """The networks, and the correlations over them, as two Markdown tables with notes."""
        return export.markdown_page(self._tables(), notes.table_notes(self))

    def to_latex(self) -> str:
        """The networks, and the correlations over them, as two LaTeX tables for ``booktabs``, after comments."""
        return export.latex_page(self._tables(), notes.table_notes(self))

    def to_dict(self) -> dict[str, Any]:
        """All figures as one JSON-ready document; undefined numbers are ``None``."""
        return {
            "networks": plain(self.networks.reset_index().to_dict(orient="records")),
            "families": dict(zip(self.names, self.families, strict=True)),
            "distances": self.distances.tolist(),
            "distance_notes": list(self.distance_notes),
            "linkage": self.linkage.tolist(),
            "leaf_order": self.leaf_order,
            "correlations": plain(self.correlations.to_dict(orient="index")),
            "correlation_summary": plain(self.correlation_summary().to_dict(orient="index")),
            "differences": list(self.differences),
        }

    def __repr__(self) -> str:
        return f"Comparison({', '.join(map(repr, self.names))})"

    def __str__(self) -> str:
        """The table of networks with the correlations, as wide as the terminal."""
        return comparison_text(self, terminal_width())

    def _tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        columns = self.networks[["median", "median_stderr"]].itertuples(index=False)
        medians = [export.with_error(*each) or None for each in columns]
        networks = self.networks.assign(median=pd.Series(medians, self.networks.index)).drop(
            columns="median_stderr"
        )
        return networks, self.correlation_summary().rename_axis("statistic").rename(
            columns={"few": notes.FEW_SCORES}
        )

    def _position(self, name: str) -> int:
        if name not in self.names:
            raise InputError(
                f"No network is called {name!r}; expected one of {', '.join(self.names)}."
                f"{did_you_mean(name, self.names)}"
            )
        return self.names.index(name)


@checked_keywords()
def compare(
    sources: Iterable[Source],
    *,
    published: Published | pd.DataFrame | None = None,
    families: Mapping[str, str] | None = None,
    allow_differences: bool = False,
) -> Comparison:
    """Compare networks by their signatures (section 5 of the paper).

    Args:
        sources: Signatures, folders with signatures, or collections on the Hub (``"user/signatures"``).
        published: Published figures of the networks, by name: any of ``accuracy``, ``num_parameters``, ``year``,
            ``depth`` and further columns; the index of a frame holds the names. They override the figures that
            the signatures record.
        families: Families by which pictures are coloured, as patterns of names: ``{"ResNet": "*/resnet*"}``;
            networks that match none have the name of their architecture.
        allow_differences: Compare signatures that were made differently; the differences are then listed in
            :attr:`Comparison.differences`.

    Raises:
        InputError: There is nothing to compare, a signature has no defined score, ``published`` names an
            unknown network, a pattern matches none, or signatures were made differently: the message lists the
            differences.
        SignatureError: A source has no signature, or a damaged one.
        HubError: A collection does not exist, you have no access to it, or it cannot be reached.

    Example:
        >>> from hf_affscore.signature import Record, Signature
        >>> def network(name, *scores):
        ...     rows = tuple(Record(affinity_score=score) for score in scores)
        ...     return Signature(rows, (), {"model": {"id": name}})
        >>> comparison = compare([network("a", 0.9, 0.5), network("b", 0.9, 0.9, 0.5), network("c", 0.1)])
        >>> comparison.nearest("a", 1)
        [('b', 0.0)]
        >>> comparison.clusters(2)
        {'a': 1, 'b': 1, 'c': 2}
    """
    if isinstance(sources, str | Signature | Mapping):
        raise InputError(f"sources is a {type(sources).__name__}; expected a list: compare([first, second]).")
    signatures = tuple(signature for source in sources for signature in read(source))
    if not signatures:
        raise InputError("There is nothing to compare; expected at least one signature or folder.")
    for signature in signatures:
        refuse_blocks(signature.rows, "A comparison")
    names = names_of(signatures)
    series = [statistics.defined(signature) for signature in signatures]
    empty = [name for name, scores in zip(names, series, strict=True) if not len(scores)]
    if empty:
        raise InputError(
            f"{', '.join(empty)}: no activation has a defined score, so there is no distance to it. "
            "Leave it out; the rows' `reason` says why."
        )
    found = agreement.differences(signatures, names)
    if found and not allow_differences:
        raise InputError(
            f"The signatures were made differently: {'; '.join(found)}. Analyse the networks in one way, "
            "or compare them anyway with allow_differences=True (--allow-differences)."
        )
    if mixed := agreement.mixed_pooling(signatures, names):
        warn(mixed)
    grouped = families_of(signatures, names, families or {})
    distances = dtw_distances(series)
    distances.flags.writeable = False
    return Comparison(
        signatures, names, distances, link(distances), found, by_name(published, names), grouped
    )


def names_of(signatures: Sequence[Signature]) -> tuple[str, ...]:
    """A unique name for each: the network's name, then its revision if names clash, then a number if both do."""
    plain = [_with_step(signature) for signature in signatures]
    full = []
    for name, signature in zip(plain, signatures, strict=True):
        revision = signature.metadata.get("model", {}).get("revision")
        short = str(revision).rpartition(":")[2][:7]  # that of a local folder is "sha256:..."
        full.append(f"{name}@{short}" if plain.count(name) > 1 and revision else name)
    seen: Counter[str] = Counter()
    unique = []
    for name in full:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(unique)


def _with_step(signature: Signature) -> str:
    step = signature.metadata.get("training", {}).get("step")
    return signature.name if step is None else f"{signature.name} (step {step})"


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
