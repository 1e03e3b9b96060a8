"""Objectives of runs at one policy, by loops; and rows of ends that are written down."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit

from llm_validation.losses.pairs import dpo
from llm_validation.runs import comparisons, divergences, held_out, real, reproducibility
from llm_validation.runs.reproducibility import Change
from llm_validation.runs.reward_fit import fit_reward_model
from llm_validation.training.schedule import Schedule
from tests.oracles.tabular_reference import tabular_reference

STEPS = 100
LAST = STEPS - 1
WEIGHTS = np.array([0.5, 2.0])


@pytest.fixture
def laws(rng):
    """Reference and policy (2 prompts, 3 responses and off), and the reference as an object."""
    ref, pi = rng.dirichlet(np.full(4, 3.0), 2), rng.dirichlet(np.full(4, 3.0), 2)
    return ref, pi, tabular_reference(np.log(ref), Schedule(steps=STEPS, rate=0.1))


def kl(p, q) -> float:
    return float((p * np.log(p / q)).sum())


def at_the_end(objective, pi) -> float:
    return float(objective(LAST, torch.tensor(np.log(pi))))


def test_moving_means_take_in_the_prompts_of_a_batch_and_keep_the_others():
    means = divergences.MovingMeans(torch.ones(3))
    means.update(torch.log(torch.tensor([2.0, 4.0, 6.0])), torch.tensor([0, 0, 2]))
    assert means.value.tolist() == pytest.approx([0.95 + 0.05 * 3.0, 1.0, 0.95 + 0.05 * 6.0])


def test_a_reward_model_ascends_its_score_over_what_it_is_compared_with(rng):
    """Rewards get s(x)/m(x), centred, times −1; the value is the likelihood's."""
    drawn, Q, P = [], rng.random((2, 3, 3)), np.full((2, 3, 3), 0.5)
    Q = (Q + Q.transpose(0, 2, 1)) * (1.0 - np.eye(3))
    Q /= Q.sum(axis=(1, 2), keepdims=True)
    P[:, 0, 1], P[:, 0, 2], P[:, 1, 2] = 0.9, 0.4, 0.7
    P = np.triu(P, 1) + np.tril(1.0 - P.transpose(0, 2, 1), -1) + 0.5 * np.eye(3)
    trained = SimpleNamespace(path=np.array([[[1.0, 3.0, 2.0]]]), loss=np.zeros(1))
    reference = SimpleNamespace(
        n_responses=3, width=4, seed=0, device=torch.device("cpu"), schedule=Schedule(steps=1),
        tensor=torch.as_tensor, train=lambda objective, *_, **__: drawn.append(objective) or trained,
    )  # fmt: skip
    assert fit_reward_model(reference, P, Q).rewards.tolist() == [[-2.0, 0.0, -1.0]]
    r = torch.tensor(rng.normal(size=(2, 3)), requires_grad=True)
    value = drawn[0](0, r)
    (slopes,) = torch.autograd.grad(value, r)
    wins = expit(np.subtract.outer(*[r.detach().numpy()] * 2)[[0, 1], :, [0, 1], :])
    score = (Q * (P - wins)).sum(axis=2) / Q.sum(axis=2)
    np.testing.assert_allclose(slopes, (score.mean(axis=1, keepdims=True) - score) / 2, atol=1e-12)
    assert value.item() == pytest.approx(-float((Q * P * np.log(wins)).sum()), rel=1e-12)


def test_a_penalty_is_the_reward_over_its_weight_less_the_divergence(laws, rng):
    ref, pi, reference = laws
    rewards = rng.normal(size=(2, 3))
    expected = np.mean([
        kl(pi[p], ref[p]) - pi[p] @ np.append(rewards[p], rewards[p].min()) / WEIGHTS[p] for p in range(2)
    ])  # fmt: skip
    assert at_the_end(comparisons.penalty_objective(reference, rewards, WEIGHTS), pi) == pytest.approx(expected)


def test_self_play_is_the_margin_against_oneself_less_the_divergence(laws, rng):
    """Off loses to all; against oneself the margins cancel, and the gradient is that against a fixed opponent."""
    ref, pi, reference = laws
    upper = np.triu(rng.random((2, 3, 3)), 1)
    P = upper + np.tril(1.0 - upper.transpose(0, 2, 1), -1) + 0.5 * np.eye(3)
    objective = comparisons.nash_objective(reference, P, WEIGHTS)
    assert at_the_end(objective, pi) == pytest.approx(np.mean([kl(pi[p], ref[p]) for p in range(2)]))
    logs = torch.tensor(np.log(pi), requires_grad=True)
    objective(LAST, logs).backward()
    for p, x in itertools.product(range(2), range(4)):
        won = sum(pi[p, y] * (P[p, x, y] - 0.5 if x < 3 and y < 3 else ((x < 3) - (y < 3)) / 2) for y in range(4))
        own = pi[p, x] * (math.log(pi[p, x] / ref[p, x]) + 1.0 - won / WEIGHTS[p]) / 2.0
        assert float(logs.grad[p, x]) == pytest.approx(own)


