"""Claims B1–B9: Best-of-N and Speculative Rejection."""

from __future__ import annotations

from theory.best_of_n.law_claims import LAW_CLAIMS
from theory.best_of_n.rejection_claims import SPECULATIVE_CLAIMS
from theory.claim import Claim

BEST_OF_N_CLAIMS: tuple[Claim, ...] = tuple(sorted((*LAW_CLAIMS, *SPECULATIVE_CLAIMS), key=lambda claim: claim.id))
