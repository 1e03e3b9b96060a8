"""Claim R11: consistency is not welfare. Ours.

>>> from theory.claims import find_claim
>>> round(find_claim("R11").check("worst").predict({"bt_beta": 10.0, "n_alternatives": 2}), 4)
1.0473
"""

from __future__ import annotations

from theory.claim import Claim, equal, grid, of_topic
from theory.density_ratio.welfare import consistency_factor

claim = of_topic("density_ratio")

WELFARE_CLAIMS: tuple[Claim, ...] = (
    claim(
        "R11", "Consistency is not welfare", ("consistency", "average utility", "DDRO", "RDRO", "SFT"),
        "The consistent target p⁺ = 2μ(½ + s) can be worse for the average user than μ, with two alternatives by the "
        "factor max [1 − 2(t²φ(e) − eB)(1−t)/((e+t²)(1+t))]⁻¹ and no more; three add nothing that a search finds.",
        "@higuchi2025 (the target); ours", "equality",
        equal("worst", "largest u(μ)/u(p⁺) found over populations of two types and μ, by ascent", consistency_factor,
              at=grid(bt_beta=(5.0, 10.0, 20.0, 50.0, 100.0), n_alternatives=(2, 3)), measured=("n_alternatives",),
              relative=1e-3, because="ascent from random starts"),
    ),
)  # fmt: skip
