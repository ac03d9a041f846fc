"""The affinity score as a metric of Hugging Face's evaluate: a thin wrapper around the package hf-affscore.

The rows of a pair stay arrays: in evaluate's Arrow tables, 2 x 2,048 x 1,024 numbers take more than a second. The
tables are used only if several processes share one metric, since the processes exchange rows through their files.
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import evaluate
import numpy as np

try:  # indented, so that evaluate's own check for missing packages, with its unclear message, skips these
    from hf_affscore.errors import InputError
    from hf_affscore.evidence import too_few_given
    from hf_affscore.run.analyze import analyze
    from hf_affscore.score import affinity
    from hf_affscore.score.arrays import as_row_pair, to_host
    from hf_affscore.signature import call_name
    from hf_affscore.spelling import did_you_mean
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "hf_affscore":
        raise
    raise ImportError(
        "The metric affinity_signature computes with the package hf-affscore, which is not installed here: "
        "run `pip install hf-affscore`."
    ) from None

Pair = tuple[Any, Any]  # rows before and after the activation

_DESCRIPTION = """
How close an activation function is to an affine map on the data it sees (1), or how far from one; for a pair of
arrays before and after it, or for every activation of a vision network, in execution order.
"""

_CITATION = """\
@inproceedings{bouniot2025alexnet,
  title = {From Alexnet to Transformers: Measuring the Non-linearity of Deep Neural Networks with Affine Optimal
           Transport},
  author = {Bouniot, Quentin and Redko, Ievgen and Mallasto, Anton and Laclau, Charlotte and Struckmeier, Oliver and
            Arndt, Karol and Heinonen, Markus and Kyrki, Ville and Kaski, Samuel},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2025}
}
"""

_INPUTS = """
Args:
    predictions: Rows after the activation, shape (n, d): numpy, torch or nested lists. With `model`: images.
    references: Rows before the activation, in the same shape and order. Not used with `model`.
    model: Hub id, local folder or torch.nn.Module of an image model.
    **options: Without `model` the options of hf_affscore.affinity_score (shrinkage, regularization), with
        `model` those of hf_affscore.analyze (num_samples, batch_size, device, ...).

Returns:
    Without `model`: affinity_score, affinity_score_bound, identity_coupling_score, num_samples, dim, and
    reason (what to keep in mind about the score, such as too few samples, or None). With `model`:
    affinity_scores, names, summary and verdict (what the scores can be used for, in sentences).

Raises:
    InputError (a ValueError): The inputs cannot be scored; the message says why. What add_batch took before is
        still there.
    TypeError: There is no option of that name.

