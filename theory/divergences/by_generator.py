"""D_f(p‖q) on tables, for a generator by name, a `Generator`, or a user's own f."""

from __future__ import annotations

from numpy.typing import ArrayLike

from theory.divergences.custom_generator import custom
from theory.divergences.generators import (
    ALIASES,
    GENERATORS,
    Elementwise,
    Generator,
    alpha_divergence,
    divergence_of_masses,
)
from theory.validate import check_laws


def f_divergence(p: ArrayLike, q: ArrayLike, generator: str | Generator | Elementwise) -> float:
    """D_f(p‖q) = Σ_{p,q>0} q f(p/q) + f(0)·q(p = 0) + f'(∞)·p(q = 0).

    Parameters
    ----------
    p, q : array_like, (A,)
        Laws.
    generator : str, Generator or callable
        A name of `GENERATORS`, "alpha:0.5", a `Generator`, or f itself (made a generator, and checked, by `custom`).

    Returns
    -------
    float
        In the unit of f (nats for the KL family); an infinite value names the outcome (`Infinite`).

    Raises
    ------
    ValueError
        What is not a law or not a generator; a user's generator whose f(0) or f'(∞) is needed but was not stated.

    References
    ----------
    Csiszár (1967); generators and conjugates as in Haldar, Wang, Song, Lin, Xing (arXiv 2502.00657), section 4.

    Examples
    --------
    >>> from theory.divergences import f_divergence
    >>> p, q = [0.75, 0.25], [0.25, 0.75]
    >>> f_divergence(p, q, "total_variation"), f_divergence(p, q, lambda u: 0.5 * abs(u - 1))
    (0.5, 0.5)
    """
    return divergence_of_masses(*check_laws(p, q), resolve(generator))


def resolve(generator: str | Generator | Elementwise) -> Generator:
    """The `Generator` that a name, a generator or a callable stands for; ValueError lists the names there are."""
    if isinstance(generator, Generator):
        return generator
    if callable(generator):
        return custom(generator)
    if not isinstance(generator, str):
        raise TypeError(f"generator must be a name, a Generator or a function, got {type(generator).__name__}")
    name = ALIASES.get(generator, generator)
    if name.startswith("alpha:"):
        try:
            alpha = float(name.removeprefix("alpha:"))
        except ValueError:
            raise ValueError(f"generator = {generator!r} must have a number after alpha:") from None
        return alpha_divergence(alpha)
    if name not in GENERATORS:
        raise ValueError(f"no generator {generator!r}; there are {', '.join(GENERATORS)} and alpha:VALUE")
    return GENERATORS[name]
