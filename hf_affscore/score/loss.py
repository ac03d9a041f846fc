"""The score under the identity coupling as a differentiable function, for training with it.

Row i of T(X) is compared with row i of Y: nothing is assigned, so the value is smooth in both. It is a lower
bound of :func:`hf_affscore.affinity_score`, and equal to it where that coupling is optimal, as in most wide
layers.

The derivative of the map needs no derivative of an eigendecomposition. A solves ``A Cx A = Cy``, hence

    dA Cx A + A Cx dA = dCy - A dCx A

With A = B diag(1/s) B^T, B B^T = Cy and B^T Cx B = diag(s)^2 (:class:`~hf_affscore.score.gaussian.LinearMap`)
the columns of B are eigenvectors of A Cx, with eigenvalues s. For dA = B E B^T this leaves

    E_ij = K_ij / (s_i + s_j),    K = B^-1 dCy B^-T - diag(1/s) B^T dCx B diag(1/s)

The denominators are sums of positive numbers, never differences, so equal eigenvalues need no special case.

This module imports torch; ``hf_affscore.score`` does not import it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_affscore.errors import InputError
from hf_affscore.score.affinity import check_regularization
from hf_affscore.score.arrays import as_row_pair, defect
from hf_affscore.score.gaussian import RELATIVE_RIDGE, Gaussian, Regularization
from hf_affscore.score.sample import Sample
from hf_affscore.spelling import checked_keywords


@checked_keywords()
def affinity_loss(pre: Tensor, post: Tensor, *, regularization: Regularization = 1e-6) -> Tensor:
    """The affinity score of paired rows, as a tensor to differentiate.

    This is the *score*: 1 is affine. To minimise it makes an activation less linear; to minimise
    ``1 - affinity_loss(pre, post)`` makes it more linear.

    Args:
        pre: What went into the activation: shape ``(n, d)``, rows are samples, or ``(n,)`` for one feature; of
            any floating point precision, on any device that has float64. Pool other axes first:
            ``x.mean((-2, -1))`` for ``(n, channels, height, width)``.
        post: What came out, in the same shape and order.
        regularization: Ridge added to both covariances, in squared units of the activations;
            ``"relative"`` takes 1e-6 of each side's mean variance, so that units do not matter.

    Returns:
        A tensor without axes, in the precision of the inputs; computed in float64. It equals
        ``affinity(pre, post).identity_coupling_score``. Constant outputs give 1, with gradient 0. Second
        derivatives are not available: ``create_graph=True`` is an error.

    Raises:
        InputError: The inputs are no floating point tensors of one shape ``(n, d)``, there are fewer than two
            rows, or entries are no finite numbers.

    Example:
        >>> x = torch.linspace(-1, 1, 1000, requires_grad=True)
        >>> score = affinity_loss(x, x**3)
        >>> score.backward()
        >>> round(score.item(), 4), x.grad.shape
        (0.7112, torch.Size([1000]))
    """
    _check(pre, post)
    check_regularization(regularization)
    source, target = (Sample(rows if rows.ndim == 2 else rows[:, None]).centred for rows in (pre, post))
    n, d = target.shape
    ridges = [_ridge(rows, regularization) for rows in (source, target)]
    total = target.square().sum() / (n - 1) + ridges[1] * d
    if regularization != "relative" and total <= 2 * ridges[1] * d:  # constant, as in affinity.solve
        residual = source * 0 - target  # the map is zero
    else:
        source, target = _within_their_span(source, target)
        residual = source @ _map(source, target, *ridges) - target
    spread = (2 * n * total).sqrt() if total > 0 else 1.0
    # Its slope at 0 is 0, that of a square root infinite.
    score: Tensor = 1 - torch.linalg.vector_norm(residual) / spread
    return score.to(torch.promote_types(pre.dtype, post.dtype))


def _check(pre: Tensor, post: Tensor) -> None:
    for name, rows in (("pre", pre), ("post", post)):
        if not isinstance(rows, Tensor) or not rows.is_floating_point():
            received = rows.dtype if isinstance(rows, Tensor) else type(rows).__name__
            raise InputError(
                f"{name} is {received}; expected a floating point torch tensor. "
                "For numpy arrays, or without gradients, use affinity_score."
            )
    reason = defect(*as_row_pair(pre, post))
    if reason is not None:
        raise InputError(f"No affinity loss: {reason}. Look at what the step before produced.")


def _ridge(rows: Tensor, regularization: Regularization) -> Tensor:
    """What is added to every variance; it follows centred rows where it is relative to their variance."""
    if regularization == "relative":
        return RELATIVE_RIDGE * rows.square().sum() / ((len(rows) - 1) * rows.shape[1])
    return rows.new_tensor(regularization)


def _within_their_span(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in coordinates of a space that holds all their rows, where that is smaller than theirs.

    The basis is a constant: the score depends on products of rows only, and a step out of the space changes
    these in second order.
    """
    n, d = source.shape
    if d <= 2 * n:
        return source, target
    basis = torch.linalg.qr(torch.vstack([source, target]).detach().T)[0]
    return source @ basis, target @ basis


def _map(source: Tensor, target: Tensor, *ridges: Tensor) -> Tensor:
    """The matrix of the transport map between the Gaussians with these centred rows, differentiable."""
    weight = 1 / (len(source) - 1)
    pre, post = (
        Gaussian(Sample(rows.detach()), weight, float(ridge.detach()))
        for rows, ridge in zip((source, target), ridges, strict=True)
    )
    found = pre.affine_map_to(post)
    covariances = (
        weight * rows.T @ rows + ridge * torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
        for rows, ridge in zip((source, target), ridges, strict=True)
    )
    matrix: Tensor = _TransportMap.apply(*covariances, found.matrix, found.basis, found.spectrum)
    return matrix


class _TransportMap(torch.autograd.Function):
    """``matrix``, as the solution A of ``A @ source @ A == target``; its derivative as above."""

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, target: Tensor, matrix: Tensor, basis: Tensor, spectrum: Tensor
    ) -> Tensor:
        ctx.save_for_backward(source, basis, spectrum)
        return matrix.view_as(matrix)  # autograd wants an output that is not one of the inputs

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        # once_differentiable does not do: autograd.grad of the gradient would not pass its error, and be wrong.
        if torch.is_grad_enabled():
            raise InputError(
                "affinity_loss has no second derivatives; expected backward() or grad() without create_graph. "
                "Keep it out of gradient penalties and second-order optimisers."
            )
        source, basis, spectrum = ctx.saved_tensors
        inner = basis.T @ slope @ basis / (spectrum[:, None] + spectrum)
        before = basis / spectrum
        after = source @ basis / spectrum**2  # B^-T
        return -before @ inner @ before.T, after @ inner @ after.T, None, None, None
