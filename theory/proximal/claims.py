"""Claims P1–P13: DPO decomposed, what it leaves open, and the optimum of proximal preference optimisation."""

from __future__ import annotations

from theory.claim import Claim
from theory.proximal.dpo_claims import DECOMPOSITION_CLAIMS
from theory.proximal.optimum_claims import OPTIMUM_CLAIMS

PROXIMAL_CLAIMS: tuple[Claim, ...] = (*DECOMPOSITION_CLAIMS, *OPTIMUM_CLAIMS)
