"""What the page shows of the ledger: claims, checks and settings as plain data, ready to be written as JSON.

Numbers are those of `paper.ledger`, verdicts included; nothing is judged here. NaN is null, infinities are words.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_validation.recorded import MODELS, Model
from paper.ledger import Entry, Line, Pooled, agrees_by_resolution, by_check
from simulate.rows.reach import ROOT
from theory.best_of_n.predictions import profile_speedup
from theory.claim import Check, Claim
from theory.sources import cited, parts, plain, reference
from theory.whereabouts import whereabouts

#: Topic → name, the one sentence, the one figure. Their order is that of the page.
TOPICS = {
    "distortion": (
        "Distortion",
        "No rule can promise more than a share 1/L(β) of what users could have; Nash learning keeps that promise in "
        "every KL ball, Borda and unconstrained RLHF lose K*(β), and RLHF in a ball loses exponentially in β.",
        "distortion_factors",
    ),
    "proximal": (
        "PRO",
        "DPO leaves absolute likelihoods undetermined; the full regulariser pins them down, as long as α exceeds an "
        "exact threshold α*, below which every run diverges.",
        "proximal_existence",
    ),
    "divergences": (
        "Divergences",
        "The least value of an alignment loss is a divergence between good and bad answers, so that a loss curve "
        "reads as a measurement of how far apart the data are.",
        "divergences_estimates",
    ),
    "density_ratio": (
        "Density ratios",
        "DDRO estimates p⁺/p⁻ and drifts without end where nothing is rejected; RDRO estimates the relative ratio, "
        "which is capped at 1/α.",
        "density_ratio_drift",
    ),
    "correction": (
        "Correction",
        "Learning corrections is easier than learning answers, by exactly the information that an answer has about "
        "its correction; more rounds help only as far as the corrector's own stationary law.",
        "correction_rounds",
    ),
    "best_of_n": (
        "Best-of-N",
        "Best-of-N is an order statistic; rejecting early saves what the score of half an answer says about the "
        "score of the whole.",
        "best_of_n_compute",
    ),
}  # fmt: skip
#: Where the speed-up of Speculative Rejection is computed in advance; it takes a density evolution, not a formula.
SPEEDUP_AT: dict[str, tuple[float, ...]] = {
    "n": (16, 64, 256), "area": (0.3, 0.5, 0.7, 0.8, 0.9), "keep": (0.25, 0.5, 0.75)
}  # fmt: skip


def claims_data(lines: Sequence[Line], models: Mapping[str, Model], out: Path) -> list[Any]:
    """Every claim with its checks; each check with [setting, prediction, resolution, a column each] per setting."""
    return [_claim(line, models, out) for line in lines]


def _claim(line: Line, models: Mapping[str, Model], out: Path) -> dict[str, Any]:
    claim = line.claim
    return {
        "id": claim.id,
        "title": claim.title,
        "keywords": claim.keywords,
        "statement": claim.statement,
        "source": [[plain(part.strip()), _arxiv(part)] for part in claim.source.split(";")],
        "papers": [reference(key).short for key in cited(claim.source)] or ["ours"],
        "kind": claim.kind,
        "topic": claim.topic,
        "verdict": line.verdict,
        "columns": line.columns(models),
        "checks": [_check(check, mine, models) for (_, check), mine in by_check(line.entries).items()],
        "where": places(claim, out),
    }


def _arxiv(part: str) -> str:
    return next((reference(key).arxiv for key, _ in parts(part) if key), "")


def _check(check: Check, ledger: Sequence[Entry], models: Mapping[str, Model]) -> dict[str, Any]:
    return {
        "name": check.name,
        "quantity": check.quantity,
        "kind": check.kind,
        "trained": check.trained,
        "shared": check.shared,
        "resolution": check.resolution,
        "relative": check.relative,
        "because": check.because,
        "settings": [
            [e.setting, number(e.predicted), number(e.check.tolerance(e.predicted)), _pooled(e, e.simulation)]
            + [_pooled(e, e.trained[name]) for name in models]
            for e in ledger
        ],
    }


def _pooled(entry: Entry, pooled: Pooled) -> list[Any] | None:
    """[estimate, stderr, seeds, verdict, by its resolution alone, degrees of freedom]; None where nothing was run."""
    if pooled.seeds <= 0:
        return None
    mark = int(agrees_by_resolution(entry, pooled))
    return [number(pooled.estimate), number(pooled.stderr), pooled.seeds, pooled.verdict, mark, number(pooled.dof)]


def number(value: float) -> float | str | None:
    """A number as JSON knows it: null for NaN, "inf" and "-inf" for infinities."""
    value = float(value)
    return None if math.isnan(value) else value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def places(claim: Claim, out: Path) -> dict[str, list[list[str]]]:
    """Where a claim lives, as [text, link]: links are relative to the page, and empty where there is no file."""
    here = os.path.relpath(ROOT, out)
    found = {name: [[text, _link(text, here)] for text in texts] for name, texts in whereabouts(claim).items()}
    del found["source"]
    return {name: texts for name, texts in found.items() if texts}


def _link(text: str, here: str) -> str:
    """The file that a line of `whereabouts` names; a dotted name is the module that holds it."""
    named = re.search(r"(?:theory|simulate|llm_validation|figures|paper)/[\w/]+\.(?:py|tex)", text)
    dotted = re.match(r"theory(?:\.\w+)+", text)
    path = named[0] if named else ""
    if dotted:
        words = dotted[0].split(".")
        files = ["/".join(words[:k]) + ".py" for k in range(len(words), 1, -1)]
        path = next((file for file in files if (ROOT / file).is_file()), "")
    return f"{here}/{path}" if path else ""


def speedups() -> dict[str, Any]:
    """Speed-up of the schedule of B6 that keeps a budget of two responses full, at every point of `SPEEDUP_AT`."""
    values = [[[profile_speedup(int(n), area, keep, 1024, 2048) for n in SPEEDUP_AT["n"]]
               for area in SPEEDUP_AT["area"]] for keep in SPEEDUP_AT["keep"]]  # fmt: skip
    return {**SPEEDUP_AT, "values": values}


def columns(models: Mapping[str, Model]) -> list[dict[str, str]]:
    """Simulation and every trained model: its heading, whether it has rows, and the command that fills it."""
    trained = [
        {"name": name, "heading": model.heading, "filled": "yes" if name in models else "", "by": model.commands[0]}
        for name, model in MODELS.items()
    ]
    return [{"name": "simulation", "heading": "Simulation", "filled": "yes", "by": "python -m simulate"}, *trained]
