"""How far the win rates of finite samples are off: one population, whose largest error has a limit law.

>>> round(largest_error(), 4)
2.4219
"""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad
from scipy.special import erf

from theory.bradley_terry import Population

#: Three types over four alternatives, at a temperature of 4; all pairs alike, a quarter of them of one alternative.
SAMPLED = Population(np.array([[1.0, 0.2, 0.5, 0.0], [0.1, 0.9, 0.3, 0.6], [0.4, 0.0, 1.0, 0.7]]))
SAMPLED_BETA = 4.0


def largest_error() -> float:
    """D14: lim √n·rms of the largest |P̂ − P| over pairs, one comparison a user, pairs from μ⊗μ, μ uniform.

    The users of one pair are not those of another: √n(P̂ − P) are independent normals with variances P(1−P)/(2μ²), and
    E max² = ∫₀^∞ (1 − Π erf(√s/(σ√2))) ds.
    """
    A = SAMPLED.utilities.shape[1]
    P = SAMPLED.win_rates(SAMPLED_BETA)[np.triu_indices(A, k=1)]
    sigma = np.sqrt(0.5 * P * (1.0 - P)) * A
    far = 100.0 * float(sigma.max()) ** 2
    square, _ = quad(lambda s: 1.0 - float(np.prod(erf(np.sqrt(0.5 * s) / sigma))), 0.0, far, limit=200)
    return math.sqrt(square)
