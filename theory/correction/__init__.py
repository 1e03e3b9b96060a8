"""Corrections (Aligner) as a Markov kernel behind a policy: claims A1 – A7.

An upstream policy π answers, a corrector K(c|o) rewrites, and what comes out follows πK = Σ_o π(o) K(·|o). Training
is maximum likelihood of corrections, −E log K_φ(C|O). Correcting is easier than answering by I(C;O) (A1), a gain is
linear in the upstream policy (A3), and several rounds are a Markov chain, whose limit may be worse than one round
(A4). `theory.correction.bootstrap` trains upstream models on corrections (A6), `theory.correction.users` has
corrections by heterogeneous users (A7). Source: Ji et al., "Aligner" (arXiv 2402.02416); the identities are ours.

Examples
--------
A corrector that repairs most bad answers (1) and spoils some good ones (0):

>>> policy, kernel, utilities = [0.2, 0.8], [[0.9, 0.1], [0.6, 0.4]], [1.0, 0.0]
>>> compose(policy, kernel).round(4), round(gain(policy, kernel, utilities), 4)
(array([0.66, 0.34]), 0.46)
>>> rounds(policy, kernel, utilities, k=2).round(4), limit_law(kernel).round(4)
(array([0.2  , 0.66 , 0.798]), array([0.8571, 0.1429]))
>>> round(information_gain(policy, kernel), 4), round(sft_floor(policy, kernel) - aligner_floor(policy, kernel), 4)
(0.0376, 0.0376)
"""

from __future__ import annotations

from theory.correction.composition import aligner_floor, compose, gain, information_gain, sft_floor, transfer_bound
from theory.correction.copying import unchanged_share
from theory.correction.kernels import empirical_kernel
from theory.correction.repetition import best_round, convergence_rate, limit_law, rounds

__all__ = [
    "aligner_floor",
    "best_round",
    "compose",
    "convergence_rate",
    "empirical_kernel",
    "gain",
    "information_gain",
    "limit_law",
    "rounds",
    "sft_floor",
    "transfer_bound",
    "unchanged_share",
]
