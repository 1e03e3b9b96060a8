"""The checks of the ledger's language-model columns, claim by claim, and a check of either column by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from llm_validation.claims.best_of_n import BEST_OF_N
from llm_validation.claims.correction import CORRECTION
from llm_validation.claims.density_ratio import DENSITY_RATIO
from llm_validation.claims.distortion import DISTORTION
from llm_validation.claims.divergences import DIVERGENCES
from llm_validation.claims.proximal import PROXIMAL
from llm_validation.claims.real import REAL
from theory.claim import Check
from theory.claims import find_claim


def _of_training(checks: Mapping[str, tuple[Check, ...]]) -> dict[str, tuple[Check, ...]]:
    return {claim: tuple(replace(check, trained=True) for check in own) for claim, own in checks.items()}


#: claim id → its checks on a trained language model; a claim without any is not there.
LLM_CHECKS = _of_training({**DISTORTION, **PROXIMAL, **DIVERGENCES, **DENSITY_RATIO, **CORRECTION, **BEST_OF_N})
#: claim id → its checks on a model that others trained.
REAL_CHECKS = _of_training(REAL)


def llm_checks(claim_id: str) -> tuple[Check, ...]:
    """What a trained language model should show of a claim; empty where nothing is measured on one."""
    return LLM_CHECKS.get(claim_id, ())


def trained_checks(claim_id: str, model: str | None = None) -> tuple[Check, ...]:
    """What the trained models of the ledger should show of a claim: all of them, or one by its name in `recorded`.

    A model that others trained (`smollm2`) has checks of its own.
    """
    if model is not None:
        return REAL_CHECKS.get(claim_id, ()) if model == "smollm2" else llm_checks(claim_id)
    return (*llm_checks(claim_id), *REAL_CHECKS.get(claim_id, ()))


def find_check(claim_id: str, name: str) -> Check:
    """The check of that name, of simulation or of the language model; KeyError lists the names there are."""
    both = {check.name: check for check in (*find_claim(claim_id).checks, *trained_checks(claim_id))}
    if name not in both:
        raise KeyError(f"{claim_id} has no check {name!r}, only {list(both)}")
    return both[name]
