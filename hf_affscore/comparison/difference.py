"""What changed between two signatures of one architecture, and which changes are more than noise.

Rows are paired by their place: module and number of the call, whatever the activation is (ReLU in one network, GELU
in the other). The change is that of the second signature less that of the first;
:mod:`hf_affscore.comparison.significance` tests it.

Scores that are no evidence, or that have no standard error, in either signature are listed and not tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_affscore.blocks import refuse_blocks
from hf_affscore.comparison.agreement import differences
from hf_affscore.comparison.pairs import have_errors, of_the_same_images, paired_rows, untested_because
from hf_affscore.comparison.significance import FALSE_DISCOVERY_RATE, median_change, tested
from hf_affscore.comparison.statistics import evidence_rows
from hf_affscore.comparison.text import activation_of, difference_text
from hf_affscore.errors import InputError
from hf_affscore.fileformat import plain
from hf_affscore.signature import Record, Signature
from hf_affscore.tables import terminal_width

if TYPE_CHECKING:
    import pandas as pd

#: Settings in which two signatures may differ: what the network is, and which images were drawn.
_FREE = frozenset({"options.seed", "options.dtype", "options.max_images"})


@dataclass(frozen=True, eq=False)
class Difference:
    """The change of every score from a first signature to a second one.

    Attributes:
        names: Name of the first network and of the second.
        changes: One record per pair of rows, the largest change first and those that were not tested last:
            ``index`` (place in the first signature), ``module``, ``activation`` and ``call``;
            ``second_activation``, which may be another; ``first`` and ``second``, the scores; ``change``, the
            second less the first, with its standard error ``stderr`` and ``p_value``; ``significant``: beyond
            noise at a false discovery rate of 5 %; ``untested``: the reason why there is no test, or None.
        only_first: Rows of the first signature without a partner in the second.
        only_second: Rows of the second signature without a partner in the first.
        paired: Whether both signatures are of the same images in the same order.
        mean_change: Mean change over the pairs that were tested; nan if there are none.
        mean_stderr: Its standard error.
        made_differently: Settings in which the signatures differ, if that was allowed.
    """

    names: tuple[str, str]
    changes: tuple[Record, ...]
    only_first: tuple[Record, ...]
    only_second: tuple[Record, ...]
    paired: bool
    mean_change: float
    mean_stderr: float
    made_differently: tuple[str, ...] = ()

    @property
    def tested(self) -> tuple[Record, ...]:
        """The changes that were tested."""
        return tuple(change for change in self.changes if change.untested is None)

    @property
    def significant(self) -> tuple[Record, ...]:
        """The changes beyond noise, largest first."""
        return tuple(change for change in self.changes if change.significant)

    @property
    def verdict(self) -> tuple[str, ...]:
        """What changed, how that was tested, and what could not be tested, in a few sentences."""
        lines = [
            self._found(),
            self._other_activations(),
            self._how(),
            self._untested(),
            self._without_partner(),
        ]
        return tuple(
            line
            for line in [*lines, *(f"Made differently: {each}." for each in self.made_differently)]
            if line
        )

    def to_dataframe(self) -> pd.DataFrame:
        """The changes as a table, largest first."""
        import pandas as pd

        return pd.DataFrame([dict(change) for change in self.changes])

    def to_dict(self) -> dict[str, Any]:
        """Everything as one JSON-ready document; undefined numbers are ``None``."""
        identity = ("index", "module", "activation", "call")
        partners = {"only_first": self.only_first, "only_second": self.only_second}
        document: dict[str, Any] = plain(
            {
                "first": self.names[0],
                "second": self.names[1],
                "paired": self.paired,
                "mean_change": self.mean_change,
                "mean_stderr": self.mean_stderr,
                "changes": self.changes,
                **{
                    key: [{name: row[name] for name in identity} for row in rows]
                    for key, rows in partners.items()
                },
                "made_differently": self.made_differently,
                "verdict": self.verdict,
            }
        )
        return document

    def __repr__(self) -> str:
        return f"Difference({' → '.join(map(repr, self.names))}: {self.verdict[0]})"

    def __str__(self) -> str:
        """The table of changes with the verdict, as wide as the terminal."""
        return difference_text(self, terminal_width())

    def _found(self) -> str:
        count, total = len(self.significant), len(self.tested)
        if not total:
            return "No change could be tested."
        rises = sum(change.change > 0 for change in self.significant)
        number = (
            f"{count or 'None'} of {total} scores changed"
            if total > 1
            else f"The score {'changed' if count else 'did not change'}"
        )
        ways = [f"{count - rises} lower" if count > rises else "", f"{rises} higher" if rises else ""]
        which = f": {' and '.join(filter(None, ways))} in B" if count else ""
        return (
            f"{number} beyond noise (false discovery rate {FALSE_DISCOVERY_RATE:.0%}){which}; "
            f"mean change {self.mean_change:+.4f} ± {self.mean_stderr:.4f}."
        ).replace("5%", "5 %")

    def _other_activations(self) -> str:
        kinds = [activation_of(row) for row in self.changes if row.activation != row.second_activation]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return f"Other activations at the same places: {counts}." if kinds else ""

    def _how(self) -> str:
        if self.paired:
            return "Both are of the same images, so the errors that they share cancel."
        return (
            "They are not of the same images in the same order, so their errors add up: smaller changes are found "
            "with equal images, seed and num_samples."
        )

    def _untested(self) -> str:
        reasons = [change.untested for change in self.changes if change.untested is not None]
        if not reasons:
            return ""
        counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
        return f"Not tested: {counts}."

    def _without_partner(self) -> str:
        alone = [len(self.only_first), len(self.only_second)]
        if not any(alone):
            return ""
        sentence = f"Without a partner: {alone[0]} of A and {alone[1]} of B."
        if len(self.changes) < max(alone):
            sentence += " These look like two architectures: `hf-affscore compare` aligns their signatures."
        return sentence


def difference(
    first: Signature,
    second: Signature,
    *,
    names: tuple[str, str] | None = None,
    allow_differences: bool = False,
) -> Difference:
    """The change of every score from ``first`` to ``second``, two signatures of one architecture.

    Args:
        first: The signature before: of the trained network, the original weights, an earlier checkpoint.
        second: The signature after: of the fine-tuned, quantised, pruned or later network.
        names: Names of the two networks; default: those in the signatures.
        allow_differences: Also if the signatures were made differently.

    Raises:
        InputError: No row of one has a partner in the other, or the signatures were made differently.

    Example:
        >>> def network(*scores):
        ...     rows = [
        ...         Record(index=i, module=f"relu{i}", activation="ReLU", call=0, affinity_score=score,
        ...                affinity_score_stderr=0.01, num_samples=512)
        ...         for i, score in enumerate(scores)
        ...     ]
        ...     return Signature(tuple(rows), (), {"model": {"id": "net"}})
        >>> found = difference(network(0.9, 0.5, 0.7), network(0.9, 0.8, 0.71))
        >>> [(change.module, round(change.change, 4), change.significant) for change in found.changes]
        [('relu1', 0.3, True), ('relu2', 0.01, False), ('relu0', 0.0, False)]
        >>> print(found.verdict[0])
        1 of 3 scores changed beyond noise (false discovery rate 5 %): 1 higher in B; mean change +0.1033 ± 0.0141.
    """
    for each in (first, second):
        refuse_blocks(each.rows, "A difference")
    names = names or (first.name, second.name)
    made_differently = differences((first, second), names, free=_FREE)
    if made_differently and not allow_differences:
        raise InputError(
            f"The signatures were made differently: {'; '.join(made_differently)}. Analyse both in one way, "
            "or take their difference anyway with allow_differences=True (--allow-differences)."
        )
    pairs, only_first, only_second = paired_rows(first.rows, second.rows)
    if not pairs:
        raise InputError(
            f"No activation of {names[0]} is one of {names[1]}: they are of two architectures. A difference pairs "
            "rows by module and call; to compare architectures use compare (hf-affscore compare)."
        )
    untested = [untested_because(*pair, known=have_errors(first, second)) for pair in pairs]
    same = of_the_same_images(first, second)
    test = tested([pair for pair, reason in zip(pairs, untested, strict=True) if reason is None], paired=same)
    found = iter(test.rows)
    changes = [
        _change(one, two, reason, next(found) if reason is None else None)
        for (one, two), reason in zip(pairs, untested, strict=True)
    ]
    changes.sort(
        key=lambda row: (row.untested is not None, -abs(row.change) if math.isfinite(row.change) else 0)
    )
    return Difference(
        names,
        tuple(changes),
        only_first,
        only_second,
        same,
        test.mean_change,
        test.mean_stderr,
        made_differently,
    )


def median_difference(first: Signature, second: Signature) -> tuple[float, float]:
    """Median score of ``second`` less that of ``first``, and its standard error over draws of images.

    Only scores that are evidence count; without any the result is nan. On the same images in the same order, errors
    that both medians share cancel.

    Example:
        >>> network = {score: Signature((Record(affinity_score=score),), (), {}) for score in (0.75, 0.5)}
        >>> median_difference(network[0.75], network[0.5])  # without standard errors of the scores
        (-0.25, nan)
    """
    rows = [evidence_rows(each) for each in (first, second)]
    if not all(rows):
        return math.nan, math.nan
    return median_change(*rows, paired=of_the_same_images(first, second))


def _change(one: Record, two: Record, untested: str | None, test: tuple[float, float, bool] | None) -> Record:
    stderr, p_value, significant = test or (math.nan, math.nan, False)
    return Record(
        index=one.index,
        module=one.module,
        activation=one.activation,
        call=one.call,
        second_activation=two.activation,
        first=one.affinity_score,
        second=two.affinity_score,
        change=two.affinity_score - one.affinity_score,
        stderr=stderr,
        p_value=p_value,
        significant=significant,
        untested=untested,
    )
