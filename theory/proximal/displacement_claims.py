"""Claim P16: a rival account of displacement, beside the path's.

>>> from theory.claims import find_claim
>>> check = find_claim("P16").check("displaced")
>>> at = {"method": "dpo", "n": 8, "shared": 2, "own": 0.0}
>>> [round(check.predict({**at, "when": when}), 4) for when in ("start", "end")]
[0.122, 0.6395]
"""

from __future__ import annotations

from theory.claim import Claim, Value, at_most, equal, greater, grid, of_topic
from theory.proximal.displacement import band_accuracy, displaced_share, pro_chosen

_PAIRS: dict[str, tuple[Value, ...]] = {"n": (3, 8, 32), "shared": (2,), "own": (0.0, 0.5)}
_DISPLACED = grid(method="dpo", when=("start", "end"), **_PAIRS) + grid(method="pro", when="start", **_PAIRS)
#: What ranks pairs in the path's place: the band's rate at the reference, its first order in the margin, CHES, and CHES
#: where one vector is added to all features, which no policy sees.
RIVALS = ("band", "first order", "CHES", "shifted CHES")

DISPLACEMENT_CLAIMS: tuple[Claim, ...] = (
    of_topic("proximal")(
        "P16", "A rival account of displacement",
        ("PRO", "DPO", "likelihood displacement", "disentanglement band", "CHES", "underdetermination"),
        "The disentanglement band is the sign of the path's derivative. At the reference it tells which chosen "
        "responses DPO lowers at once: these never return, but most that fall in the end it does not tell. PRO begins "
        "like DPO and lowers none.",
        "@chen2026 (the band, as its authors' code has it); @razin2024 (CHES); ours (the path, the shares, PRO)",
        "equality",
        equal("displaced", "share of random pairs whose chosen response falls: in the first step, or in the end",
              displaced_share, at=_DISPLACED, measured=("method",), within=0.01,
              because="20 000 pairs: an interval of at most .0092 either way"),
        equal("accuracy", "share of random pairs for which the band at the reference tells the sign in the end",
              band_accuracy, at=grid(**_PAIRS), within=0.01, because="likewise"),
        at_most("returned", "largest rise in a step of a chosen response that has fallen before, DPO, nats", 0.0,
                at=grid(n=8, shared=(1, 2), own=(0.0, 0.5)), within=1e-9, because="rounding, log-ratios of 100 nats"),
        equal("slope", "slope of the trained on the path's log π/π_ref of the chosen response, random pairs", 1.0,
              at=grid(margin=(1.0, 10.0, 100.0)), within=1e-6, because="descent to the margin, to rounding"),
        greater("ahead", "rank correlation over pairs with the trained log π/π_ref, the path's less the rival's", 0.0,
                at=grid(rival=RIVALS, margin=(1.0, 10.0, 100.0)), because="paired: the same runs"),
        equal("pro_level", "lowest log π*/π_ref of a chosen response under PRO, of pairs that fall or rise in its "
              "first step, nats", pro_chosen, at=grid(first=("falls", "rises"), n=(3, 8), alpha=4.0, kl_beta=0.5),
              measured=("first",), within=1e-4, because="where two thousand steps of descent end"),
    ),
)  # fmt: skip
