"""What a pilot says of rejection: by hand on made-up scores, with no model."""

from __future__ import annotations

import re

import numpy as np
import pytest

from llm_validation.generation import pilot
from llm_validation.generation.engine import Sampling
from theory.best_of_n.order_statistics import expected_max


def made_up(share: float, prompts: int = 6, rows: int = 400) -> pilot.Sampled:
    """Rewards of which a decision after four of ten tokens knows a share, about another mean for every prompt."""
    rng = np.random.default_rng(0)
    known, rest = rng.normal(size=(2, prompts, rows))
    level = rng.normal(0.0, 5.0, (prompts, 1))
    final = np.sqrt(share) * known + np.sqrt(1.0 - share) * rest + level
    return pilot.Sampled((4,), (known + level)[None], final, np.full(final.shape, 10.0))


def test_what_is_known_at_a_decision_is_of_one_prompt():
    found = made_up(0.36).explained(np.random.default_rng(1))
    assert found.value[0] == pytest.approx(0.36, abs=0.03)


def test_the_price_of_rejection_is_said_in_tokens_and_in_gain(monkeypatch):
    """16 rows of ten tokens, half of them kept after four: 16·4 + 8·6 of 160 tokens."""
    seen = {}
    monkeypatch.setattr(pilot, "scored_rows", lambda model, prompts, *_: seen.update(n=len(prompts)) or made_up(1.0))
    sampling = Sampling(10, ())
    first, counts, price = pilot.allowed(None, [(1,)] * 20, None, sampling, 400, (4,), 16, 0.5, 0)
    assert seen["n"] == pilot.PROMPTS
    assert "v(4) = 1.00" in first
    assert "of 16 responses decisions there would keep 8;" in counts
    assert "is 1 (claim" in counts  # nothing is left to learn
    said = re.search(r"is expected (\S+) .*-16 (\S+): (\d+) % of its gain for (\d+) % of its tokens", price)
    reward, best, gain, tokens = map(float, said.groups())
    assert (gain, tokens) == (100, 70)
    assert reward == best == pytest.approx(expected_max(16), abs=5e-3)
