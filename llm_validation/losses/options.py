"""Options a loss can be trained with: values that mean nothing are refused, and those at which no policy is best."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llm_validation.losses.generators import find_generator

#: loss → (α below which its minimum is nowhere, why). P7: PRO-P on one pair, η = 2/3.
THRESHOLDS = {"pro_pairwise": (9.0 / 8.0, "no policy is optimal at or below 9/8 (claim P7)")}


def given_options(options: Namespace) -> dict[str, Any]:
    """kl_beta, alpha and generator, those that a command was given."""
    given = {name: getattr(options, name) for name in ("kl_beta", "alpha", "generator")}
    return {name: value for name, value in given.items() if value is not None}


def check_options(name: str, options: Mapping[str, Any], *, anyway: bool = False) -> None:
    """ValueError for a value that means nothing, and for one below the loss's threshold unless `anyway`."""
    if (beta := options.get("kl_beta")) is not None and not (math.isfinite(beta) and beta > 0):
        raise ValueError(
            f"kl_beta = {beta} must be positive and finite: it is the weight of the log-ratio in the reward"
        )
    if (generator := options.get("generator")) is not None:
        find_generator(generator)
    if (alpha := options.get("alpha")) is None:
        return
    if name == "rdro" and not 0.0 <= alpha < 1.0:
        raise ValueError(f"alpha = {alpha} must be in [0, 1): it is RDRO's share of the chosen law in the denominator")
    if name != "rdro" and not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha = {alpha} must be positive and finite: it is the weight of PRO's proximal term")
    threshold, why = THRESHOLDS.get(name, (0.0, ""))
    if alpha <= threshold and not anyway:
        raise ValueError(f"alpha = {alpha} for {name}: {why}; --anyway trains all the same")
