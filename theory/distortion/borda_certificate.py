"""Machine check of the exact worst-case distortion of Borda and Copeland: a branch and bound on whole boxes.

With φ(x) = σ(βx) − ½, the upper bound K*(β) of `theory.distortion.factors.borda_factor` follows from one inequality.
For the winner's utility a, the optimum's utility b and a third utility y of the same user,

    F(a, b, y) = b − K a + λ₁[φ(a−y) − φ(b−y)] + λ₂ φ(a−y) ≤ 0   on [0, 1]³,          λ₁, λ₂ ≥ 0.

Averaged over users and over y ~ μ it gives u(b) − K u(a) + λ₁[S(a) − S(b)] + λ₂[S(a) − ½] ≤ 0 for Borda
scores S, and the Borda winner has S(a) ≥ S(b) and S(a) ≥ ½. As φ is odd, the same F reads
b − K a + (λ₁+λ₂) φ(a−y) + λ₁ φ(y−b), which serves Copeland: y is an alternative through which a covers b.

The paper proves F ≤ 0 for every β > 0, by quasiconvexity in y. The check here shares no argument with that
proof beyond φ' ≤ β/4: it evaluates F and the signs of its derivatives on boxes. F = 0 at (0,0,0), (0,1,0) and
(0,1−γ*,1), so no subdivision closes at 0. What is certified is a relaxation, homogeneous in a and b,

    F(a, b, y) ≤ tolerance·(a + b)   on [0, 1]³,    hence   u(b) ≤ (K + tolerance)/(1 − tolerance)·u(a).

Near (0,0,0) this needs signs of derivatives, not values: a box on which F is monotone in a variable is
replaced by the face where F is largest, and at the origin the bound is exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from theory.distortion.audit.boxes import bisect
from theory.distortion.factors import borda_factor, borda_lower_factor, gamma_advantage, optimal_gamma
from theory.numerics import centred_sigmoid, density_range
from theory.solution import GAP_TOLERANCE, CertificateError
from theory.validate import Array, check_bt_beta, check_positive, check_whole

#: Relative rounding margin of every bound, 64 units of 2⁻⁵³: a term takes at most 8 rounded operations and
#: one hyperbolic tangent, for which 4 units in the last place are allowed (numpy's stated bound). A rounded
#: argument changes tanh by no more than its own relative error, and φ' by no more than that times β/4.
ROUNDING = 2.0**-47
#: Boxes after which the check gives up.
MAX_BOXES = 400_000


@dataclass(frozen=True)
class BordaDual:
    """The dual solution at `gamma`: `factor` K and the weights λ₁ of S(a) ≥ S(b) and λ₂ of S(a) ≥ ½."""

    gamma: float
    factor: float
    lambda1: float
    lambda2: float


@dataclass(frozen=True)
class BordaCertificate:
    """Proof that Borda and Copeland have distortion at most `certified_factor` at `bt_beta`.

    bt_beta            users' Bradley–Terry temperature
    dual               K and weights for which F(a, b, y) ≤ tolerance·(a + b) was verified on [0, 1]³
    tolerance          the relaxation above
    supremum_bound     2·tolerance ≥ sup F over [0, 1]³
    certified_factor   (K + tolerance)/(1 − tolerance), rounded up
    boxes              boxes that were bounded
    """

    bt_beta: float
    dual: BordaDual
    tolerance: float
    supremum_bound: float
    certified_factor: float
    boxes: int

    @property
    def factor(self) -> float:
        """K, the factor that was asked for; the certified one is larger by about (1 + K)·tolerance."""
        return self.dual.factor


def borda_dual(bt_beta: float, gamma: float | None = None) -> BordaDual:
    """K = C(β, γ), λ₁ = 1/B and λ₂ = (G/B − γ)/B, with B = σ(β) − ½ and G = σ(βγ) − ½.

    gamma  in [0, 1]; None for γ*(β), the only value for which F ≤ 0 on [0, 1]³. Accurate to 1e-14 relative.
    """
    beta = check_bt_beta(bt_beta)
    B = float(centred_sigmoid(beta))
    if gamma is None:
        return BordaDual(optimal_gamma(beta), borda_factor(beta), 1 / B, gamma_advantage(beta) / B)
    factor = borda_lower_factor(beta, gamma)
    G = float(centred_sigmoid(beta * gamma))
    return BordaDual(gamma, factor, 1 / B, (G / B - gamma) / B)


def certify_borda_factor(
    bt_beta: float,
    tolerance: float = GAP_TOLERANCE,
    *,
    gamma: float | None = None,
    factor: float | None = None,
    max_boxes: int = MAX_BOXES,
) -> BordaCertificate:
    """Prove F(a, b, y) ≤ tolerance·(a + b) on [0, 1]³ by branch and bound: Borda's distortion is then ≤ K up to
    `tolerance`.

    Rounding is included, see `ROUNDING`. It closes for bt_beta from 1e-6 to 1e4 at the default tolerance, in
    milliseconds.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    tolerance : float
        In (0, ½).
    gamma : float, optional
        Another dual parameter than γ* (then no proof exists: K = C(β, γ) < K*).
    factor : float, optional
        Another K than C(β, γ), with the weights unchanged.
    max_boxes : int
        Boxes after which it gives up.

    Returns
    -------
    BordaCertificate
        The dual solution and `certified_factor` = (K + tolerance)/(1 − tolerance), rounded up.

    Raises
    ------
    ValueError
        An argument out of range.
    CertificateError
        Names a witness (a, b, y) of failure, or says that `max_boxes` do not suffice.

    References
    ----------
    Ours; the inequality is that of paper/sections/distortion_proofs.tex.

    Examples
    --------
    >>> from theory.distortion import borda_factor, certify_borda_factor
    >>> certify_borda_factor(5.0).certified_factor - borda_factor(5.0) < 1e-8
    True
    """
    beta = check_bt_beta(bt_beta)
    tolerance = check_positive("tolerance", tolerance)
    if tolerance >= 0.5:
        raise ValueError(f"tolerance = {tolerance} must be below 0.5")
    dual = borda_dual(beta, gamma)
    if factor is not None:
        dual = BordaDual(dual.gamma, check_positive("factor", factor), dual.lambda1, dual.lambda2)
    _require_decreasing_in_winner(beta, dual, tolerance)
    boxes = _bound_face(_Face(beta, dual, tolerance), check_whole("max_boxes", max_boxes))
    relaxed = (dual.factor + tolerance) / (1 - tolerance) * (1 + ROUNDING)
    return BordaCertificate(beta, dual, tolerance, 2 * tolerance, relaxed, boxes)


def _require_decreasing_in_winner(beta: float, dual: BordaDual, tolerance: float) -> None:
    """∂F/∂a − tolerance = −(K + tolerance) + (λ₁+λ₂) φ'(a−y) ≤ 0, as φ' ≤ β/4: the worst a is 0."""
    slope = (dual.lambda1 + dual.lambda2) * beta / 4
    if not slope * (1 + ROUNDING) <= (dual.factor + tolerance) * (1 - ROUNDING):
        raise CertificateError(
            f"bt_beta = {beta}: F(a, 0, 0) is not bounded for small a: its slope is (λ₁+λ₂)·β/4 = {slope!r} "
            f"less the factor {dual.factor!r}, and the tolerance is {tolerance:.1e}"
        )


class _Face:
    """H(b, y) = (1 − tolerance) b − M φ(y) + λ₁ φ(y−b), M = λ₁+λ₂: F − tolerance·(a + b) on the face a = 0.

    Arrays of boxes are (N, 2): column 0 is b, column 1 is y.
    """

    def __init__(self, beta: float, dual: BordaDual, tolerance: float) -> None:
        self.beta, self.light, self.heavy = beta, dual.lambda1, dual.lambda1 + dual.lambda2
        self.slope = 1 - tolerance

    def values(self, points: Array) -> tuple[Array, Array]:
        """H at points (N, 2) and bounds on the rounding errors, relative to the terms (0 at the origin)."""
        b, y = points.T
        linear, far = self.slope * b, self.heavy * centred_sigmoid(self.beta * y)
        near = self.light * centred_sigmoid(self.beta * (y - b))
        return linear - far + near, ROUNDING * (np.abs(linear) + np.abs(far) + np.abs(near))

    def gradients(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Enclosures (N, 2) of (∂H/∂b, ∂H/∂y) on boxes: ∂_b = slope − λ₁φ'(y−b), ∂_y = λ₁φ'(y−b) − Mφ'(y)."""
        (b0, y0), (b1, y1) = lower.T, upper.T
        near, far = self._density(y0 - b1, y1 - b0)
        low_y, high_y = self._density(y0, y1)
        low = np.column_stack((self.slope - self.light * far, self.light * near - self.heavy * high_y))
        high = np.column_stack((self.slope - self.light * near, self.light * far - self.heavy * low_y))
        margin = ROUNDING * (1 + (self.light + self.heavy) * self.beta / 4)
        return low - margin, high + margin

    def _density(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Min and max of φ'(x) = βσ'(βx) on [low, high]."""
        minimum, maximum = density_range(self.beta * low, self.beta * high)
        return self.beta * minimum, self.beta * maximum


def _bound_face(face: _Face, max_boxes: int) -> int:
    """Prove H ≤ 0 on [0, 1]² by bisection; the number of boxes bounded, or CertificateError.

    On each box: (1) enclose the gradient; where a component has a sign, keep the face where H is largest;
    (2) enclose the gradient on what is left; (3) H ≤ H(centre) + Σ max|∂H|·radius; (4) bisect if not ≤ 0.
    """
    lower, upper = np.zeros((1, 2)), np.ones((1, 2))
    boxes = 0
    while len(lower):
        boxes += len(lower)
        low, high = face.gradients(lower, upper)
        lower, upper = np.where(low > 0, upper, lower), np.where(high < 0, lower, upper)
        low, high = face.gradients(lower, upper)
        centre = (lower + upper) / 2
        # The centre is rounded, so the radius is the larger distance to an end, rounded up.
        radius = np.maximum(upper - centre, centre - lower) * (1 + ROUNDING)
        spread = np.maximum(np.abs(low), np.abs(high)) * radius
        value, error = face.values(centre)
        if (value - error > 0).any():
            b, y = centre[np.argmax(value - error)].tolist()
            raise CertificateError(
                f"bt_beta = {face.beta}: F exceeds its bound by {float((value - error).max()):.3e} at "
                f"(a, b, y) = (0, {b!r}, {y!r})"
            )
        bound = value + error + spread.sum(axis=1) * (1 + ROUNDING)
        is_open = bound > 0
        if is_open.any() and boxes > max_boxes:
            raise CertificateError(
                f"bt_beta = {face.beta}: {int(is_open.sum())} boxes still open after {boxes}, "
                f"bound {float(bound.max()):.3e}"
            )
        lower, upper = bisect(lower[is_open], upper[is_open], spread[is_open])
    return boxes
