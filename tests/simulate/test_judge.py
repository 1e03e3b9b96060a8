"""Claims of one's own are judged as the package's are."""

from __future__ import annotations

from simulate.judge import judge
from simulate.montecarlo import mean
from theory.claim import Claim, equal


def test_three_replicates_are_few():
    """Their t quantile is 9.9: what would agree if the error were known is too noisy to tell."""
    check = equal("level", "a level", 1.0, within=0.05, because="a test")
    claim = Claim("S1", "A level", (), "It is 1.", "ours", "equality", "mine", (check,))
    for replicates, verdict in (([1.0, 1.02, 1.04], "inconclusive"), ([1.0, 1.02, 1.04] * 40, "agrees")):
        (found,) = judge(claim, {"level": lambda *, rng, profile, values=replicates: mean(values)})
        assert found.verdict == verdict
