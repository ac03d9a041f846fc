"""Input: arrays of numpy or torch become rows that stay on their device.

The linear algebra of this package is written once, in operations that numpy and torch have under the same name,
and runs on the device of the rows: :func:`namespace` is the library to call. Rows in main memory are numpy's, also
when they came as a torch tensor; rows on an accelerator stay torch's. torch is never imported here: a tensor
only exists where torch has been imported already.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

from hf_affscore.errors import InputError
from hf_affscore.score import lapack

#: A numpy array or a torch tensor. Neither library can name the other's type in a way that lets mypy check
#: an operation written for both.
Array: TypeAlias = Any

#: Fourth powers of larger values, which shrinkage needs, overflow a float64, and of values below its inverse are 0.
LARGEST = 1e70

#: Devices where numpy computes.
OF_NUMPY = ("cpu",)

#: Accelerators that have no float64, in which scores are decided; rows on them go through main memory.
WITHOUT_FLOAT64 = ("mps",)


def as_rows(values: Any, name: str) -> Array:
    """``values`` as rows of shape ``(n, d)``, float32 or float64; ``(n,)`` is taken as one feature.

    Half precisions become float32, which holds all their values; everything else becomes float64.

    Args:
        values: A numpy array, a torch tensor (any real precision, any device) or nested lists of numbers.
        name: What the caller calls them, for the message.

    Raises:
        InputError: Not numbers, not one or two axes, or no feature.

    Example:
        >>> as_rows([1, 2, 3], "pre").shape
        (3, 1)
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        rows = _from_torch(values, torch, name)
    elif isinstance(values, np.ma.MaskedArray):
        raise InputError(_not_numbers(name, "a masked array, whose mask would be lost"))
    else:
        try:
            rows = np.asarray(values)
        except ValueError as error:
            raise InputError(_not_numbers(name, "lists of unequal length")) from error
        except RuntimeError as error:  # torch's, of a list of tensors
            raise InputError(_not_numbers(name, f"a {type(values).__name__}")) from error
        if rows.dtype.kind not in "biuf":
            raise InputError(_not_numbers(name, f"{type(values).__name__} of {rows.dtype}"))
        short = rows.dtype.kind == "f" and rows.dtype.itemsize <= 4
        rows = rows.astype(np.float32 if short else np.float64, copy=False)
    if rows.ndim == 1:
        rows = rows[:, None]
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(
            f"{name} has shape {tuple(rows.shape)}; expected (n, d), one row per sample, or (n,). "
            "Pool or flatten the other axes first: x.mean((-2, -1)) for (n, channels, height, width), "
            "x.mean(1) for (n, tokens, channels)."
        )
    return rows


def as_row_pair(pre: Any, post: Any, *, one_width: bool = True) -> tuple[Array, Array]:
    """Both sides as rows on one device, as many of either and, with ``one_width``, of one width.

    Raises:
        InputError: As :func:`as_rows`; or the shapes or devices differ.
    """
    x, y = as_rows(pre, "pre"), as_rows(post, "post")
    if len(x) != len(y) or (one_width and x.shape != y.shape):
        expected = "the same" if one_width else "as many rows"
        raise InputError(
            f"pre has shape {tuple(x.shape)} and post {tuple(y.shape)}; expected {expected}: row i of post is "
            "what the activation made of row i of pre."
        )
    if is_torch(x) != is_torch(y) or (is_torch(x) and x.device != y.device):
        raise InputError("pre and post are on different devices; move one with .to(device).")
    return x, y


def defect(pre: Array, post: Array) -> str | None:
    """Why no score can be computed from these rows, or None if one can."""
    if len(pre) < 2:
        return f"{len(pre)} sample{'s' * (len(pre) != 1)}; a covariance needs at least 2"
    for name, rows in (("pre", pre), ("post", post)):
        broken = int((~namespace(rows).isfinite(rows)).sum())
        if broken:
            return f"{name} has {broken} NaN or infinite of {len(rows) * rows.shape[1]} entries"
        largest = max(abs(float(rows.min())), abs(float(rows.max())))
        if largest > LARGEST:
            return f"{name} has entries beyond {LARGEST:g}, whose fourth powers float64 cannot hold"
        if 0 < largest < 1 / LARGEST:
            return f"{name} has no entry beyond {1 / LARGEST:g}; fourth powers of less are zero in float64"
    return None


def namespace(rows: Array) -> Any:
    """The library whose functions work on ``rows``: numpy or torch."""
    return sys.modules["torch"] if is_torch(rows) else np


def is_torch(rows: Array) -> bool:
    """Whether ``rows`` are torch's; otherwise they are numpy's."""
    return not isinstance(rows, np.ndarray)


def doubled(rows: Array) -> Array:
    """``rows`` in float64."""
    return rows.double() if is_torch(rows) else rows.astype(np.float64, copy=False)


