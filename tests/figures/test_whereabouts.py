"""Where a claim is drawn, as theory finds it by reading, is where it is drawn."""

from __future__ import annotations

from figures.__main__ import FIGURES
from theory.claims import CLAIMS
from theory.whereabouts import whereabouts


def test_every_drawing_of_a_topic_is_found_under_its_claims_and_no_others():
    found = {(line.split()[0], claim.id) for claim in CLAIMS for line in whereabouts(claim)["figure"]}
    drawn = {name: drawing for name, drawing in FIGURES.items() if not drawing.of_sizes}  # those list theirs elsewhere
    assert found == {(name, claim_id) for name, drawing in drawn.items() for claim_id in drawing.claims}
