"""Claims D20 and D21: where Borda with few alternatives is minimax optimal, and the audit of two. Ours.

>>> from theory.claims import find_claim
>>> round(find_claim("D21").check("exact").predict({"bt_beta": 5.0, "margin": 0.02}), 4)
2.0698
"""

from __future__ import annotations

from theory.claim import Claim, at_most, equal, grid, of_topic
from theory.distortion.few import audit_pair, minimax_beta, minimax_mass, uniform_borda_factor

PROGRAM = "utilities on a grid in place of [0, 1]"

claim = of_topic("distortion")

FEW_CLAIMS: tuple[Claim, ...] = (
    claim(
        "D20", "When Borda and RLHF are minimax optimal", ("Borda", "RLHF", "minimax", "pair law", "few alternatives"),
        "Borda's winner c loses at most L(β) against the best a if and only if the pair law has μ(a) + μ(c) ≥ m*(β); "
        "with uniform pairs always at A = 2, at A = 3 for β ≤ 5.8254, never from A = 4 on.",
        "@golz2025 Thm 5 (the question); ours", "equality",
        equal("threshold", "least μ(a) + μ(c) at which no population of a linear program exceeds L(β)", minimax_mass,
              at=grid(bt_beta=(1.0, 2.0, 5.0, 10.0, 20.0)), within=4e-3,
              because="programs that exceed L(β) by 2e-6 count as equal: 0.0032 of the mass at β = 1"),
        equal("three", "largest β at which the program over three alternatives, uniform pairs, stays at L(β)",
              minimax_beta, at=grid(n_alternatives=3), within=0.05, because=PROGRAM),
        equal("uniform", "worst distortion of Borda with uniform pairs, linear program over clones",
              uniform_borda_factor, at=grid(bt_beta=10.0, n_alternatives=(2, 3, 4, 5, 6, 10, 20, 200)), relative=2e-3,
              because=PROGRAM),
    ),
    claim(
        "D21", "The audit of two alternatives", ("audit", "two alternatives", "comparisons needed", "exact factor"),
        "With P(x≻y) = ½ + m known, choosing x has worst distortion max(1, max_e (φ(e) − m)/(e(B + m))).",
        "@golz2025 (the users); ours",
        "equality",
        equal("exact", "upper end of the audit's certified interval for x", audit_pair, relative=2e-3,
              at=grid(bt_beta=(2.0, 5.0, 10.0), margin=(0.0, 0.02, 0.1)), because="width of the audit's interval"),
        at_most("coverage", "share of samples at a margin that is just not safe whose bound calls x safe", 0.05,
                at=grid(bt_beta=(2.0, 5.0), n_comparisons=(200, 2000)), seeds=4,
                because="a share of samples; the bound is exact, and no room is left"),
    ),
)  # fmt: skip
