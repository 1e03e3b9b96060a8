"""Two accounts of why DPO lowers the chosen response's likelihood, side by side (P16).

With scores s_y = ∇ log π(y), a method that moves along d_w s_w − d_l s_l raises log π(chosen) at the rate
d_w‖s_w‖² − d_l⟨s_w, s_l⟩ and lowers log π(rejected) at d_l‖s_l‖² − d_w⟨s_w, s_l⟩. Neither goes the wrong way iff
d_w/d_l lies in the disentanglement band of Chen et al. (arXiv 2604.18239), [ρ‖s_l‖/‖s_w‖, ‖s_l‖/(ρ‖s_w‖)], ρ the cosine
of the scores. DPO has d_w = d_l, and what is left is the sign of s_w·(s_w − s_l). The score CHES of Razin et al. (arXiv
2410.08847) is that expression, negative, with sums of hidden states in the scores' place: in a linear softmax the
features, which no mean is taken from. Both speak of an instant. The band is taken from its authors' abstract and code
(github.com/IceyWuu/DisentangledPreferenceOptimization), CHES from its authors' code.

In a linear softmax, logits Φθ, all steps of DPO on one pair go along v = φ_w − φ_l: θ = g v, the margin is m = g‖v‖²,

    log π/π_ref(chosen) = D(m) = −log Σ_y π_ref(y) e^{g⟨φ_y − φ_w, v⟩},

concave in m, and D′(0) = s_w·(s_w − s_l)/‖v‖² at the reference. So the band at the reference gives the sign at the
start and an upper bound; a response that falls never turns, and one that rises turns where D′ = 0. PRO's first step is
DPO's, but it ends at one level, above the reference, whatever Φ is.

Random pairs have features (G_y, own·e_y), G with independent standard normal entries, and a uniform reference.
Shapes: n responses (0 is chosen, 1 rejected), d features.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import integrate
from scipy.special import chdtrc, chdtri, log_ndtr, logsumexp

from theory.proximal.feedback import empirical_scores
from theory.proximal.optimum import proximal_optimum
from theory.validate import Array, check_nonnegative, check_whole, check_word

#: Nodes of the quadrature over a normal variable.
NODES = 80


def ches(chosen: Array, rejected: Array) -> Array:
    """⟨h_w, h_l⟩ − ‖h_w‖² (…) of sums (…, H) of the hidden states that a response's tokens are predicted from."""
    return np.asarray((chosen * (rejected - chosen)).sum(axis=-1))


def chosen_displacement(log_reference: Array, features: Array, margin: float) -> Array:
    """D (…): log π/π_ref of the chosen response where DPO's margin is `margin` > 0 nats; features (…, n, d)."""
    along = (features * (features[..., :1, :] - features[..., 1:2, :])).sum(axis=-1)
    tilt = margin / (along[..., :1] - along[..., 1:2]) * (along - along[..., :1])
    return np.asarray(-logsumexp(log_reference + tilt, axis=-1))


def displaced_share(when: str, n: int, shared: int, own: float) -> float:
    """Share of random pairs whose chosen response falls: at the start, or in the end, as the margin grows.

    when  "start": s_w·(s_w − s_l) < 0 at the reference;  "end": some ⟨φ_y, v⟩ exceeds ⟨φ_w, v⟩, v = φ_w − φ_l
    n     responses ≥ 2;  shared  columns of G ≥ 1;  own ≥ 0
    """
    check_word("when", when, ("start", "end"))
    n, shared = check_whole("n", n, 2), check_whole("shared", shared)
    own = check_nonnegative("own", own)
    own2 = own * own
    if when == "end":
        return _lost_in_the_end(n, shared, own2)
    rho = math.sqrt(n / (2.0 * (n - 1.0)))
    if rho >= 1.0 - 1e-12:  # two responses: what one gains the other loses
        return 0.0
    # s_w·(s_w − s_l) = ((1 + ρ)Q₁ − (1 − ρ)Q₂)/(2ρ) + own², Q₁ and Q₂ independent, χ² of `shared` degrees
    low = lambda q: float(chdtrc(shared, ((1.0 + rho) * q + 2.0 * rho * own2) / (1.0 - rho)))
    return _mean_over_chi2(low, shared)


def _lost_in_the_end(n: int, shared: int, own2: float) -> float:
    """1 − E[N(Z/√2 + R/2 + own²/R)^(n − 2)], Z normal, R = ‖G_w − G_l‖, R²/2 ~ χ²: N is the normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()

    def lost(q: float) -> float:
        r = math.sqrt(2.0 * q)
        return float(weights @ -np.expm1((n - 2) * log_ndtr(nodes / math.sqrt(2.0) + 0.5 * r + own2 / r)))

    return _mean_over_chi2(lost, shared)


def _mean_over_chi2(values: Callable[[float], float], shared: int) -> float:
    """E[values(Q)], Q ~ χ² of `shared` degrees, as an integral over √Q."""
    constant = (1.0 - 0.5 * shared) * math.log(2.0) - math.lgamma(0.5 * shared)
    density = lambda r: math.exp(constant + (shared - 1) * math.log(r) - 0.5 * r * r)
    begin = max(0.0, math.sqrt(shared) - 9.0)  # of many degrees the peak, of width 1/√2, is missed from 0
    end = math.sqrt(chdtri(shared, 1e-15))
    return float(integrate.quad(lambda r: density(r) * values(r * r), begin, end, limit=200, epsabs=1e-14)[0])


def band_accuracy(n: int, shared: int, own: float) -> float:
    """Share of random pairs whose sign in the end is the sign that the band gives at the reference.

    It never errs on a pair that falls at the start, since D is concave: what it misses falls later.
    """
    return 1.0 - displaced_share("end", n, shared, own) + displaced_share("start", n, shared, own)


def pro_chosen(n: int, alpha: float, kl_beta: float) -> float:
    """log π*/π_ref of the chosen response under PRO on one pair of n, reference and μ uniform: Φ does not enter."""
    n = check_whole("n", n, 2)
    scores, empirical = empirical_scores(n, [(0, 1)])
    uniform = np.full(n, 1.0 / n)
    return float(math.log(n * proximal_optimum(uniform, scores, empirical, uniform, alpha, kl_beta)[0]))
