"""Claims D1–D17: distortion of voting rules and alignment methods under individual Bradley–Terry users."""

from __future__ import annotations

from theory.claim import Claim
from theory.distortion.method_claims import METHOD_CLAIMS
from theory.distortion.rule_claims import BETAS, RULE_CLAIMS

__all__ = ["BETAS", "DISTORTION_CLAIMS"]

DISTORTION_CLAIMS: tuple[Claim, ...] = (*RULE_CLAIMS, *METHOD_CLAIMS)
