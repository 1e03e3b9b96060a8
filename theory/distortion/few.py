"""Few alternatives: where Borda is minimax optimal for a law of pairs, and the audit of two in closed form. Ours.

φ(z) = σ(βz) − ½, B = φ(1). Borda's worst case K*(β) needs an opponent that is neither the winner nor the best
alternative; the more often these two are compared with each other, the less it can lose. Proofs:
`paper/sections/distortion_few_proofs.tex`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import beta as beta_law

from theory.distortion.factors import linear_factor
from theory.numerics import centred_sigmoid, logistic_density
from theory.validate import Array, check_between, check_bt_beta, check_finite, check_whole

#: Grid on which a maximum over (0, 1) is bracketed before it is refined.
GRID = np.linspace(0.0, 1.0, 2001)
#: Below this bt_beta the series of φ gives ten digits, and what cancels in its differences fewer.
FAINT = 0.05
#: Rounding of a margin: a few units of a win rate of order one.
ROUNDING = 1e-15
#: β times a utility at which φ is ½ to float64.
FARTHEST = 80.0
#: Most comparisons that `comparisons_needed` looks at.
MOST_COMPARISONS = 10**12


def largest_at(function: Callable[[Array], Array], low: float, high: float) -> tuple[float, float]:
    """Where a smooth function of an array is largest on [low, high], and its maximum: the best of a grid, refined
    between its neighbours."""
    z = low + (high - low) * GRID
    values = function(z)
    best = int(np.argmax(values))
    bounds = (float(z[max(0, best - 1)]), float(z[min(z.size - 1, best + 1)]))
    loss = lambda x: -float(function(np.asarray(x)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12})
    return float(found.x), max(float(values[best]), -float(found.fun))


def _largest(function: Callable[[Array], Array], low: float = 1e-6, high: float = 1.0 - 1e-6) -> float:
    return largest_at(function, low, high)[1]


def minimax_mass(bt_beta: float) -> float:
    """m*(β) = sup_z (φ(z) − Bz)/(φ(z) + φ(1−z) − B): the mass on winner and best that makes Borda minimax optimal.

    With m = μ(a) + μ(c) for Borda's winner c under the law μ and the best alternative a, u(a) ≤ L(β) u(c) is
    guaranteed if and only if m ≥ m*(β). Uniform pairs have m = 2/A: enough at A = 2, at A = 3 for β ≤ 5.8254.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        In (½, 1).

    Raises
    ------
    ValueError
        bt_beta is not a finite number > 0.

    References
    ----------
    Ours; proof in paper/sections/distortion_few_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import minimax_mass
    >>> [round(minimax_mass(beta), 3) for beta in (1.0, 2.0, 5.0, 10.0)]
    [0.645, 0.589, 0.622, 0.8]
    """
    beta = check_bt_beta(bt_beta)
    if beta < FAINT:  # the series of φ: its linear part cancels, and β³z(1 − z)/48 is common to both sides
        square = beta * beta

        def faint(z: Array) -> Array:
            mixed = square * (1 - z + z * z)
            won = 1 - square * (1 + z * z) / 10 + 17 * square**2 * (1 + z**2 + z**4) / 1680
            return (1 + z) * won / (3 - mixed / 2 + 17 * mixed**2 / 240)

        return _largest(faint, 0.0, 1.0)
    B = float(centred_sigmoid(beta))

    def needed(z: Array) -> Array:
        near, far = centred_sigmoid(beta * z), centred_sigmoid(beta * (1.0 - z))
        return (near - B * z) / (near + far - B)

    # the limits z → 0 and z → 1, by the slopes φ′(0) = β/4 and φ′(1)
    first, last = 0.25 * beta, beta * (0.5 - B) * (0.5 + B)
    return max(_largest(needed), (first - B) / (first - last), (B - last) / (first - last))


def minimax_beta(n_alternatives: int = 3) -> float:
    """The largest β at which Borda with uniform pairs loses L(β) and no more: 5.8254 at A = 3.

    Parameters
    ----------
    n_alternatives : int
        A ≥ 2.

    Returns
    -------
    float
        inf at A = 2; 0 for A ≥ 4, where there is none: m* > ½ ≥ 2/A.

    Raises
    ------
    ValueError
        n_alternatives < 2.

    References
    ----------
    Ours; proof in paper/sections/distortion_few_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import minimax_beta
    >>> round(minimax_beta(3), 4)
    5.8254
    """
    size = check_whole("n_alternatives", n_alternatives, least=2)
    if size != 3:
        return math.inf if size == 2 else 0.0
    return float(brentq(lambda beta: minimax_mass(beta) - 2.0 / 3.0, 3.0, 9.0, xtol=1e-10))


def uniform_borda_factor(bt_beta: float, n_alternatives: int) -> float:
    """What Borda loses with uniform pairs over A alternatives, all but winner and best clones of each other.

    K(β, A) = max(L, max_z L + α(z)(z − h(z)/B)), h = mφ(z) + (1−m)(B − φ(1−z)), m = 2/A and
    α = φ′(0)/((1 − 1/A)B + (φ(z) + φ(1−z))/A); from L at A = 2 to K*(β) as A → ∞. For A ≥ 4 a lower bound of Borda's
    worst case, and equal to it as far as linear programs over clones show.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    n_alternatives : int
        A ≥ 2.

    Returns
    -------
    float
        Between L(β) and K*(β).

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_few_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import uniform_borda_factor
    >>> [round(uniform_borda_factor(10.0, A), 3) for A in (2, 3, 4, 20)]
    [5.0, 5.257, 5.762, 7.477]
    """
    beta = check_bt_beta(bt_beta)
    n_alternatives = check_whole("n_alternatives", n_alternatives, least=2)
    if beta < 1e-8:  # what is lost beyond L is of order β²
        return linear_factor(beta)
    B, each = float(centred_sigmoid(beta)), 1.0 / n_alternatives

    def gain(z: Array) -> Array:
        near, far = centred_sigmoid(beta * z), centred_sigmoid(beta * (1.0 - z))
        held = 2.0 * each * near + (1.0 - 2.0 * each) * (B - far)
        return 0.25 * beta * (z - held / B) / ((1.0 - each) * B + each * (near + far))

    return linear_factor(beta) + _largest(gain, 0.0, 1.0)  # at either end it is 0


def audit_pair(margin: float, bt_beta: float) -> float:
    """The worst distortion of choosing x where P(x≻y) = ½ + margin is all that is known.

    sup over populations = max(1, max_e (φ(e) − m)/(e(B + m))), m the margin, with types (x, y) = (0, 1) and (e, 0).

    Parameters
    ----------
    margin : float
        m in [−B, B], B = σ(β) − ½: beyond, no population answers so.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        L(β) at m = 0; inf for m < 0, where x may be worth nothing.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_few_proofs.tex. `audit` is its general form.

    Examples
    --------
    >>> from theory.distortion import audit_pair
    >>> [round(audit_pair(margin, 5.0), 4) for margin in (0.0, 0.02, 0.1)]
    [2.5339, 2.0698, 1.2229]
    """
    beta, margin = check_bt_beta(bt_beta), check_finite("margin", margin)
    B = float(centred_sigmoid(beta))
    if not abs(margin) <= B + ROUNDING:
        raise ValueError(f"margin = {margin} must be within ±{B:.6g}, what users of bt_beta = {beta:g} can show")
    if margin < 0.0:
        return math.inf
    if margin == 0.0:
        return linear_factor(beta)
    # (φ(e) − m)/e is largest where it equals φ′(e), or at e = 1; z = βe
    top = min(beta, FARTHEST)
    miss = lambda z: float(centred_sigmoid(z) - z * logistic_density(z)) - margin
    if miss(top) <= 0.0:
        return max(1.0, (B - margin) / (B + margin))
    z = float(brentq(miss, 0.0, top, xtol=1e-12, rtol=1e-15))
    return max(1.0, beta * float(logistic_density(z)) / (B + margin))


def safe_margin(distortion: float, bt_beta: float) -> float:
    """The margin of P(x≻y) over ½ from which choosing x has at most this distortion: the inverse of `audit_pair`.

    Parameters
    ----------
    distortion : float
        > 1.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.

    Returns
    -------
    float
        0 from L(β) up.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Ours; proof in paper/sections/distortion_few_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import safe_margin
    >>> round(safe_margin(2.0, 5.0), 4)
    0.0245
    """
    beta, distortion = check_bt_beta(bt_beta), check_finite("distortion", distortion)
    if not distortion > 1.0:
        raise ValueError(f"distortion = {distortion} must be > 1")
    if distortion >= linear_factor(beta):
        return 0.0
    top = float(centred_sigmoid(beta))
    return float(brentq(lambda margin: audit_pair(margin, beta) - distortion, 0.0, top, xtol=1e-300))


def comparisons_needed(distortion: float, win_rate: float, bt_beta: float, confidence: float = 0.95) -> int:
    """Comparisons of x with y, won at this rate, that show "choosing x has at most this distortion".

    The smallest n at which ⌈n·win_rate⌉ wins have a one-sided Clopper–Pearson bound of at least ½ + `safe_margin`.

    Parameters
    ----------
    distortion : float
        > 1.
    win_rate : float
        Above ½ + `safe_margin`, at most 1.
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    confidence : float
        In (0, 1).

    Returns
    -------
    int

    Raises
    ------
    ValueError
        An argument out of range, or a win rate that shows nothing however often it is seen.

    References
    ----------
    Clopper, Pearson (1934) for the bound; the margin is ours.

    Examples
    --------
    >>> from theory.distortion import comparisons_needed
    >>> comparisons_needed(2.0, 0.6, 5.0), comparisons_needed(2.0, 0.53, 5.0)
    (112, 22468)
    """
    confidence, win_rate = check_between("confidence", confidence, ends="()"), check_finite("win_rate", win_rate)
    needed = 0.5 + safe_margin(distortion, bt_beta)
    if not needed < win_rate <= 1.0:
        raise ValueError(f"win_rate = {win_rate} must be in ({needed:.6g}, 1] to show a distortion of {distortion:g}")

    # rounding up to whole wins adds less than one and is not monotone in n: look at all n between the two
    low, high = (_first_bound(needed, win_rate, more, confidence) for more in (1.0, 0.0))
    sizes = np.arange(low, high + 1)
    wins = np.ceil(sizes * win_rate - 1e-9)
    return int(sizes[beta_law.ppf(1.0 - confidence, wins, sizes - wins + 1) >= needed][0])


def _first_bound(needed: float, win_rate: float, more: float, confidence: float) -> int:
    """The smallest n at which n·win_rate + more wins, not rounded, have a bound of at least `needed`."""

    def shows(n: int) -> bool:
        wins = min(n * win_rate + more, n)
        return bool(beta_law.ppf(1.0 - confidence, wins, n - wins + 1) >= needed)

    high = 1
    while not shows(high):
        if high > MOST_COMPARISONS:
            raise ValueError(f"win_rate = {win_rate} is too close to {needed!r}: more than {MOST_COMPARISONS} needed")
        high *= 2
    between = range(high // 2 + 1, high)
    return between.start + bisect_left(between, True, key=shows)
