"""Ties: who shares the win when scores are equal, decided with a stated tolerance."""

from __future__ import annotations

from numpy.typing import ArrayLike

from theory.validate import Array, as_vector, check_nonnegative

#: Scores closer than this to the best are ties: a few rounding errors of a mean of numbers in [0, 1].
TIE_TOLERANCE = 1e-14


def winners(scores: ArrayLike, tie_tolerance: float = TIE_TOLERANCE) -> Array:
    """The policy that splits its mass evenly over the alternatives of highest score.

    Parameters
    ----------
    scores : array_like, (A,)
        Finite.
    tie_tolerance : float
        Scores this close to the best share the win.

    Returns
    -------
    ndarray, (A,)
        The policy.

    Raises
    ------
    ValueError
        Scores that are not finite, a negative tolerance.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.social_choice import winners
    >>> winners([1.0, 3.0, 3.0])
    array([0. , 0.5, 0.5])
    """
    s = as_vector("scores", scores)
    best: Array = (s >= s.max() - check_nonnegative("tie_tolerance", tie_tolerance)).astype(float)
    return best / float(best.sum())