def test_a_sampled_objective_takes_the_mean_of_the_others_off(laws):
    ref, pi, reference = laws
    payoff = lambda drawn, _: 1.0 + drawn.double() ** 2
    objective = comparisons.sampled_objective(reference, payoff, WEIGHTS, np.full(2, 0.1), "some")
    seen = []
    draw = torch.multinomial

    def multinomial(*words, **options):
        seen.append(draw(*words, **options))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "multinomial", multinomial)
        found = at_the_end(objective, pi)
    B, total = comparisons.SAMPLES, 0.0
    for p in range(2):
        drawn = seen[0][p].tolist()
        values = [(1.0 + y * y) / WEIGHTS[p] - math.log(pi[p, y] / ref[p, y]) for y in drawn]
        for i, y in enumerate(drawn):
            others = (sum(values) - values[i]) / (B - 1)
            total -= (values[i] - others) * math.log(pi[p, y]) / (2 * B)
    assert found == pytest.approx(total)


def test_dpo_is_over_all_ordered_pairs_with_the_betas_of_prompts(laws, rng):
    ref, pi, reference = laws
    Q = np.array([[0.0, 0.3, 0.2], [0.3, 0.0, 0.0], [0.2, 0.0, 0.0]])
    P = np.array([[0.5, 0.9, 0.3], [0.1, 0.5, 0.5], [0.7, 0.5, 0.5]])
    prompts = [SimpleNamespace(pair_weights=Q, win_rates=P)] * 2
    found = at_the_end(comparisons.comparison_objective(dpo, reference, prompts, WEIGHTS), pi)
    total = 0.0
    for p, x, y in itertools.product(range(2), range(3), range(3)):
        margin = WEIGHTS[p] * (math.log(pi[p, x] / ref[p, x]) - math.log(pi[p, y] / ref[p, y]))
        total += 2.0 * Q[x, y] * P[x, y] * math.log1p(math.exp(-margin)) / 2.0 if x != y else 0.0
    assert found == pytest.approx(total)


def test_a_natural_gradient_is_the_centred_advantage(laws, rng):
    ref, pi, _ = laws
    payoff = rng.normal(size=(2, 4))
    part = SimpleNamespace(logs=torch.tensor(np.column_stack([np.log(ref), np.zeros(2)])))
    logs = torch.tensor(np.column_stack([np.log(pi), np.zeros(2)]), requires_grad=True)
    loss = real.natural(part, lambda _: torch.tensor(payoff))(0, logs)
    loss.backward()
    advantage = payoff - np.log(pi / ref)
    assert loss.item() == pytest.approx(-(pi * advantage).sum(axis=1).mean())
    expected = -(advantage - advantage.mean(axis=1, keepdims=True)) / 2.0
    np.testing.assert_allclose(logs.grad[:, :-1], expected)


def test_ends_of_changes_are_told_by_their_ranges(monkeypatch):
    """Two ways: under DPO the pair moves by 3 together, and by a tenth apart; under PRO nothing does but H."""
    shares = (0.75, 1.0)
    ends = {
        "dpo": [np.array([[1.0, 0.5, 0.0], [2.0, 1.0, 0.0]]), np.array([[4.0, 3.4, 0.0], [2.5, 1.0, 0.0]])],
        "pro": [np.array([[0.2, 0.1, 0.0], [0.2, 0.1, 0.0]]), np.array([[0.2, 0.1, 0.3], [0.24, 0.1, 0.1]])],
    }
    monkeypatch.setattr(reproducibility, "REPEATED_SHARES", shares)
    monkeypatch.setattr(reproducibility, "CHANGES", (Change(), Change(rate=2.0)))
    monkeypatch.setattr(reproducibility, "pair_alone", lambda part: part)
    monkeypatch.setattr(reproducibility, "loss_of", lambda method, _: method)
    monkeypatch.setattr(reproducibility, "moved", lambda _, method, change: ends[method][int(change.rate > 1.0)])
    rows = reproducibility.repeated(SimpleNamespace(part=lambda _: None))
    found = {(row.check, row.setting.get("response")): row.value for row in rows}
    assert found["trained_pro", "chosen"] == pytest.approx(0.04)
    assert found["trained_pro", "H"] == pytest.approx(0.3)
    assert found["trained_dpo", None] == 0.5  # 3.0 and 0.5: one above 1
    assert found["trained_ratio", None] == 1.0  # 0 and 0.04, of which ten times are less
    assert found["trained_margin", None] == pytest.approx((0.5 + 0.6) / 2)
    apart = np.array([[-1.5, -1.45], [1.5, 1.45]])
    flat = 1.0 - 0.5 * ((apart[:, 0] - apart[:, 1]) ** 2).sum() / (apart**2).sum()
    assert found["trained_flat", None] == pytest.approx(flat)


