"""Formulas of training on preferences, by hand: signals and thresholds of lists, errors, what is shown of a share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from llm_validation.generation.quantiles import _sample
from llm_validation.losses.generators import _pearson_cost
from llm_validation.preferences import listed
from llm_validation.preferences.data import Example, Preferences, example_batches, prompt_batches
from llm_validation.preferences.shown import share_of
from llm_validation.preferences.trace import Mean, _error
from llm_validation.rewards.model import explained_variance
from llm_validation.text.language import ADJECTIVE, ANOTHER_EVENT, CLASSES, HOME, VERBS, _after_event, _places, fading


def group(judged, feedback, n):
    responses = tuple(Example((1,), (3 + y,), y) for y in range(n))
    return listed.Listed(responses, np.array(judged), np.array(feedback, float))


def test_signals_are_shares_of_judgements_times_what_they_say():
    """Of three responses judged 2, 1, 1 times: 3·μ̂·ŝ, feedback less its mean; of single ones less the mean of all."""
    many, one, other = group([0, 0, 1, 2], [1, 3, 0, 4], 3), group([0], [5], 1), group([0], [1], 1)
    found = listed.signals([many], paired=False)[0]
    assert found.sum() == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(found, 3.0 * np.array([0.5 * 0.0, 0.25 * -2.0, 0.25 * 2.0]), atol=1e-12)
    found = listed.signals([many, one, other], paired=False)
    np.testing.assert_allclose(np.concatenate(found[1:]), [5 - 14 / 6, 1 - 14 / 6])
    pairs = listed.signals([group([[0, 1]], [], 2)], paired=True)[0]
    np.testing.assert_allclose(pairs, [0.25, -0.25])


@pytest.mark.parametrize("signal", [[0.25, -0.25], [0.6, -0.1, -0.5], [0.9, 0.3, -0.4, -0.8]])
def test_a_threshold_of_a_list_is_where_descent_ends_somewhere(signal):
    """α times the mean over pairs of H and n responses of klB(r − r′), less Σ w·r: in the direction of any set S of
    responses it falls for ever unless α·|S|(n + 1 − |S|)/(2·n(n+1)/2) > Σ_S w."""
    w = np.array([*np.array(signal) / len(signal), 0.0])
    n = len(signal)
    least = 0.0
    for subset in range(1, 2 ** (n + 1) - 1):
        inside = np.array([subset >> i & 1 for i in range(n + 1)], bool)
        apart = inside.sum() * (n + 1 - inside.sum()) / (n * (n + 1) / 2)
        least = max(least, float(w[inside].sum()) / (apart * 0.5))
    assert listed.signal_threshold(np.array(signal)) == pytest.approx(least)


def test_a_threshold_of_one_response_is_twice_its_score():
    assert listed.signal_threshold(np.array([-0.7])) == pytest.approx(1.4)


def test_what_lists_lose_by_hand():
    policy = torch.log(torch.tensor([[0.5, 0.25, 0.05], [0.1, 0.1, 0.2]], dtype=torch.float64))
    before = torch.log(torch.tensor([[0.2, 0.2, 0.1], [0.3, 0.1, 0.1]], dtype=torch.float64))
    values = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]], dtype=torch.float64)
    off = (policy - before - values).numpy()
    expected = np.mean([np.mean([(a - b) ** 2 for a in row for b in row]) * 3 / 4 for row in off])
    assert float(listed.log_ratio_errors(policy, before, values)) == pytest.approx(expected)
    earned = []
    for p, q, r in zip(policy.exp().numpy(), before.exp().numpy(), values.numpy(), strict=True):
        p, q = p / p.sum(), q / q.sum()
        earned.append(sum(p[y] * (r[y] - 0.3 * math.log(p[y] / q[y])) for y in range(3)))
    assert float(listed.missed_reward(policy, before, values, kl_beta=0.3)) == pytest.approx(-np.mean(earned))
    np.testing.assert_allclose(listed.given_scores(group([0, 1, 1], [2, 3, 6], 2)), [2.0, 4.5])


def test_the_error_of_a_sum_is_that_of_its_groups(rng):
    values = rng.normal(size=7)
    influence = (values - values.mean()) / 7
    assert _error(influence, None) == pytest.approx(values.std(ddof=1) / math.sqrt(7))
    sums = np.array([influence[:3].sum(), influence[3:5].sum(), influence[5:].sum()])
    groups = np.array([4, 4, 4, 9, 9, 1, 1])
    assert _error(influence, groups) == pytest.approx(math.sqrt(1.5 * (sums**2).sum()))
    assert math.isnan(_error(influence[:1], None))
    assert Mean.of(values).stderr == pytest.approx(values.std(ddof=1) / math.sqrt(7))


@pytest.mark.parametrize(
    ("share", "interval", "said"),
    [
        (0.5, (0.42, 0.58), "0.50 [0.42, 0.58]"),
        (0.5, (0.1, 0.9), "0.50 [0.10, 0.90]"),
        (0.9712, (0.9612, 0.9807), "0.971 [0.961, 0.981]"),
        (0.99731, (0.99712, 0.99751), "0.9973 [0.9971, 0.9975]"),
        (1.0, (1.0, 1.0), "1.0000 [1.0000, 1.0000]"),
    ],
)
def test_a_share_is_shown_to_the_digit_of_its_error(share, interval, said):
    assert share_of(share, interval) == said


def test_what_is_known_is_a_squared_correlation_of_normal_scores(rng):
    final = rng.normal(size=400)
    prefix = np.column_stack([np.exp(0.6 * final + 0.8 * rng.normal(size=400)), -final, final])
    found = explained_variance(prefix, final, rng, 20)
    ranks = lambda x: np.argsort(np.argsort(x))
    z = norm.ppf((ranks(prefix[:, 0]) + 0.5) / 400), norm.ppf((ranks(final) + 0.5) / 400)
    assert found.value[0] == pytest.approx(np.corrcoef(*z)[0, 1] ** 2, abs=2e-3)
    assert found.value[1:].tolist() == [0.0, pytest.approx(1.0)]
    assert (found.low <= found.value + 1e-9).all()


def test_a_token_is_drawn_from_the_smallest_set_that_holds_so_much():
    """Masses ½, ¼, ⅛, ⅛ in another order: of top_p = .7 the first two are left, ⅔ and ⅓."""
    logits = torch.log(torch.tensor([[0.125, 0.5, 0.125, 0.25]])).expand(6, 4)
    u = torch.tensor([0.01, 0.6, 0.66, 0.68, 0.9, 0.999])
    assert _sample(logits, 1.0, u, 0.7).tolist() == [1, 1, 1, 3, 3, 3]
    assert _sample(logits, 1.0, u, 1.0).tolist() == [0, 1, 2, 2, 3, 3]
    assert set(_sample(torch.zeros(6, 4), 1.0, u, 0.5).tolist()) == {0, 1}  # two hold exactly so much: no third
    cold = (0.125**2 * 2 + 0.25 + 0.0625,)
    edges = np.cumsum([0.125**2, 0.25, 0.125**2, 0.0625]) / cold
    found = _sample(logits, 0.5, u, 1.0).tolist()
    assert found == np.searchsorted(edges, u.numpy(), side="right").tolist()


def test_pearsons_conjugate_stops_at_its_slope_at_zero():
    r = torch.tensor([-3.0, -2.0, -1.0, 0.0, 2.0])
    assert _pearson_cost(r).tolist() == [-1.0, -1.0, -0.75, 0.0, 3.0]


def test_laws_of_words():
    np.testing.assert_allclose(fading(3), np.array([6, 4, 3]) / 13)  # 1/2, 1/3, 1/4
    np.testing.assert_allclose(fading(3, 1), np.array([3, 6, 4]) / 13)
    for animal in (0, 1, 7):
        law = _places(animal)
        assert math.fsum(law) == pytest.approx(1.0)
        assert law[animal % len(law)] == HOME
        assert law[(animal + 1) % len(law)] == pytest.approx(max(p for p in law if p < HOME))
    for number in (1, 2, 3):
        states = _after_event("she", number)
        assert all(math.fsum(t.probability for t in own) == pytest.approx(1.0) for own in states.values())
        more = ANOTHER_EVENT[number - 1]
        for kind in CLASSES:
            felt, *again = states[f"after {kind}, she, event {number}"]
            assert felt.probability == pytest.approx(1.0 - more)
            assert all(f"event {number + 1}" in t.next for t in again)
        for verb in VERBS:
            seen = states[f"object of {verb}, she, event {number}"]
            adjectives = [t.probability for t in seen if t.next.startswith("noun of")]
            assert math.fsum(adjectives) == pytest.approx(ADJECTIVE)


def test_batches_hold_every_example_once_and_prompts_whole():
    sides = (tuple(Example((k % 3,), (w,), k) for k in range(n)) for w, n in ((5, 7), (6, 4)))
    data = Preferences("planted", *sides, paired=False)
    batches = example_batches(data, 4, 0, 1)
    assert [len(chosen) + len(rejected) for chosen, rejected in batches] == [4, 4, 3]
    assert sorted(np.concatenate([chosen for chosen, _ in batches])) == list(range(7))
    assert sorted(np.concatenate([rejected for _, rejected in batches])) == list(range(4))
    prompt = np.array([e.prompt[0] for e in data.examples])
    (one, two) = prompt_batches(prompt, 7, 2, 0, 1)
    for chosen, rejected in (one, two):
        rows = [*chosen, *(rejected + 7)]
        inside = set(prompt[rows])
        assert sorted(rows) == [k for k in range(11) if prompt[k] in inside]
    assert len(one[0]) + len(one[1]) > len(two[0]) + len(two[1])
