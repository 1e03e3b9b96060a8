"""The decoder against the formulas of its cost, and against a second decoder that goes token by token: B6, B7, B9."""

from __future__ import annotations

import numpy as np

from simulate.best_of_n.decoder import Decoded, Responses, best_of_n, decode
from simulate.montecarlo import Estimate, Experiments, Rng, mean
from simulate.profiles import Profile
from theory.best_of_n.examples import keep_of, vector
from theory.claim import Value


def full_length(n: int, length: int, rng: Rng) -> Responses:
    """Responses that all have `length` tokens, scores a random walk."""
    return Responses(np.full(n, length), np.cumsum(rng.standard_normal((n, length)), axis=1))


def ragged(rng: Rng) -> Responses:
    """A dozen responses of random lengths, some beyond the limit, with scores that often tie."""
    n, limit = int(rng.integers(2, 16)), int(rng.integers(8, 40))
    lengths = np.minimum(rng.geometric(1.5 / limit, n), limit + 1)
    return Responses(lengths, np.rint(np.cumsum(rng.standard_normal((n, limit)), axis=1)))


def _times(times: Value) -> list[int]:
    return vector(times).astype(int).tolist()


# B6, B7: what the decoder spends and holds


def _fixed(n: int, times: Value, keep: Value, length: int, rng: Rng, prompt: int = 0) -> Decoded:
    return decode(full_length(n, length, rng), keep_of(keep), times=_times(times), prompt=prompt)


def tokens(n: int, times: Value, keep: Value, length: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B6: tokens generated at fixed decision times."""
    return Estimate(_fixed(n, times, keep, length, rng).generated)


def scored(n: int, times: Value, keep: Value, length: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B6: tokens read by a scorer without a cache."""
    return Estimate(_fixed(n, times, keep, length, rng).scored)


def early_stop(n: int, times: Value, keep: float, length: int, stop: float, *, rng: Rng, profile: Profile) -> Estimate:
    """B6: tokens generated when each token ends the response with probability `stop`."""
    spent = []
    for _ in range(max(4, profile.repeats)):
        lengths = np.minimum(rng.geometric(stop, n), length + 1)
        responses = Responses(lengths, rng.standard_normal((n, length)))
        spent.append(decode(responses, keep, times=_times(times)).generated)
    return mean(spent)


def peak(n: int, times: Value, keep: Value, length: int, prompt: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B7: most cached tokens."""
    return Estimate(_fixed(n, times, keep, length, rng, prompt).peak)


def batch(budget: int, times: Value, keep: float, length: int, prompt: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B7: the largest batch that the decoder does not refuse, found by trying."""
    low, high = 1, budget
    decode(full_length(low, length, rng), keep, times=_times(times), budget=budget, prompt=prompt)  # else no refusal
    while high - low > 1:
        middle = (low + high) // 2
        try:
            decode(full_length(middle, length, rng), keep, times=_times(times), budget=budget, prompt=prompt)
            low = middle
        except ValueError:
            high = middle
    return Estimate(low)


def _full(n: int, keep: float, budget: int, length: int, prompt: int, rng: Rng) -> Decoded:
    return decode(full_length(n, length, rng), keep, budget=budget, prompt=prompt)


def full_tokens(n: int, keep: float, budget: int, length: int, prompt: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B7: tokens generated when memory triggers the rejections."""
    return Estimate(_full(n, keep, budget, length, prompt, rng).generated)


def full_share(n: int, keep: float, budget: int, length: int, prompt: int, *, rng: Rng, profile: Profile) -> Estimate:
    """B7: least share of the budget in use when memory triggers a rejection."""
    return Estimate(min(_full(n, keep, budget, length, prompt, rng).fills) / budget)


# B9: exactness, against a decoder that knows nothing of events


def ended_token_by_token(responses: Responses, keep: float, times: list[int] | None, budget: float | None) -> list[int]:
    """Rows that come to their end, in a loop over single tokens: the oracle of `decode`."""
    running, ended = list(range(len(responses.lengths))), []
    for token in range(1, responses.limit + 1):
        if budget is not None and len(running) * token > budget:
            order = sorted(running, key=lambda row: (-responses.scores[row, token - 2], row))
            room = len(order)
            while room * token > budget:
                room = min(room - 1, max(1, round(keep * room)))
            running = order[:room]
        ended += [row for row in running if responses.lengths[row] == token]
        running = [row for row in running if responses.lengths[row] != token]
        if times is not None and token in times and running:
            order = sorted(running, key=lambda row: (-responses.scores[row, token - 1], row))
            running = order[: max(1, round(keep * len(order)))]
    return ended


def _random_run(mode: str, rng: Rng) -> tuple[Responses, Decoded, list[int]]:
    """Random responses, what the decoder makes of them, and the rows that end according to the oracle."""
    responses, keep = ragged(rng), float(rng.choice([0.3, 0.5, 0.8]))
    if mode == "memory":
        budget = float(rng.integers(responses.limit, 2 * responses.limit) + len(responses.lengths))
        return (responses, decode(responses, keep, budget=budget), ended_token_by_token(responses, keep, None, budget))
    times = sorted(rng.choice(np.arange(1, responses.limit + 1), 3, replace=False).tolist())
    return responses, decode(responses, keep, times=times), ended_token_by_token(responses, keep, times, None)


def same(mode: str, *, rng: Rng, profile: Profile) -> Estimate:
    """B9: share of runs with α = 0 in which anything differs from Best-of-N of the same samples."""
    different = 0
    runs = 50 * profile.repeats
    for _ in range(runs):
        responses = ragged(rng)
        done = np.flatnonzero(responses.lengths <= responses.limit)
        finals = responses.scores[done, responses.lengths[done] - 1]
        winner = int(done[finals.argmax()]) if done.size else -1
        spent = int(np.minimum(responses.lengths, responses.limit).sum())
        times = None if mode == "no limit" else [2, 5, responses.limit]
        run, plain = decode(responses, 1.0, times=times), best_of_n(responses)
        reward = float(finals.max()) if done.size else -np.inf
        found = (run.winner, run.reward, run.generated)
        different += found != (winner, reward, spent) or found != (plain.winner, plain.reward, plain.generated)
    return Estimate(different / runs, n=runs)


def lost(mode: str, *, rng: Rng, profile: Profile) -> Estimate:
    """B9: share of runs in which a response that came to its end beats the one returned, or another is returned."""
    wrong = 0
    runs = 50 * profile.repeats
    for _ in range(runs):
        responses, run, ended = _random_run(mode, rng)
        finals = [responses.scores[row, responses.lengths[row] - 1] for row in ended]
        wrong += run.reward != max(finals, default=-np.inf) or sorted(run.ended) != sorted(ended)
    return Estimate(wrong / runs, n=runs)


def truncated(mode: str, *, rng: Rng, profile: Profile) -> Estimate:
    """B9: share of runs that return a response longer than the limit."""
    runs = 50 * profile.repeats
    winners = [(responses, run.winner) for responses, run, _ in (_random_run(mode, rng) for _ in range(runs))]
    wrong = sum(winner >= 0 and int(responses.lengths[winner]) > responses.limit for responses, winner in winners)
    return Estimate(wrong / runs, n=runs)


#: `claim.check` → what measures it.
EXPERIMENTS: Experiments = {
    "B6.tokens": tokens,
    "B6.scored": scored,
    "B6.early_stop": early_stop,
    "B7.peak": peak,
    "B7.batch": batch,
    "B7.full_tokens": full_tokens,
    "B7.full_share": full_share,
    "B9.same": same,
    "B9.lost": lost,
    "B9.truncated": truncated,
}