@pytest.mark.parametrize("method", ["pro", "dpo"])
def test_losses_of_a_repeated_pair_by_hand(method):
    """PRO's is the mean over prompts, DPO's twice the sum: a factor that no optimum sees."""
    rng = np.random.default_rng(4)
    shares, beta, alpha = reproducibility.REPEATED_SHARES, reproducibility.REPEATED_BETA, reproducibility.REPEATED_ALPHA
    P = len(shares)
    ref, pi = rng.dirichlet(np.ones(3), P), rng.dirichlet(np.ones(3), P)
    reference = tabular_reference(np.log(ref), Schedule(steps=2, rate=0.1))
    found = float(reproducibility.loss_of(method, reference)(torch.tensor(np.log(pi)), slice(None)))
    r, total = beta * np.log(pi / ref), 0.0
    bernoulli = lambda d: -math.log(1.0 / (1.0 + math.exp(-d)) * (1.0 - 1.0 / (1.0 + math.exp(-d))) * 4.0) / 2.0
    for p, s in enumerate(shares):
        if method == "dpo":
            margin = r[p, 0] - r[p, 1]
            total += 2.0 * (s * math.log1p(math.exp(-margin)) + (1.0 - s) * math.log1p(math.exp(margin)))
        else:
            ties = sum(bernoulli(r[p, x] - r[p, y]) for x in range(3) for y in range(3)) / 9.0
            total += (-(s - 0.5) * (r[p, 0] - r[p, 1]) / 4.0 + 0.5 * alpha * ties) / P
    assert found == pytest.approx(total)


def test_products_of_gradients_predict_where_little_moves(monkeypatch, rng):
    """Features whose inner products are the given ones; steps at the descent's rates, of a mean over the prompts."""
    seen = {}
    monkeypatch.setattr(held_out, "TRAINED", 2)
    monkeypatch.setattr(held_out.theory, "labels", lambda *_: None)
    monkeypatch.setattr(held_out.theory, "optimum", lambda phi, told, beta: seen.update(beta=beta) or np.zeros(3))
    monkeypatch.setattr(
        held_out.theory, "descended", lambda phi, *words: seen.update(phi=phi, words=words) or np.zeros(3)
    )
    features = rng.normal(size=(2, 3, 3))
    features[:, -1] = 0.0
    products = np.einsum("pyd,qzd->pyqz", features, features)
    held_out.predicted_by_gradients("dpo", SimpleNamespace(log_law=np.zeros((2, 3))), [], products, 0.5)
    phi, (_, beta, rates, momentum) = seen["phi"], seen["words"]
    assert (phi.shape, beta, seen["beta"]) == ((2, 2, 3), held_out.TANGENT_BETA, held_out.TANGENT_BETA)
    np.testing.assert_allclose(np.einsum("pyd,qzd->pyqz", phi, phi), products[:, :-1, :, :-1], atol=1e-10)
    assert (len(rates), momentum) == (held_out.DESCENT.steps, held_out.MOMENTUM)
    assert rates[:11] == pytest.approx([0.5 / 2 * min(step, 10) / 10 for step in range(1, 12)])


def test_a_change_trains_with_its_factors_of_the_profile_s_schedule(monkeypatch):
    """Two fifths of 40 steps, a half longer; prompts in turn from the second on."""
    seen = {}

    def minimise(model, order, loss, schedule, **_):
        seen.update(order=list(itertools.islice(order, 40)), schedule=schedule)

    monkeypatch.setattr(reproducibility, "minimise", minimise)
    monkeypatch.setattr(reproducibility, "log_policy", lambda model, _: torch.zeros(2, 3))
    reference = SimpleNamespace(
        model=lambda: torch.nn.Linear(2, 2), trie=lambda: None, schedule=Schedule(steps=40, rate=0.01), log_law=1.0
    )
    reference.part = lambda _: reference
    end = reproducibility.moved(reference, lambda *_: None, Change(rate=2.0, steps=1.5, beta2=0.9, clip=0.3, first=1))
    np.testing.assert_array_equal(end, -np.ones((2, 3)))
    schedule = seen["schedule"]
    assert (schedule.steps, schedule.rate, schedule.beta2, schedule.clip) == (24, 0.02, 0.9, 0.3)
    n = len(reproducibility.REPEATED_SHARES)
    assert [(at.start, at.stop) for at in seen["order"]] == [((1 + t) % n, (1 + t) % n + 1) for t in range(24)]
    reproducibility.moved(reference, lambda *_: None, Change(momentum=0.1))
    assert (seen["schedule"].rate, seen["order"][0]) == (0.1, slice(None))
