"""From feedback to scores: what PRO and DPO are told about the responses to one prompt.

A prompt has A responses. Its data are summarised by one table: the empirical law of the labelled responses and one
score each,

    μ̂(y)   share of the observations that show y; its support is the labelled set
    ŝ(y)   how much better than the average of the data y is, E_μ̂ ŝ = 0
    w(y)   = μ̂(y)·ŝ(y), the signal: the only thing the loss reads, Σ w = 0

whatever the kind of feedback. All labels of a prompt share one table. Averaging one-pair losses instead is another
objective: two disjoint pairs give w = ±1/32 per response in the table, ±1/16 in the average.

Source: Guo, Li, Chen (arXiv 2505.23316), sections 3 and 4. Shapes: A responses, N observations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.numerics import log1mexp
from theory.validate import (
    LARGEST_TABLE,
    SUM_TOLERANCE,
    Array,
    as_indices,
    as_vector,
    check_between,
    check_distribution,
    check_squares,
    check_whole,
    check_win_rates,
)

Index = NDArray[np.int64]
#: What a score of 0 may be by rounding, relative to the largest feedback.
ROUNDING = 1e-13


def empirical_scores(n_responses: int, pairs: ArrayLike) -> tuple[Array, Array]:
    """Scores and empirical law of pairwise feedback: ŝ(y) = Σ_{y'} μ̂(y')·(p̂(y≻y') − ½).

    μ̂(y) is the share of the 2N places that y holds; p̂(y≻y') the share of their comparisons that y won, and ½ for
    pairs never compared. E_μ̂ ŝ = 0, since p̂ − ½ is antisymmetric (P2). Time and memory are linear in N and A.

    Parameters
    ----------
    n_responses : int
        A.
    pairs : array_like, (N, 2)
        Rows (winner, loser) of indices, N ≥ 1.

    Returns
    -------
    scores, empirical : ndarray, (A,)
        ŝ in [−½, ½] and the law μ̂.

    Raises
    ------
    ValueError
        An index outside 0 … A − 1, a response compared with itself, no pair.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), section 3.

    Examples
    --------
    >>> from theory.proximal import empirical_scores
    >>> empirical_scores(3, [(0, 1)])
    (array([ 0.25, -0.25,  0.  ]), array([0.5, 0.5, 0. ]))
    """
    table, n_responses = check_pairs(n_responses, pairs), int(n_responses)
    empirical = np.bincount(table.ravel(), minlength=n_responses) / table.size
    # one entry per unordered pair that was compared: how often, and how often its first response won
    low, high = table.min(axis=1), table.max(axis=1)
    keys, place = np.unique(low * n_responses + high, return_inverse=True)
    met = np.bincount(place)
    margin = np.bincount(place, weights=table[:, 0] == low) / met - 0.5
    first, second = np.divmod(keys, n_responses)
    scores = np.zeros(n_responses)
    np.add.at(scores, first, empirical[second] * margin)
    np.subtract.at(scores, second, empirical[first] * margin)
    return _without_rounding(scores, 0.5), empirical


def feedback_scores(n_responses: int, responses: ArrayLike, feedback: ArrayLike) -> tuple[Array, Array]:
    """Scores and empirical law of binary or scalar feedback: the feedback of y minus the mean of all feedback.

    Parameters
    ----------
    n_responses : int
        A.
    responses : array_like, (N,)
        The response of each observation, an index.
    feedback : array_like, (N,)
        Finite numbers; binary feedback is any two of them, {0, 1} or ±½.

    Returns
    -------
    scores, empirical : ndarray, (A,)
        ŝ(y), the mean of feedback − sample mean over the observations of y (0 for an unlabelled one), and μ̂(y), their
        share.

    Raises
    ------
    ValueError
        An index outside 0 … A − 1, vectors of different length, no observation.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), section 4.

    Examples
    --------
    >>> from theory.proximal import feedback_scores
    >>> feedback_scores(3, [0, 0, 1, 1], [1, 1, 1, 0])
    (array([ 0.25, -0.25,  0.  ]), array([0.5, 0.5, 0. ]))
    """
    places, n_responses = check_indices("responses", n_responses, responses), int(n_responses)
    if places.ndim != 1 or places.size == 0:
        raise ValueError(f"responses must be a non-empty vector, got shape {places.shape}")
    values = check_squares("feedback", as_vector("feedback", feedback, places.size))
    values = values - values.min()  # rounding is of what feedback differs by
    counts = np.bincount(places, minlength=n_responses)
    totals = np.bincount(places, weights=values - values.mean(), minlength=n_responses)
    return _without_rounding(totals / np.maximum(counts, 1), float(np.abs(values).max())), counts / places.size


def _without_rounding(scores: Array, largest: float) -> Array:
    """0 for what rounding leaves of 0: of responses that are all equally good it would be the whole signal."""
    return np.where(np.abs(scores) <= ROUNDING * largest, 0.0, scores)


def population_scores(win_rates: ArrayLike, mu: ArrayLike) -> Array:
    """Scores s(y) = Σ_{y'} μ(y') P(y≻y') − ½ of the population: Borda scores, centred, E_μ s = 0.

    Parameters
    ----------
    win_rates : array_like, (A, A)
        P(x≻y), with P(x≻y) + P(y≻x) = 1.
    mu : array_like, (A,)
        Law of the responses that are compared.

    Returns
    -------
    ndarray, (A,)
        In [−½, ½].

    Raises
    ------
    ValueError
        What is not a table of win rates or not a law.

    References
    ----------
    Guo, Li, Chen (arXiv 2505.23316), section 3.1.

    Examples
    --------
    >>> from theory.proximal import population_scores
    >>> population_scores([[0.5, 0.75], [0.25, 0.5]], [0.5, 0.5])
    array([ 0.125, -0.125])
    """
    P = check_win_rates(win_rates)
    return (P - 0.5) @ check_distribution("mu", mu, P.shape[0])


def signal_of(scores: ArrayLike, empirical: ArrayLike) -> Array:
    """w = μ̂·ŝ (A,), checked: Σ w = E_μ̂ ŝ must be 0 within 1e-9 of Σ|w|, or ValueError states it."""
    s = as_vector("scores", scores)
    w = s * check_distribution("empirical", empirical, s.size)
    return check_signal("scores", w)


def check_signal(name: str, signal: ArrayLike) -> Array:
    """A vector w with Σ w = 0 (within `SUM_TOLERANCE` of Σ|w|): else the loss falls without end under shifts of r."""
    w = as_vector(name, signal)
    total = float(w.sum())
    if abs(total) > SUM_TOLERANCE * float(np.abs(w).sum()):
        raise ValueError(f"{name} have mean {total!r} under the empirical law, not 0: centre them first")
    return w


def mixture_weights(empirical: ArrayLike, share: float, rest: ArrayLike) -> Array:
    """The law of the regulariser, μ = η·μ̂ + (1 − η)·ρ, (A,) (Theorem 4.3).

    share  η ∈ (0, 1];  rest  ρ (A,), a law on the unlabelled responses (a point mass where H is one response).
    """
    eta = check_between("share", share, ends="(]")
    p = check_distribution("empirical", empirical)
    return eta * p + (1.0 - eta) * check_distribution("rest", rest, p.size)


def check_pairs(n_responses: int, pairs: ArrayLike) -> Index:
    """(N, 2) indices (winner, loser) of different responses, N ≥ 1; ValueError names the first bad row."""
    table = check_indices("pairs", n_responses, pairs)
    if table.ndim != 2 or table.shape[1] != 2 or table.shape[0] == 0:
        raise ValueError(f"pairs must be (N, 2) rows (winner, loser), got shape {table.shape}")
    same = np.flatnonzero(table[:, 0] == table[:, 1])
    if same.size:
        raise ValueError(f"pairs[{same[0]}] compares response {table[same[0], 0]} with itself")
    return table


def check_indices(name: str, n_responses: int, values: ArrayLike) -> Index:
    """Integers in 0 … n_responses − 1, any shape; ValueError names the first that is not."""
    n_responses = check_whole("n_responses", n_responses, 1, LARGEST_TABLE)
    array = as_indices(name, values)
    outside = np.argwhere((array < 0) | (array >= n_responses))
    if outside.size:
        place = tuple(int(i) for i in outside[0])
        raise ValueError(f"{name}{list(place)} = {array[place]} is not one of 0 … {n_responses - 1}")
    return array


# The hyper response: all unlabelled responses as one.


def log_remaining_mass(name: str, log_probabilities: ArrayLike) -> float:
    """log(1 − Σ p) in nats for p given by logarithms; ValueError unless Σ p < 1, some mass being left."""
    logs = as_vector(name, log_probabilities)
    total = float(np.logaddexp.reduce(logs))
    if total >= 0.0:
        raise ValueError(f"{name}: the probabilities sum to exp({total!r}), which leaves nothing to H")
    return float(log1mexp(total))
