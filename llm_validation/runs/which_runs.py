"""Which run shows which claim: asked for a claim, only the catalogues and runs that measure it are touched."""

from __future__ import annotations

from collections.abc import Sequence

from theory.language_model_settings import FITTED_BETA, FIXED, MINIBATCHED

#: run → claims that its rows belong to.
CLAIMS_OF_RUN: dict[str, tuple[str, ...]] = {
    "distortion": ("D3", "D4", "D5", "D8", "D9", "D11", "D12", "D13", "D15"),
    "distortion_sampled": ("D9", "D12"),
    "pro_pairwise": ("P5", "P9", "P12"),
    "pro_binary": ("P10",),
    "pro_imbalanced": ("P13",),
    "pro_scalar": ("P11",),
    "pro_tables": ("P4", "P6"),
    "pro_dpo_form": ("P8",),
    **{f"{name}_fitted": ("V1", "V2", "V3", "V4", "V5", "V6", "V7") for name in FITTED_BETA},
    **{f"{name}_fixed": ("V7",) for name in FIXED},
    **{f"{name}_minibatch": ("V7",) for name in MINIBATCHED},
    "density_ratio": ("R1", "R2", "R3", "R4", "R5", "R8"),
    "separation": ("V10", "V11"),
    "kldo_normaliser": ("V12",),
    "people": ("D17",),
    "best_of_n": ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10"),
    "correction": ("A1", "A2", "A3", "A4", "A5", "A6"),
}

#: Runs that start from the base model itself and generate freely, not from a fitted catalogue.
GENERATION = ("best_of_n", "correction")
#: Runs that are not on the shared catalogue.
ELSEWHERE = ("separation", "kldo_normaliser", "people", *GENERATION)
#: design → its runs, in the order in which they are started: the longest first, so that workers end together.
RUNS_OF_DESIGN: dict[str, tuple[str, ...]] = {
    "generation": GENERATION,
    "safety": ("separation", "kldo_normaliser"),
    "people": ("people",),
    "catalogue": tuple(
        name for name in CLAIMS_OF_RUN if name not in ("separation", "kldo_normaliser", "people", *GENERATION)
    ),
}


def runs_of(claims: Sequence[str]) -> dict[str, list[str]]:
    """design → the runs that show one of these claims (all runs for none). ValueError for a claim without a run."""
    known = {claim for shown in CLAIMS_OF_RUN.values() for claim in shown}
    without = [claim for claim in claims if claim not in known]
    if without:
        raise ValueError(
            f"{without[0]} has no check on a language model; those that have are {', '.join(sorted(known))}"
        )
    chosen = {
        design: [run for run in runs if not claims or set(claims) & set(CLAIMS_OF_RUN[run])]
        for design, runs in RUNS_OF_DESIGN.items()
    }
    return {design: runs for design, runs in chosen.items() if runs}
