"""How sharp the ledger is: every prediction made 1, 5, 30 % larger and smaller, and which settings would notice.

    python -m paper power          each check's share of settings that notice, on recorded rows

A setting notices if what was measured would disagree with the moved prediction (`theory.claim.notices`). Orderings and
bounds with room never do, and need not; a claim all of whose checks are such is not sharp, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paper.ledger import Entry, by_check, share
from paper.markdown import table
from theory.claim import Check, Claim

CHANGES = (0.01, 0.05, 0.3)


@dataclass(frozen=True)
class Power:
    """One check: how many columns of settings agree and can be asked, and which share notices each of `CHANGES`."""

    claim: Claim
    check: Check
    asked: int
    shares: tuple[float, ...]

    @property
    def sharp(self) -> bool:
        """Does a prediction 5 % off show somewhere?"""
        return self.shares[CHANGES.index(0.05)] > 0.0


def powers(ledger: Sequence[Entry]) -> list[Power]:
    """Every check of a ledger, in its order."""
    found = []
    for (claim, check), mine in by_check(ledger).items():
        by_change = [[noticed for entry in mine for noticed in entry.notices(change)] for change in CHANGES]
        found.append(Power(claim, check, len(by_change[0]), tuple(map(share, by_change))))
    return found


def sharpness(ledger: Sequence[Entry]) -> dict[str, str]:
    """Claim id → `sharp`, `invariant`, `not sharp: REASON`, or `not sharp` where no row has shown it yet."""
    sharp = {power.claim.id for power in powers(ledger) if power.sharp}
    return {claim.id: _sharpness(claim, claim.id in sharp) for claim in dict.fromkeys(e.claim for e in ledger)}


def _sharpness(claim: Claim, sharp: bool) -> str:
    if claim.kind == "invariant":
        return "invariant"
    if sharp:
        return "sharp"
    return f"not sharp: {claim.not_sharp}" if claim.not_sharp else "not sharp"


def report(ledger: Sequence[Entry]) -> str:
    """What `python -m paper power` prints."""
    rows = [
        [f"{p.claim.id}.{p.check.name}", p.check.kind, str(p.asked), *map(percent, p.shares)] for p in powers(ledger)
    ]
    blunt = [f"- {name}: {found}" for name, found in sharpness(ledger).items() if found.startswith("not sharp")]
    head = ["check", "kind", "agreeing numbers", *(f"notices {100 * change:g} %" for change in CHANGES)]
    return "\n".join([*table(head, rows), "", f"{len(blunt)} claims are not sharp at 5 %.", *blunt])


def percent(found: float) -> str:
    """A share as per cent, — where nothing could be asked."""
    return "—" if found != found else f"{100 * found:.0f} %"
