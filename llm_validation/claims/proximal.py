"""What a trained language model should show of P4–P6 and P8–P16. PRO's gaps hold whatever the reference is."""

from __future__ import annotations

import math

from llm_validation.claims.settings import BINARY_RUNS, IMBALANCE_RUNS, PAIR_RUNS, REPEATED_BETA, SCALAR_RUNS
from llm_validation.claims.targets import GAP, HELD_OUT, PAIRED, SLOPE, TRAINED, held_out_head, held_out_weights, near
from theory.claim import Check, at_least, at_most, equal, greater, grid
from theory.proximal.claims import pair_gap, positive_log_ratio, scalar_gap
from theory.proximal.closed_forms import binary_log_ratio

_PAIRS = tuple({"response": y, "alpha": a, "kl_beta": b} for a, b in PAIR_RUNS for y in (0, 1))
_BINARY = tuple({"score": s, "alpha": a, "kl_beta": b} for s, a, b in BINARY_RUNS)
_IMBALANCE = tuple({"negatives": n, "alpha": a, "kl_beta": b} for n, a, b in IMBALANCE_RUNS)
_SCALAR = tuple({"n": n, "response": y, "alpha": a} for n, a, _ in SCALAR_RUNS for y in range(n))

PROXIMAL: dict[str, tuple[Check, ...]] = {
    "P4": (
        at_most("trained_constant", "spread of log π/π_ref over the unlabelled responses of a prompt, nats", 0.05,
                because=TRAINED),
        greater("trained_order", "smallest sign(score)·(log-ratio − log C) over scored responses", 0.0, because=PAIRED),
    ),
    "P5": (
        greater("other_rate", "share of prompts whose labelled pair's log-mass under DPO depends on the learning rate "
                "by more than 0.05 nats", 0.5, because=PAIRED),
    ),
    "P6": near(grid(space=("merged", "full"))),
    "P8": near(),
    "P9": (
        equal("trained", "r(y) − r(H) of the winner (0) and the loser (1)", pair_gap, at=_PAIRS, measured=("kl_beta",),
              within=GAP, because=TRAINED),
    ),
    "P10": (
        equal("trained", "r(y) − r(H)", binary_log_ratio, at=_BINARY, measured=("kl_beta",), within=GAP,
              because=TRAINED),
    ),
    "P11": (
        equal("trained", "r(y) − r(H) of the first n of four scored responses", scalar_gap, at=_SCALAR, within=GAP,
              because=TRAINED),
    ),
    "P12": (
        at_most("levels", "error of log π/π_ref, relative to the larger of its prediction and one nat, worst prompt",
                0.05, at=grid(response=("chosen", "rejected", "H")), because=TRAINED),
        greater("above_dpo", "share of prompts whose chosen response ends likelier under PRO than under DPO on the "
                "same pairs", 0.5, because=PAIRED),
    ),
    "P13": (
        equal("trained", "log π(y)/π_ref(y) − log π(H)/π_ref(H) of a positive, nats", positive_log_ratio,
              at=_IMBALANCE, relative=GAP, because=TRAINED),
    ),
    "P14": (
        at_most("trained_pro", "largest range over eleven ways of training of log π/π_ref under PRO, any prompt, nats",
                0.2, at=grid(response=("chosen", "rejected", "H")), because=TRAINED),
        greater("trained_dpo", "share of prompts whose chosen response ranges over a nat or more under DPO", 0.5,
                because=PAIRED),
        greater("trained_ratio", "share of prompts whose chosen response ranges ten times as far under DPO as under "
                "PRO", 0.5, because=PAIRED),
        equal("trained_margin", "log-ratio margin that DPO gives a pair won 2 times of 3, mean over the ways, nats",
              math.log(2.0) / REPEATED_BETA, within=GAP, because=TRAINED),
        equal("trained_flat", "share of the squares by which DPO's ends differ that leaves such margins as they are",
              1.0, within=0.01, because=TRAINED),
    ),
    "P15": (
        *held_out_head(),
        at_least("trained_moved", "mean |log π/π_ref| of held-out prompts, head alone, nats", 5 * GAP, at=HELD_OUT,
                 because="five times what they may be off"),
        *held_out_weights("fixed features as a first account; written before any row, draws settled after first rows",
                          "a copy needs no theory; added after first rows"),
        equal("tangent_slope", "slope on the gradients' prediction, 100 steps of descent at kl_beta 1000", 1.0,
              at=HELD_OUT, within=SLOPE, because="thousandths of a nat leave features as they are; kl_beta settled by "
              "pilots, 10 to 1000; of the steps, not of their limit, since rows on a second base model"),
        at_least("tangent_explained", "share of the squares that gradients explain of descent", 0.98, at=HELD_OUT,
                 because="likewise"),
        at_most("tangent_adamw", "share of the squares that gradients explain of AdamW", 0.5, at=HELD_OUT,
                because="its steps are no descent: an account would explain most; settled by the same pilots"),
    ),
    "P16": (
        equal("trained_start", "what a small step of DPO on all pairs does to the chosen responses over the product "
              "with their gradients", 1.0, within=0.02, because="some thousandths of a nat, in float32"),
        equal("trained_pro", "share of prompts whose chosen response ends above the reference under PRO", 1.0,
              within=0.05, because="all of them, whatever the band says"),
        greater("trained_nearer", "share of recorded steps and prompts at which the path is nearer than its first "
                "order to log π/π_ref of the chosen response under DPO", 0.5, because=PAIRED),
    ),
}  # fmt: skip