Example:
    >>> import numpy as np
    >>> import evaluate
    >>> import hf_affscore
    >>> metric = evaluate.load("affinity_signature")
    >>> before = np.linspace(-1, 1, 1000).reshape(-1, 1)
    >>> result = metric.compute(predictions=before**3, references=before)
    >>> round(result["affinity_score"], 4)
    0.7112
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class AffinitySignature(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """``evaluate.load("affinity_signature")``; see the metric card for what the numbers mean."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        unknown = settings.keys() - inspect.signature(evaluate.Metric.__init__).parameters.keys()
        if unknown:  # evaluate would drop them silently
            raise TypeError(
                f"affinity_signature has no setting {', '.join(sorted(unknown))}."
                f"{did_you_mean(min(unknown), inspect.signature(evaluate.Metric.__init__).parameters)}"
            )
        super().__init__(*args, **settings)
        self._batches: list[Pair] = []

    def _info(self) -> evaluate.MetricInfo:
        rows = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": rows, "references": rows}),
            reference_urls=["https://arxiv.org/abs/2310.11439"],
            license="Apache-2.0",
        )

    def compute(
        self, *, predictions: Any = None, references: Any = None, model: Any = None, **options: Any
    ) -> dict[str, Any] | None:
        """The score of a pair of arrays, or the scores of a model; None in all processes except the first."""
        _check_keywords(options, affinity if model is None else analyze)
        if model is not None:
            return _of_model(model, predictions, references, **options)
        given = [] if predictions is None and references is None else [self._checked(references, predictions)]
        if self.num_process > 1:
            for pre, post in given:
                super().add_batch(references=pre, predictions=post)
            gathered = super().compute()
            if gathered is None:
                return None
            given = [self._checked(**gathered)]
        batches = [*self._batches, *given]
        if not batches:
            raise InputError(
                "There is nothing to score; expected predictions (rows after the activation) and references (rows "
                "before it), here or in add_batch, or a model and images as predictions."
            )
        result = _of_pair(*(np.concatenate(side) for side in zip(*batches, strict=True)), **options)
        self._batches = []
        return result

    def add_batch(self, *, predictions: Any = None, references: Any = None) -> None:
        """Keep some rows for a later compute(); a batch that cannot be scored is refused here."""
        pre, post = self._checked(references, predictions)
        if self.num_process > 1:
            super().add_batch(references=pre, predictions=post)
        else:
            self._batches.append((pre.copy(), post.copy()))  # the caller may reuse the memory

    def add(
        self,
        *,
        prediction: Any = None,
        reference: Any = None,
        predictions: Any = None,
        references: Any = None,
    ) -> None:
        """Keep one row; evaluate.combine calls this with the names in the plural."""
        one = [prediction if predictions is None else predictions]
        self.add_batch(predictions=one, references=[reference if references is None else references])

    def __len__(self) -> int:
        return sum(len(pre) for pre, _ in self._batches) if self.num_process == 1 else super().__len__()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the class in the package: a new process cannot import evaluate's copy by its name."""
        packaged = importlib.import_module("hf_affscore.metrics.affinity_signature.affinity_signature")
        return object.__new__, (packaged.AffinitySignature,), self.__dict__

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, Any]:
        """Called by evaluate with the rows of all processes; they are scored later, after its clean-up."""
        return {"references": references, "predictions": predictions}

    def _checked(self, references: Any, predictions: Any) -> Pair:
        """Both sides as float64 rows in main memory, checked against each other and the earlier batches."""
        if references is None or predictions is None:
            missing = "references" if references is None else "predictions"
            raise InputError(f"{missing} is None; expected rows of the same shape as the other side.")
        with _in_terms_of_evaluate():
            pre, post = map(to_host, as_row_pair(references, predictions))
        for name, rows in (("references", pre), ("predictions", post)):
            if not np.isfinite(rows).all():
                raise InputError(f"{name} has NaN or infinite entries; remove or repair those samples.")
        if self._batches and pre.shape[1] != self._batches[0][0].shape[1]:
            raise InputError(
                f"This batch has {pre.shape[1]} features, those before {self._batches[0][0].shape[1]}; "
                "expected one activation's rows. Call compute() before you go on to another."
            )
        return pre, post


def _check_keywords(options: dict[str, Any], function: Callable[..., Any]) -> None:
    """Name the keyword of compute() that was meant; ``function`` gets the options."""
    passed_by_place = {"pre", "post", "dataset"}
    known = {"predictions", "references", "model", *inspect.signature(function).parameters} - passed_by_place
    for keyword in options.keys() - known:
        raise TypeError(
            f"compute() got an unexpected keyword argument {keyword!r}.{did_you_mean(keyword, known)}"
        )


def _of_pair(pre: Any, post: Any, **options: Any) -> dict[str, Any]:
    with _in_terms_of_evaluate():
        found = affinity(pre, post, **options)
    return {
        "affinity_score": found.score,
        "affinity_score_bound": found.bound,
        "identity_coupling_score": found.identity_coupling_score,
        "num_samples": len(pre),
        "dim": pre.shape[1],
        "reason": found.flag or too_few_given(*pre.shape),
    }


def _of_model(model: Any, images: Any, references: Any, **options: Any) -> dict[str, Any]:
    if images is None or references is not None:
        raise InputError("With a model expected images as predictions, and no references; see compute().")
    signature = analyze(model, images, **options)
    return {
        "affinity_scores": signature.scores.tolist(),
        "names": [call_name(row) for row in signature.rows],
        "summary": signature.summary(),
        "verdict": list(signature.verdict),
    }


@contextlib.contextmanager
def _in_terms_of_evaluate() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{error} (Here references are pre and predictions are post.)") from error
