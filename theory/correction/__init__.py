"""Corrections (Aligner) as a Markov kernel behind a policy: floors, rounds, gains."""

from __future__ import annotations

from theory.correction.composition import (
    Floors,
    Sides,
    aligner_floor,
    answer_gains,
    bound_sides,
    compose,
    copying_left,
    explaining_share,
    floors,
    gain,
    identity_mixture,
    identity_weights,
    information_gain,
    sft_floor,
    transfer_bound,
    unchanged_share,
)
from theory.correction.kernels import check_kernel, empirical_kernel
from theory.correction.repetition import best_round, convergence_rate, limit_law, recurrent_classes, round_laws, rounds

__all__ = [
    "Floors",
    "Sides",
    "aligner_floor",
    "answer_gains",
    "best_round",
    "bound_sides",
    "check_kernel",
    "compose",
    "convergence_rate",
    "copying_left",
    "empirical_kernel",
    "explaining_share",
    "floors",
    "gain",
    "identity_mixture",
    "identity_weights",
    "information_gain",
    "limit_law",
    "recurrent_classes",
    "round_laws",
    "rounds",
    "sft_floor",
    "transfer_bound",
    "unchanged_share",
]
