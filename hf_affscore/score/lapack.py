"""Five routines of LAPACK in float64, called without holding the interpreter's lock.

scipy.linalg has them all, but its wrappers hold the lock while they work, so threads that score one layer each
would wait for one another. numpy releases the lock, but does not have these routines. ctypes releases it too, and
scipy provides the addresses for such use (:class:`scipy.LowLevelCallable`).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from scipy import LowLevelCallable
from scipy.linalg import cython_lapack

Matrix = np.ndarray[Any, Any]


def symmetric_pencil(first: Matrix, second: Matrix) -> tuple[Matrix, Matrix] | None:
    """The w and V of ``second @ first @ V = V @ diag(w)`` with ``V @ V.T = second``, w ascending.

    Equivalently ``V.T @ first @ V = diag(w)``. As ``scipy.linalg.eigh(first, second, type=3)`` gives them, in
    two thirds of the time of a Cholesky factor, two products and an eigendecomposition by numpy.

    Args:
        first: Symmetric, shape ``(d, d)``, contiguous. It becomes V: matrices of wide layers are large.
        second: Symmetric and positive definite, contiguous; overwritten.

    Returns:
        w of shape ``(d,)`` and V of shape ``(d, d)``; None where ``second`` is not positive definite to
        working precision, or the iteration does not converge.

    Example:
        >>> values, vectors = symmetric_pencil(np.diag([1.0, 9.0]), np.diag([4.0, 4.0]))
        >>> values, abs(vectors)
        (array([ 4., 36.]), array([[2., 0.],
               [0., 2.]]))
    """
    d = len(first)
    values = np.empty(d)
    work, integers = np.empty(1 + 6 * d + 2 * d * d), np.empty(3 + 5 * d, dtype=np.intc)
    failed = _call(
        "dsygvd",
        *(3, b"V", b"L", d, first, d, second, d, values, work, len(work), integers, len(integers)),
    )
    return None if failed else (values, first.T)


def lower_factor(matrix: Matrix) -> Matrix:
    """The lower triangular L with ``L @ L.T == matrix``; what is above its diagonal is not zero.

    Args:
        matrix: Symmetric and positive definite, shape ``(d, d)``, contiguous. It becomes L.

    Raises:
        numpy.linalg.LinAlgError: ``matrix`` is not positive definite to working precision.

    Example:
        >>> np.tril(lower_factor(np.array([[4.0, 2.0], [2.0, 2.0]])))
        array([[2., 0.],
               [1., 1.]])
    """
    # Rows in C are columns in Fortran, so a lower triangle here is an upper one there.
    if _call("dpotrf", b"U", len(matrix), matrix, len(matrix)):
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    return matrix


def solve_lower(factor: Matrix, rows: Matrix, *, transposed: bool = False) -> Matrix:
    """The X with ``X @ L.T = rows``, or with ``X @ L = rows``.

    Args:
        factor: L, lower triangular, shape ``(d, d)``, contiguous; what is above its diagonal is not read.
        rows: Shape ``(m, d)``.
        transposed: Whether it is L that X is multiplied with.

    Example:
        >>> factor, rows = np.array([[2.0, 9.0], [1.0, 1.0]]), np.array([[2.0, 2.0]])
        >>> solve_lower(factor, rows), solve_lower(factor, rows, transposed=True)
        (array([[1., 1.]]), array([[0., 2.]]))
    """
    d = len(factor)
    solved = np.array(rows, order="C")
    if _call("dtrtrs", *(b"U", b"N" if transposed else b"T", b"N", d, len(solved), factor, d, solved, d)):
        raise np.linalg.LinAlgError("the factor has a zero on its diagonal")
    return solved


def inverse_of_lower(factor: Matrix) -> Matrix:
    """The inverse of a lower triangular matrix of shape ``(d, d)`` without zeros on its diagonal.

    Example:
        >>> inverse_of_lower(np.array([[2.0, 0.0], [1.0, 1.0]]))
        array([[ 0.5,  0. ],
               [-0.5,  1. ]])
    """
    inverse = np.array(factor, order="C")
    # Rows in C are columns in Fortran, so a lower triangle here is an upper one there.
    if _call("dtrtri", b"U", b"N", len(inverse), inverse, len(inverse)):
        raise np.linalg.LinAlgError("the factor has a zero on its diagonal")
    return inverse


def pivots(matrix: Matrix, tolerance: float) -> Matrix:
    """Rows of a symmetric positive semi-definite matrix that all other rows depend on.

    A pivoted Cholesky factorisation: the row with the largest remaining variance is next, until no row has
    more than ``tolerance``: ``d k^2`` operations for k rows.

    Args:
        matrix: Shape ``(d, d)``.
        tolerance: Remaining variance that counts as zero; positive.

    Returns:
        Their indices, shape ``(k,)``.

    Example:
        >>> pivots(np.array([[1.0, 2.0], [2.0, 4.0]]), 1e-9)
        array([1])
    """
    d = len(matrix)
    factor = np.array(matrix, order="C")
    order, rank, work = np.empty(d, dtype=np.intc), np.zeros(1, dtype=np.intc), np.empty(2 * d)
    _call("dpstrf", b"L", d, factor, d, order, rank, np.array([tolerance]), work)
    chosen: Matrix = order[: rank[0]].astype(np.intp) - 1
    return chosen


def _call(name: str, *arguments: int | bytes | Matrix) -> int:
    """Call a routine, all of whose arguments are addresses; the last, INFO, is 0 on success."""
    info = ctypes.c_int()
    passed: list[Any] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            passed.append(argument.ctypes.data_as(ctypes.c_void_p))
        elif isinstance(argument, bytes):
            passed.append(ctypes.c_char_p(argument))
        else:
            passed.append(ctypes.byref(ctypes.c_int(argument)))
    _ROUTINES[name](*passed, ctypes.byref(info))
    return info.value


def _routine(name: str) -> Any:
    """The routine as a function without types, at the address that scipy was linked with."""
    capsule = LowLevelCallable.from_cython(cython_lapack, name).function
    python = ctypes.pythonapi
    python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = python.PyCapsule_GetPointer(capsule, python.PyCapsule_GetName(capsule))
    return ctypes.CFUNCTYPE(None)(address)


_ROUTINES = {name: _routine(name) for name in ("dpotrf", "dpstrf", "dsygvd", "dtrtri", "dtrtrs")}
