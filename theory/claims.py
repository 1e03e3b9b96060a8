"""The ledger's left column: all claims, in order. One file per topic holds them; this one brings them together.

python -m theory            prints every claim with its predictions
python -m theory D4 D8      prints those
"""

from __future__ import annotations

from collections.abc import Sequence

from theory.best_of_n.claims import BEST_OF_N_CLAIMS
from theory.best_of_n.pessimism_claims import PESSIMISM_CLAIMS
from theory.best_of_n.proxy_claims import PROXY_CLAIMS
from theory.claim import Claim, of_topic
from theory.correction.claims import CORRECTION_CLAIMS
from theory.density_ratio.claims import DENSITY_RATIO_CLAIMS
from theory.density_ratio.reference_claims import REFERENCE_CLAIMS
from theory.density_ratio.welfare_claims import WELFARE_CLAIMS
from theory.distortion.ball_claims import BALL_CLAIMS
from theory.distortion.claims import DISTORTION_CLAIMS
from theory.distortion.few_claims import FEW_CLAIMS
from theory.distortion.penalty_claims import PENALTY_CLAIMS
from theory.distortion.proportional_claims import PROPORTIONAL_CLAIMS
from theory.distortion.regime_claims import REGIME_CLAIMS
from theory.divergences.claims import DIVERGENCES_CLAIMS
from theory.divergences.pairing_claims import PAIRING_CLAIMS
from theory.proximal.claims import PROXIMAL_CLAIMS
from theory.proximal.displacement_claims import DISPLACEMENT_CLAIMS
from theory.proximal.held_out_claims import HELD_OUT_CLAIMS

__all__ = ["CLAIMS", "Claim", "find_claim", "find_claims"]

#: Measured on a language model only, see `llm_validation.claims`: seconds are not predicted.
_B10 = of_topic("best_of_n")(
    "B10",
    "Less time on the same engine",
    ("Speculative Rejection", "language model", "wall-clock time"),
    "On a language model with a trained reward model, Speculative Rejection reaches Best-of-N's reward in less time on "
    "the same engine.",
    "@sun2024 Section 5",
    "lower bound",
    not_sharp="seconds are compared, not predicted",
)

_FILES: tuple[Claim, ...] = (
    *DISTORTION_CLAIMS,
    *BALL_CLAIMS,
    *FEW_CLAIMS,
    *PENALTY_CLAIMS,
    *PROPORTIONAL_CLAIMS,
    *REGIME_CLAIMS,
    *PROXIMAL_CLAIMS,
    *HELD_OUT_CLAIMS,
    *DISPLACEMENT_CLAIMS,
    *DIVERGENCES_CLAIMS,
    *PAIRING_CLAIMS,
    *DENSITY_RATIO_CLAIMS,
    *REFERENCE_CLAIMS,
    *WELFARE_CLAIMS,
    *CORRECTION_CLAIMS,
    *BEST_OF_N_CLAIMS,
    _B10,
    *PROXY_CLAIMS,
    *PESSIMISM_CLAIMS,
)
#: All claims, topic by topic, in the order of their numbers.
CLAIMS: tuple[Claim, ...] = tuple(sorted(_FILES, key=lambda claim: ("DPVRAB".index(claim.id[0]), int(claim.id[1:]))))


def find_claim(claim_id: str) -> Claim:
    """The claim of that id; ValueError lists the ids there are."""
    for claim in CLAIMS:
        if claim.id == claim_id:
            return claim
    raise ValueError(f"no claim {claim_id!r}; the ids are {', '.join(claim.id for claim in CLAIMS)}")


def find_claims(words: Sequence[str]) -> list[Claim]:
    """The claims of ids, in either case, and of topics ("best_of_n"), in the order of the words and each once.

    ValueError lists ids and topics for a word that is neither.
    """
    found: dict[str, Claim] = {}
    for word in words:
        claims = [claim for claim in CLAIMS if word.lower() in (claim.id.lower(), claim.topic)]
        if not claims:
            ids, topics = (dict.fromkeys(getattr(claim, name) for claim in CLAIMS) for name in ("id", "topic"))
            raise ValueError(f"no claim {word!r}; the ids are {', '.join(ids)}, the topics {', '.join(topics)}")
        found |= {claim.id: claim for claim in claims}
    return list(found.values())
