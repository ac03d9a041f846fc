"""The straightforward road to the same record, to measure against: what one writes with the paper at hand.

Float32 torch, matrix square roots by eigendecomposition, a pseudo-inverse, POT's network simplex, n x n
Gram matrices with centring matrices for CKA, numpy.histogram row by row, scikit-learn for regression and
shrinkage.
"""

from __future__ import annotations

import math

import numpy as np
import ot
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LinearRegression

RIDGE = 1e-6


def square_root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def covariance(rows: torch.Tensor, shrinkage: bool) -> torch.Tensor:
    if shrinkage:
        estimate = torch.from_numpy(ledoit_wolf(rows.numpy())[0].astype(np.float32))
    else:
        estimate = torch.cov(rows.T).reshape(rows.shape[1], rows.shape[1])
    return estimate + RIDGE * torch.eye(rows.shape[1])


def affinity_score(pre: np.ndarray, post: np.ndarray, *, shrinkage: bool = False) -> float:
    x, y = torch.from_numpy(pre).float(), torch.from_numpy(post).float()
    cov_x, cov_y = covariance(x, shrinkage), covariance(y, shrinkage)
    if cov_y.trace() <= 2 * RIDGE * y.shape[1]:
        matrix = torch.zeros_like(cov_y)
    else:
        root_y = square_root(cov_y)
        matrix = root_y @ torch.linalg.pinv(square_root(root_y @ cov_x @ root_y)) @ root_y
    mapped = (x - x.mean(0)) @ matrix + y.mean(0)
    weights = np.full(len(x), 1 / len(x))
    cost = ot.emd2(weights, weights, ot.dist(mapped.numpy(), y.numpy()), numItermax=10_000_000)
    return 1 - math.sqrt(cost) / math.sqrt(2 * float(cov_y.trace()))


def hsic(k: torch.Tensor, m: torch.Tensor) -> float:
    n = len(k)
    centring = torch.eye(n) - torch.ones(n, n) / n
    return float(torch.trace(k @ centring @ m @ centring)) / (n - 1) ** 2


def cka(x: torch.Tensor, y: torch.Tensor) -> float:
    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def entropy(rows: np.ndarray) -> float:
    d = rows.shape[1]
    values = []
    for row in rows:
        counts, _ = np.histogram(row, bins=d)
        shares = counts[counts > 0] / counts.sum()
        values.append(-((shares * np.log(shares)).sum() + math.log(1 / d)))
    return float(np.mean(values))


def record(pre: np.ndarray, post: np.ndarray) -> dict[str, float]:
    """The whole record of one layer from rows of shape ``(n, d)``, float32."""
    x, y = torch.from_numpy(pre).float(), torch.from_numpy(post).float()
    return {
        "affinity_score": affinity_score(pre, post),
        "affinity_score_shrunk": affinity_score(pre, post, shrinkage=True),
        "cka": cka(x, y),
        "r2": LinearRegression().fit(pre, post).score(pre, post),
        "entropy_pre": entropy(pre),
        "entropy_post": entropy(post),
        "norm": float((x - y).norm()),
    }
