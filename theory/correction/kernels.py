"""Correction kernels: what is accepted as one, and the operations that dense and sparse kernels share.

A corrector is a Markov kernel K(c|o): row o is the law of the correction of answer o. It is an array (O, C), or any
scipy.sparse matrix or array of that shape; both go through the same functions. Nothing is repaired: a row that does
not sum to one is an error that names the row.

Shapes: O original answers, C corrections (O = C = A where answers and corrections share one space), N entries > 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from scipy.special import xlogy

from theory.validate import SUM_TOLERANCE, Array, as_indices, as_numbers, check_distribution, check_whole

Index = NDArray[np.int64]
#: What functions take: an (O, C) array-like, or anything of scipy.sparse. Checked, it is an Array or a csr_array.
Kernel = Any


def check_kernel(kernel: Kernel, *, name: str = "kernel", square: bool = False) -> Kernel:
    """A Markov kernel as a float64 array (O, C), or as a csr_array without duplicates and stored zeros.

    Sparse input in coordinate form may list an entry several times: they add up, as scipy means them to.
    ValueError: not two-dimensional or empty, not square where `square`, an entry that is not finite or negative, a
    row that does not sum to 1 within `SUM_TOLERANCE`.
    """
    sparse = issparse(kernel)
    K: Kernel = _canonical(kernel, name) if sparse else as_numbers(name, kernel)
    if K.ndim != 2 or 0 in K.shape:
        raise ValueError(f"{name} must be a non-empty matrix, one row per original answer, got shape {K.shape}")
    if square and K.shape[0] != K.shape[1]:
        raise ValueError(f"{name} must be square, answers and corrections in one space, got shape {K.shape}")
    values: Array = K.data if sparse else K.ravel()
    for problem, bad in (("not finite", ~np.isfinite(values)), ("negative", values < 0)):
        if bad.any():
            first = int(bad.argmax())
            o, c = _place(K, first)
            raise ValueError(f"{name}[{o}, {c}] = {values[first]} is {problem}")
    excess = np.abs(np.asarray(K.sum(axis=1)).ravel() - 1.0)
    if excess.max() > SUM_TOLERANCE:
        o = int(excess.argmax())
        raise ValueError(f"{name} row {o} sums to {float(K[[o]].sum())!r}, not to 1")
    return K


def _canonical(kernel: Kernel, name: str) -> csr_array:
    """A csr_array of our own: float64, sorted, duplicates added up, stored zeros left out."""
    if len(kernel.shape) != 2:
        raise ValueError(f"{name} must be a non-empty matrix, one row per original answer, got shape {kernel.shape}")
    K = csr_array(kernel, dtype=np.float64, copy=True)
    K.sum_duplicates()
    K.eliminate_zeros()
    return K


def _place(K: Kernel, position: int) -> tuple[int, int]:
    """Row and column of the entry at a position of K.data (sparse) or of K.ravel() (dense)."""
    if issparse(K):
        return int(np.searchsorted(K.indptr, position, side="right")) - 1, int(K.indices[position])
    return divmod(int(position), K.shape[1])


def check_pair(policy: ArrayLike, kernel: Kernel, *, square: bool = False) -> tuple[Array, Kernel]:
    """An upstream law (O,) and a kernel with as many rows."""
    K = check_kernel(kernel, square=square)
    return check_distribution("policy", policy, K.shape[0]), K


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries > 0 of a kernel: original (N,), correction (N,), probability (N,)."""

    original: Index
    correction: Index
    probability: Array


def entries(kernel: Kernel) -> Entries:
    """The positive entries of a checked kernel, row by row."""
    if issparse(kernel):
        rows = np.repeat(np.arange(kernel.shape[0]), np.diff(kernel.indptr))
        return Entries(rows, kernel.indices.astype(np.int64), kernel.data)
    rows, columns = np.nonzero(kernel)
    return Entries(rows, columns, kernel[rows, columns])


def values_at(kernel: Kernel, original: Index, correction: Index) -> Array:
    """kernel[original, correction] as a vector (N,), for dense and sparse kernels alike."""
    found = kernel[original, correction]
    return np.asarray(found.todense() if issparse(found) else found, dtype=np.float64).ravel()


def dense(kernel: Kernel) -> Array:
    """A checked kernel as an array (O, C)."""
    return np.asarray(kernel.toarray() if issparse(kernel) else kernel)


def diagonal(kernel: Kernel) -> Array:
    """K(o|o) (A,): how often each answer is copied."""
    return np.asarray(kernel.diagonal(), dtype=np.float64)


def row_entropies(kernel: Kernel) -> Array:
    """H(K(·|o)) (O,), nats, of a checked kernel."""
    e = entries(kernel)
    terms = xlogy(e.probability, e.probability)
    sums = np.bincount(e.original, weights=terms, minlength=kernel.shape[0])
    return np.asarray(0.0 - sums, dtype=np.float64)  # 0 − 0 is not −0


def empirical_kernel(n_answers: int, originals: ArrayLike, corrections: ArrayLike) -> csr_array:
    """The maximum-likelihood corrector of N pairs (original, correction): shares of the corrections seen.

    Parameters
    ----------
    n_answers : int
        A.
    originals, corrections : array_like, (N,)
        Indices of answers, N ≥ 1.

    Returns
    -------
    csr_array, (A, A)
        Row o is the law of the corrections of o.

    Raises
    ------
    ValueError
        No pair, an index outside 0 … A − 1, vectors of different length, an answer that no pair starts from (its row is
        not determined by the data, and is not made up here).

    References
    ----------
    Ji et al. (arXiv 2402.02416): the loss whose minimiser it is.

    Examples
    --------
    >>> from theory.correction import empirical_kernel
    >>> empirical_kernel(2, [0, 1, 1], [0, 0, 1]).toarray()
    array([[1. , 0. ],
           [0.5, 0.5]])
    """
    n_answers = check_whole("n_answers", n_answers, 1, 2**31 - 1)
    o, c = _answers("originals", n_answers, originals), _answers("corrections", n_answers, corrections)
    if o.size != c.size:
        raise ValueError(f"originals and corrections must pair up, got {o.size} and {c.size}")
    seen, counts = np.unique(o, return_counts=True)
    if seen.size < n_answers:
        unseen = int(np.append(seen != np.arange(seen.size), True).argmax())
        raise ValueError(f"originals: answer {unseen} has no correction, its row of the kernel is not determined")
    return check_kernel(csr_array((1.0 / counts[o], (o, c)), shape=(n_answers, n_answers)))


def _answers(name: str, n_answers: int, values: ArrayLike) -> Index:
    array = as_indices(name, values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} is empty or not a vector (shape {array.shape}): there is nothing to learn from")
    outside = np.flatnonzero((array < 0) | (array >= n_answers))
    if outside.size:
        raise ValueError(f"{name}[{outside[0]}] = {array[outside[0]]} is not one of 0 … {n_answers - 1}")
    return array
