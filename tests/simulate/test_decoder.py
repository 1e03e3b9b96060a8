"""simulate/decoding.py: exactness, an independent token-by-token decoder, costs, and every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulate.best_of_n import decoder, memory
from simulate.best_of_n.decoder import Responses, ScorerError, best_of_n, decode
from simulate.best_of_n.memory import ended_token_by_token, full_length, ragged
from theory.best_of_n.cost import full_budget_schedule, schedule_cost, speculative_cost


def test_without_rejection_it_is_best_of_n_bit_for_bit(rng):
    for _ in range(200):
        responses = ragged(rng)
        plain = best_of_n(responses)
        done = np.flatnonzero(responses.lengths <= responses.limit)
        finals = responses.scores[done, responses.lengths[done] - 1]
        assert plain.winner == (done[finals.argmax()] if done.size else -1)  # of equal rewards the first row
        for run in (decode(responses, 1.0, times=[1, 3, 5]), decode(responses, 0.5), decode(responses, 1.0, times=[])):
            assert (run.winner, run.reward, run.generated, run.ended) == (
                plain.winner,
                plain.reward,
                plain.generated,
                plain.ended,
            )


def test_a_memory_that_holds_no_row_has_no_largest_batch(rng):
    with pytest.raises(ValueError, match=r"budget = 10\.0 cannot hold row 0"):
        memory.batch(10, 2, 0.5, 8, 3, rng=rng, profile=None)
    assert memory.batch(11, 2, 0.5, 8, 3, rng=rng, profile=None).value == 2.0


def test_ended_rows_against_a_token_by_token_decoder(rng):
    for _ in range(200):
        responses, keep = ragged(rng), float(rng.choice([0.2, 0.5, 0.9]))
        times = sorted(rng.choice(np.arange(1, responses.limit + 1), 4, replace=False).tolist())
        run = decode(responses, keep, times=times)
        assert sorted(run.ended) == sorted(ended_token_by_token(responses, keep, times, None))
        budget = responses.limit + float(rng.integers(len(responses.lengths), 3 * responses.limit))
        run = decode(responses, keep, budget=budget)
        assert sorted(run.ended) == sorted(ended_token_by_token(responses, keep, None, budget))
        assert run.peak <= budget


def test_cost_is_the_formula(rng):
    responses = full_length(50, 40, rng)
    run = decode(responses, (0.5, 0.3), times=[10, 25], prompt=7)
    cost = speculative_cost(50, [10, 25], (0.5, 0.3), 40, 7)
    assert (run.generated, run.scored, run.peak, run.decisions) == (cost.generated, cost.scored, cost.peak, 2)
    assert run.fills == (50 * (7 + 10), 25 * (7 + 25))
    schedule = full_budget_schedule(50, 0.7, 300, 40, 3)
    run = decode(responses, 0.7, budget=300, prompt=3)
    cost = schedule_cost(schedule.counts, schedule.times, 40, 3)
    assert (run.generated, run.scored, run.peak, run.decisions) == (
        cost.generated,
        cost.scored,
        cost.peak,
        len(schedule.times),
    )


def test_a_row_that_ended_with_a_low_score_is_still_returned():
    """Row 0 ends at token 2 and would lose every ranking of partial scores; the others never get as high in the end."""
    scores = np.array([[-9.0, 5.0, 0.0, 0.0], [1.0, 9.0, 2.0, 1.0], [1.0, 9.0, 3.0, 2.0]])
    responses = Responses(np.array([2, 4, 4]), scores)
    run = decode(responses, 0.5, times=[2, 3])
    assert (run.winner, run.reward) == (0, 5.0)
    assert run.ended == (0, 1)  # row 2 was rejected: of equal scores the first row stays


def test_truncated_rows_are_reported_apart():
    scores = np.array([[0.0, 9.0], [0.0, 1.0]])
    run = decode(Responses(np.array([3, 2]), scores), 1.0, times=[1])
    assert (run.winner, run.reward, run.truncated, run.truncated_reward) == (1, 1.0, 0, 9.0)
    run = decode(Responses(np.array([3, 3]), scores), 1.0, times=[1])
    assert (run.winner, run.reward, run.truncated) == (-1, -math.inf, 0)


def test_the_checks_can_fail(rng, monkeypatch):
    """An engine that forgets ended rows, and one that returns truncated rows, are caught by the checks of B9."""
    from simulate.best_of_n.memory import lost, truncated
    from simulate.profiles import PROFILES

    profile = PROFILES["smoke"]
    right = decoder._Run.advance

    def forgetful(self, token, stage):
        right(self, token, stage)
        if len(self.ended) > 1:
            self.ended.pop()
            self.rewards.pop()

    monkeypatch.setattr(decoder._Run, "advance", forgetful)
    assert lost("fixed times", rng=rng, profile=profile).value > 0
    monkeypatch.setattr(decoder._Run, "advance", right)

    result = decoder._Run.result

    def careless(self):
        self.ended += self.rows.tolist()
        self.rewards += self.responses.score(self.rows, self.token).tolist()
        return result(self)

    monkeypatch.setattr(decoder._Run, "result", careless)
    assert truncated("memory", rng=rng, profile=profile).value > 0


def test_nan_scores_stop_the_run_with_the_rows_listed(rng):
    responses = full_length(6, 10, rng)
    responses.scores[[1, 4], 3] = math.nan
    with pytest.raises(ScorerError, match=r"rows \[1, 4\] at token 4") as caught:
        decode(responses, 0.5, times=[4])
    assert (caught.value.rows, caught.value.token) == ((1, 4), 4)
    decode(responses, 0.5, times=[5])  # never read at token 4
    responses.scores[2, 9] = math.nan
    with pytest.raises(ScorerError, match="token 10"):
        best_of_n(responses)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda r: decode(r, 0.0, times=[4]), r"keep\[0\] = 0"),
        (lambda r: decode(r, (0.5, 1.5), times=[4, 6]), r"keep\[1\] = 1.5"),
        (lambda r: decode(r, (0.5,), times=[4, 6]), "keep must be"),
        (lambda r: decode(r, 0.5, times=[4, 4]), r"times\[1\] = 4"),
        (lambda r: decode(r, 0.5, times=[11]), r"times\[0\] = 11"),
        (lambda r: decode(r, 0.5, times=[2.5]), r"times\[0\] = 2.5"),
        (lambda r: decode(r, 0.5, times=[4, math.nan]), r"times\[1\] = nan"),
        (lambda r: decode(r, 0.5, times=[math.inf]), r"times\[0\] = inf"),
        (lambda r: decode(r, 0.5, times=[4], prompt=-1), "prompt = -1"),
        (lambda r: decode(r, 0.5, budget=9), "cannot hold row 0"),
        (lambda r: decode(r, 0.5, budget=15, prompt=2), "before the start: 6 rows"),
        (lambda r: decode(r, 1.0, budget=30), "keep = 1 drops nothing"),
        (lambda r: decode(r, 0.5, times=[4], budget=20), "before decision 0: 6 rows of 0 . 4 tokens"),
        (lambda r: Responses(np.array([0, 3]), np.zeros((2, 4))), r"lengths\[0\] = 0"),
        (lambda r: Responses(np.array([3]), np.zeros((2, 4))), "must be"),
    ],
)
def test_refusals(call, named, rng):
    with pytest.raises(ValueError, match=named):
        call(full_length(6, 10, rng))
