"""Claim P15: prompts that nobody trained on. Ours.

>>> from theory.claims import find_claim
>>> round(find_claim("P15").check("ratio").predict({"method": "dpo", "prompt": 0, "response": 0}), 3)
-4.022
"""

from __future__ import annotations

from theory.claim import Claim, equal, grid, of_topic
from theory.proximal.held_out import held_out_ratio

HELD_OUT_CLAIMS: tuple[Claim, ...] = (
    of_topic("proximal")(
        "P15", "Held-out prompts, predicted", ("PRO", "DPO", "generalisation", "held-out prompts", "kernel"),
        "In a linear softmax with fixed features, what PRO and DPO do to the log-likelihoods of a prompt that was "
        "never trained on is a function of the kernel between its responses and those of the trained prompts.",
        "@guo2025; @rafailov2023 (the losses); ours", "equality",
        equal("ratio", "log π/π_ref of a held-out prompt's response, descent on the features' weights, nats",
              held_out_ratio, at=grid(method=("pro", "dpo"), prompt=(0, 1), response=(0, 1, 2, 3)), within=1e-4,
              because="differences in place of gradients, where the descent ends"),
        equal("slope", "slope of measured on predicted log π/π_ref, all responses of held-out prompts", 1.0,
              at=grid(method=("pro", "dpo")), within=1e-3, because="likewise"),
    ),
)  # fmt: skip