def single(rows: Array) -> Array:
    """``rows`` in float32: for what is known to a few digits only, at half the time."""
    return rows.float() if is_torch(rows) else rows.astype(np.float32, copy=False)


def to_host(rows: Array) -> np.ndarray[Any, Any]:
    """``rows`` as a numpy array in main memory."""
    host: np.ndarray[Any, Any] = rows.cpu().numpy() if is_torch(rows) else rows
    return host


def from_host(rows: np.ndarray[Any, Any], like: Array) -> Array:
    """A numpy array as what ``like`` is, and where it is."""
    return namespace(like).asarray(rows, device=like.device) if is_torch(like) else rows


def empty(shape: tuple[int, ...], precision: str, like: Array) -> Array:
    """Memory for an array in this precision, of what ``like`` is and where it is."""
    return namespace(like).empty(shape, dtype=getattr(namespace(like), precision), **_device(like))


def places(condition: Array) -> np.ndarray[Any, Any]:
    """Flat indices of what is true, in main memory."""
    return to_host(condition.ravel().nonzero().ravel()) if is_torch(condition) else np.flatnonzero(condition)


def ascending(rows: Array) -> Array:
    """Every row sorted."""
    return rows.sort(axis=1)[0] if is_torch(rows) else np.sort(np.ascontiguousarray(rows), axis=1)


def identity(rows: Array) -> Array:
    """The identity matrix of the size of a row, where the rows are."""
    return namespace(rows).eye(rows.shape[1], dtype=rows.dtype, **_device(rows))


def diagonal(matrix: Array) -> tuple[Array, Array]:
    """Index of the diagonal of a square matrix."""
    index = namespace(matrix).arange(len(matrix), **_device(matrix))
    return index, index


def triangular_factor(matrix: Array) -> Array:
    """R of ``matrix = Q R`` with orthonormal columns in Q."""
    factors = namespace(matrix).linalg.qr(matrix, mode="r")
    return factors[1] if is_torch(matrix) else factors


def symmetric_pencil(first: Array, second: Array) -> tuple[Array, Array] | None:
    """The w, ascending, and V with ``V.T @ first @ V == diag(w)`` and ``V @ V.T == second``.

    None where rounding leaves ``second`` not positive definite. Both may be overwritten.
    """
    if not is_torch(first):
        return lapack.symmetric_pencil(first, second)
    linalg = namespace(first).linalg
    lower, failed = linalg.cholesky_ex(second)
    if int(failed):
        return None
    values, vectors = linalg.eigh(lower.T @ first @ lower)
    return values, lower @ vectors


def lower_factor(matrix: Array) -> Array:
    """The lower triangular L of ``matrix = L @ L.T``, positive definite, for :func:`solve_lower`; overwrites it."""
    return namespace(matrix).linalg.cholesky(matrix) if is_torch(matrix) else lapack.lower_factor(matrix)


def solve_lower(factor: Array, rows: Array, *, transposed: bool = False) -> Array:
    """``rows @ inverse(L.T)`` for a factor L, or ``rows @ inverse(L)``."""
    if is_torch(factor):
        linalg, upper = namespace(factor).linalg, factor if transposed else factor.T
        return linalg.solve_triangular(upper, rows, upper=not transposed, left=False)
    return lapack.solve_lower(factor, rows, transposed=transposed)


def inverse_root(matrix: Array) -> Array | None:
    """Lower triangular M with ``M.T @ M`` the inverse of ``matrix``; None if rounding leaves no positive one."""
    if is_torch(matrix):
        linalg = namespace(matrix).linalg
        lower, failed = linalg.cholesky_ex(matrix)
        return None if int(failed) else linalg.solve_triangular(lower, identity(matrix), upper=False)
    try:
        return lapack.inverse_of_lower(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        return None


def _device(like: Array) -> dict[str, Any]:
    """What says that a new array is where ``like`` is."""
    return {"device": like.device} if is_torch(like) else {}


def _from_torch(values: Array, torch: Any, name: str) -> Array:
    numbers = not (values.is_complex() or values.is_quantized)
    if not numbers or values.is_nested or values.is_meta or values.layout != torch.strided:
        raise InputError(_not_numbers(name, f"a {values.layout} tensor of {values.dtype} on {values.device}"))
    short = values.dtype in (torch.float16, torch.bfloat16, torch.float32)
    values = values.cpu() if values.device.type in WITHOUT_FLOAT64 else values
    rows = values.detach().resolve_neg().to(dtype=torch.float32 if short else torch.float64)
    return rows.numpy() if rows.device.type in OF_NUMPY else rows


def _not_numbers(name: str, received: str) -> str:
    return f"{name} is {received}; expected a dense numpy array or torch tensor of real numbers."
