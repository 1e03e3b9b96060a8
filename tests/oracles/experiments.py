"""Checks by name, measured as the command line measures them, judged, and with a formula broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from simulate.experiments import EXPERIMENTS
from simulate.montecarlo import Estimate, generator
from simulate.profiles import PROFILES
from theory.claim import Check, Setting, Verdict, setting_key, verdict
from theory.claims import CLAIMS

#: `claim.check` → check; D17's settings are the user's, and what is cited is not measured.
CHECKS: dict[str, Check] = {
    f"{claim.id}.{check.name}": check
    for claim in CLAIMS
    for check in claim.checks
    if claim.id != "D17" and check.kind != "cited"
}


def measure(key: str, setting: Setting, profile: str = "smoke") -> Estimate:
    return EXPERIMENTS[key](**setting, rng=generator(0, key, setting_key(setting)), profile=PROFILES[profile])


def judged(check: Check, setting: Setting, estimate: Estimate) -> Verdict:
    return verdict(check, check.predict(setting), estimate.value, estimate.stderr)


def judge(key: str, setting: Setting, profile: str = "smoke") -> Verdict:
    """The verdict on a check that is measured now."""
    return judged(CHECKS[key], setting, measure(key, setting, profile))


def broken(
    monkeypatch: pytest.MonkeyPatch, key: str, module: Any, name: str, wrong: Callable[[Callable[..., Any]], Any]
) -> Check:
    """Put `wrong(right)` in the place of a formula; the check, also where the formula is its very prediction."""
    right = getattr(module, name)
    monkeypatch.setattr(module, name, wrong(right))
    return replace(CHECKS[key], theory=wrong(right)) if CHECKS[key].theory is right else CHECKS[key]
