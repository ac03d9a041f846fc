"""How the scores of a signature can be used, in one to three lines, the same wherever a signature is shown.

1. how many scores are evidence, and why the others are not;
2. which scores they can be compared with, how large a difference has to be, and how much more images may change
   them;
3. the next step, if many scores are not evidence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from hf_affscore.evidence import MEANING, WORDS, Evidence, evidence_of, few_samples

#: The quantity whose interval is ``affinity_score_low`` to ``affinity_score_high``.
Interval = Literal["score at this number of images", "limit of infinitely many images"]

Rows = Sequence[Mapping[str, Any]]


def verdict(rows: Rows, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The verdict on these rows, line by line.

    Example:
        >>> rows = [{"affinity_score": 0.5, "evidence": "ok"}, {"affinity_score": 1.0, "evidence": "few_samples"}]
        >>> verdict(rows, {})[0]
        '1 of 2 scores is evidence: 1 has no more images than features.'
    """
    if not rows:
        return ("There is no score.",)
    words = [evidence_of(row) for row in rows]
    evidence = [row for row, word in zip(rows, words, strict=True) if word == "ok"]
    lines = [_counted(words), _comparable(evidence, metadata), _next_step(rows, words, metadata)]
    return tuple(line for line in lines if line)


def verdict_of_widths(widths: Sequence[int], num_samples: int, pooling: str) -> tuple[str, ...]:
    """The verdict before the analysis, from the widths of the activations alone.

    Example:
        >>> verdict_of_widths([64, 3072], 2048, "channels")[0]
        'With 2048 images 1 of 2 scores would be evidence: 1 has no more images than features.'
    """
    words: list[Evidence] = ["few_samples" if few_samples(num_samples, width) else "ok" for width in widths]
    counted = _counted(words, are="would be")
    few = [width for width, word in zip(widths, words, strict=True) if word == "few_samples"]
    lines = (f"With {num_samples} images {counted[0].lower()}{counted[1:]}",)
    return (*lines, _more_images(few, pooling)) if few else lines


def interval_of(metadata: Mapping[str, Any]) -> Interval:
    """The quantity of the interval in the rows; in numbers version 1 it was the limit."""
    version = metadata.get("numbers_version")
    old = isinstance(version, int) and version < 2
    return "limit of infinitely many images" if old else "score at this number of images"


def _counted(words: Sequence[Evidence], are: str | None = None) -> str:
    """How many scores are evidence, and how many are not, by reason."""
    counts, total = Counter(words), len(words)
    are = are or ("is" if counts["ok"] == 1 else "are")
    if counts["ok"] == total:
        return f"All {total} scores {are} evidence." if total > 1 else f"The score {are} evidence."
    others = ", ".join(f"{counts[word]} {_meaning(word, counts[word])}" for word in WORDS[1:] if counts[word])
    return f"{counts['ok'] or 'None'} of {total} scores {are} evidence: {others}."


def _meaning(word: Evidence, count: int) -> str:
    """The meaning of a word, with its verb in the singular or plural."""
    verb, _, rest = MEANING[word].partition(" ")
    return f"{verb if count == 1 else {'has': 'have', 'is': 'are'}[verb]} {rest}"


def _comparable(evidence: Rows, metadata: Mapping[str, Any]) -> str:
    """Which scores these can be compared with, and how large chance differences can be."""
    if not evidence:
        return ""
    count, options = metadata.get("dataset", {}).get("num_samples"), metadata.get("options", {})
    alike = [f"{count or 'as many'} of these images"]
    alike += [f"pooling {options['pooling']!r}"] if "pooling" in options else []
    alike += [f"ridge {options['regularization']}"] if "regularization" in options else []
    parts = [
        f"Compare with scores of {' and '.join([', '.join(alike[:-1]), alike[-1]] if alike[1:] else alike)} only"
    ]
    errors = sorted(_known(evidence, "affinity_score_stderr"))
    if errors and interval_of(metadata) == "score at this number of images":
        usual, most = (f"{_least_difference(error):.2g}" for error in (errors[len(errors) // 2], errors[-1]))
        least_certain = f" ({most} for the least certain score)" if most != usual else ""
        parts.append(f"differences below {usual} may be chance{least_certain}")
    falls = max((score - low for score, low in _pairs(evidence, "limit_low")), default=0.0)
    rises = max((high - score for score, high in _pairs(evidence, "limit_high")), default=0.0)
    if falls > 0 or rises > 0:
        parts.append(f"more images may lower a score by up to {falls:.2f} or raise it by up to {rises:.2f}")
    return f"{'; '.join(parts)}."


def _least_difference(error: float) -> float:
    """Smallest significant difference (level 5 %) of two scores with this standard error."""
    return 1.96 * math.sqrt(2) * error


def _next_step(rows: Rows, words: Sequence[Evidence], metadata: Mapping[str, Any]) -> str:
    """The next step if scores are not evidence."""
    options = metadata.get("options", {})
    counts = Counter(words)
    absolute = options.get("regularization") != "relative"
    if absolute and counts["constant_output"] + counts["ridge_dominates"] > counts["few_samples"]:
        return 'Next: regularization="relative", a ridge in units of the variance of each layer.'
    if counts["few_samples"]:
        few = [
            row["dim"]
            for row, word in zip(rows, words, strict=True)
            if word == "few_samples" and "dim" in row
        ]
        return _more_images(few, options.get("pooling"))
    return ""


def _more_images(widths: Iterable[int], pooling: str | None) -> str:
    """The change that makes scores of layers with these widths evidence."""
    widest = max(widths, default=0)
    if pooling == "none":
        return 'Next: pooling="channels", one feature for each channel.'
    if widest == 0:
        return "Next: more images."
    return f"Next: num_samples={2 ** math.ceil(math.log2(widest + 1))} or more images."


def _known(rows: Rows, name: str) -> list[float]:
    return [row[name] for row in rows if _is_known(row.get(name))]


def _pairs(rows: Rows, name: str) -> list[tuple[float, float]]:
    """Pairs of the score and the number ``name``, for each row that has it."""
    return [(row["affinity_score"], row[name]) for row in rows if _is_known(row.get(name))]


def _is_known(value: Any) -> bool:
    return isinstance(value, float) and not math.isnan(value)
