"""How close a trained policy is to be to its optimum: targets written before any training, the same for every topic.

0.01 of total variation on average over the prompts of a run and 0.03 at the worst, trained on full batches; 0.03 on
average where expectations are sampled or batches are small.
"""

from __future__ import annotations

from theory.claim import Check, Setting, at_least, at_most, equal, greater, grid

MEAN, WORST, SAMPLED = 0.01, 0.03, 0.03
#: Resolution of log-ratios between responses.
GAP = 0.02
#: Of the slope of measured on predicted log-ratios: 2 % of a log-ratio of a nat moves about 0.01 of total variation.
SLOPE = 0.02
#: Of the slope that fixed features predict where all weights are trained (P15).
FEATURES_MOVE = 0.25
#: How far a reference that was not trained must be, or `near` would mean little.
UNTRAINED = 5 * MEAN
#: Settings of P15's checks.
HELD_OUT = grid(method=("pro", "dpo"))
TRAINED = "what a few hundred steps of a small transformer leave"
PAIRED = "paired: the same seed and reference"
TARGET = "the target, written before training"
NOISE = "a few standard errors of some thousand rows, pooled over seeds"


def near(settings: tuple[Setting, ...] = ({},)) -> tuple[Check, ...]:
    """The trained policy lies within a total variation of its plug-in optimum, on average and at the worst prompt; and
    what shows that it could have failed: the slope of its log-ratios, and a model that has learnt nothing."""
    return (
        at_most("mean_tv", "total variation to the plug-in optimum, mean over prompts", MEAN, at=settings,
                because=TARGET),
        at_most("worst_tv", "the same at the worst prompt", WORST, at=settings, because="likewise"),
        equal("slope", "slope of measured on predicted log π/π_ref, prompts and responses by their mass", 1.0,
              at=settings, within=SLOPE, because=TARGET),
        at_least("untrained_tv", "mean total variation to the plug-in optimum of the reference, not trained", UNTRAINED,
                 at=settings, because="five times what a trained policy may have"),
    )  # fmt: skip


def held_out_head(prefix: str = "") -> tuple[Check, ...]:
    """P15 of the head trained alone, whose features stay."""
    return (
        equal(f"{prefix}trained_slope", "slope of held-out log-ratios on their prediction, head alone", 1.0,
              at=HELD_OUT, within=SLOPE, because=TARGET),
        at_most(f"{prefix}trained_error", "largest error of held-out log π/π_ref, head alone, nats", GAP, at=HELD_OUT,
                because=TARGET),
    )  # fmt: skip


def held_out_weights(slope: str, copied: str, prefix: str = "") -> tuple[Check, ...]:
    """P15 of all weights, against the head's prediction: why its slope and a copy of the nearest prompt are as here."""
    return (
        equal(f"{prefix}full_slope", "slope of held-out log-ratios on the head's prediction, all weights", 1.0,
              at=HELD_OUT, within=FEATURES_MOVE, because=slope),
        greater(f"{prefix}full_explained", "share of their squares that it explains, all weights", 0.0, at=HELD_OUT,
                because="no movement at all explains nothing"),
        greater(f"{prefix}full_beyond", "share that it explains beyond a copy of the nearest prompt", 0.0, at=HELD_OUT,
                because=copied),
    )  # fmt: skip
