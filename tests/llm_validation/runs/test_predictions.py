"""What runs compare a trained model with, and the errors that their rows claim: without training anything."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import entropy, norm

from llm_validation.catalogue.texts import Catalogue, encode_catalogue
from llm_validation.claims.settings import TABLE_KINDS, TABLE_SHARE
from llm_validation.claims.table import llm_checks
from llm_validation.profiles import PROFILES
from llm_validation.rewards.model import Explained
from llm_validation.runs import (
    best_of_n,
    best_of_n_costs,
    best_of_n_rows,
    best_of_n_scorer,
    comparisons,
    distortion,
    held_out,
    proximal,
)
from llm_validation.runs.best_of_n_laws import MeasuredRows
from llm_validation.text.corpus import train_tokenizer


def test_measured_rows_weigh_the_same_and_one_in_all():
    rows = MeasuredRows.of(np.array([[2.0], [1.0], [3.0]]), np.array([0.2, 0.1, 0.3]))
    assert rows.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert rows.scores[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_the_full_objective_weighs_responses_by_a_law(monkeypatch):
    """μ holds `TABLE_SHARE` of what is labelled, and the rest is the reference's law on all others."""
    law = np.random.default_rng(0).dirichlet(np.ones(9), len(TABLE_KINDS))
    tensor = lambda values: torch.as_tensor(np.asarray(values), dtype=torch.float64)
    reference = SimpleNamespace(log_law=np.log(law), logs=tensor(np.log(law)), tensor=tensor)
    seen = {}
    monkeypatch.setattr(proximal.pairs, "pro", lambda logs, ref, w, mu, **_: seen.update(w=w, mu=mu))
    proximal._full_objective(reference)(0, reference.logs)
    for p, kind in enumerate(TABLE_KINDS):
        held, mu = list(proximal._table(kind).labelled), seen["mu"][p].numpy()
        others = np.setdiff1d(np.arange(9), held)
        assert mu.sum() == pytest.approx(1.0)
        assert mu[held].sum() == pytest.approx(TABLE_SHARE)
        np.testing.assert_allclose(mu[others] / mu[others].sum(), law[p, others] / law[p, others].sum())
        assert seen["w"][p].sum() == pytest.approx(0.0, abs=1e-12)


def test_divergence_and_reward_of_best_of_n_from_levels():
    """KL = log N + (N − 1) E log u, less log N − (N − 1)/N; rewards in standard deviations above the pool's mean."""
    pool, predicted = SimpleNamespace(rewards=np.array([1.0, 2.0, 6.0]), sd=2.0), SimpleNamespace(value=7.0, stderr=1.0)
    fields = {"tokens": (8.0, 4.0), "seconds": (2.0, 1.0), "peak": (7.0, 5.0)}
    run = SimpleNamespace(n=4, best=np.array([4.0, 6.0]), rejected=np.array([3.0, 3.0]), **fields)
    (row,) = best_of_n._divergence(run, np.full(5, math.exp(-0.5)), 1000)
    assert row.value == pytest.approx(-3 * 0.5 + 3 / 4)
    for method, reward, error, tokens in ((0, 1.0, 0.5, 8.0), (1, 0.0, 0.0, 4.0)):
        rows = {row.check: row.estimate for row in best_of_n._raw(run, pool, method, predicted)}
        assert (rows["reward"].value, rows["reward"].stderr) == (reward, error)
        assert (rows["predicted_reward"].value, rows["predicted_reward"].stderr) == (2.0, 0.5)
        assert rows["tokens"].value == tokens


def test_a_distortion_is_told_in_excess_of_its_prediction(monkeypatch):
    monkeypatch.setattr(distortion, "reached", lambda s, *_: 3.0)
    monkeypatch.setattr(distortion, "_distortion", lambda s, *_: 2.0)
    rows = distortion._distortion_rows([SimpleNamespace(name="I3")], None, np.ones((1, 3)), "nlhf")
    assert {row.check: row.value for row in rows} == {"reached": 3.0, "predicted": 2.0, "excess": 0.5}


def test_orderings_of_methods_are_differences_of_what_they_reach(monkeypatch):
    loss = {"rlhf": {"I3": 1.0, "I5": 5.0, "I6": 9.0, "I9": 4.0, "I9_product": 1.5, "random": 1.25},
            "nlhf": {"I3": 1.0, "I5": 2.0, "I6": 3.0, "I9": 1.0, "I9_product": 1.0, "random": 1.0}}  # fmt: skip
    monkeypatch.setattr(distortion, "reached", lambda s, trained, _: loss[trained][s.name])
    monkeypatch.setattr(distortion, "_discordant", lambda *_: 0)
    prompts = [SimpleNamespace(name=name, bt_beta=5.0) for name in loss["rlhf"]]
    rows = distortion._instance_claims(prompts, "rlhf", "nlhf", SimpleNamespace(rewards=np.zeros(6)))
    single = {row.claim: row.value for row in rows if row.claim in ("D5", "D8", "D9", "D11")}
    assert single == {"D5": 3.0, "D8": 6.0, "D9": 3.0, "D11": 2.5}
    assert [row.value for row in rows if row.claim == "D4"] == [1.0, 5.0, 1.5, 1.25]
    assert [row.value for row in rows if row.claim == "D3"] == [1.0, 2.0, 1.0, 1.0, 1.0]


def test_what_clipping_holds_back_is_told_between_two_trained_models(monkeypatch, rng):
    """Divergence from the reference: of the model trained on all of the rewards, less of that on clipped ones."""
    before, free, held = rng.dirichlet(np.ones(4), (3, 2))
    reference = SimpleNamespace(
        log_law=np.log(before),
        schedule=SimpleNamespace(slower=lambda _: None),
        train=lambda *_, **__: SimpleNamespace(policy=held),
    )
    monkeypatch.setattr(distortion, "penalty_objective", lambda *_: None)
    monkeypatch.setattr(distortion, "predicted_rlhf", lambda *_: np.full(4, 0.25))
    rows = distortion._clipped(
        reference, [None, None], SimpleNamespace(rewards=np.eye(2, 3)), np.ones(2), SimpleNamespace(policy=free)
    )
    (found,) = [row.value for row in rows if row.check == "trained"]
    assert found == pytest.approx(entropy(free, before, axis=1).mean() - entropy(held, before, axis=1).mean())


def test_an_instance_with_its_clones_one_by_one_names_them():
    split = distortion.instance("I6", 0)
    assert split.names == ("a", "b", "c1", "c2", "c3", "c4", "c5", "c6")
    assert len(split.names) == split.population.utilities.shape[1] == len(split.mu)


def test_the_annealing_of_a_kl_weight_ends_half_way():
    reference = SimpleNamespace(schedule=SimpleNamespace(steps=100), tensor=torch.as_tensor)
    weights = comparisons.annealed(reference, np.array([0.1, 2.0]), np.array([1.0, 1.0]))
    assert weights.at(0)[:, 0].tolist() == pytest.approx([1.0, 0.5])  # as large as the payoffs; gentle already
    assert weights.at(25)[:, 0].tolist() == pytest.approx([math.sqrt(10.0), 0.5])
    assert weights.at(49)[0].item() < 10.0
    assert weights.at(50)[:, 0].tolist() == weights.at(99)[:, 0].tolist() == pytest.approx([10.0, 0.5])


def test_what_rejection_changes_is_counted_in_tokens_and_in_shares_of_rows(monkeypatch):
    """Of 64 rows 16 write something else within their length, and one more does after its end, which does not count."""
    tokens = np.ones((64, 8), dtype=int)
    other, lengths = tokens.copy(), np.full(64, 8)
    other[:16, 3] = 2
    lengths[20], other[20, 6] = 5, 2
    spent = SimpleNamespace(peak=30)
    plain = SimpleNamespace(tokens=tokens, rewards=np.zeros(64))
    kept = SimpleNamespace(tokens=tokens + (np.arange(64) < 1)[:, None], rewards=np.ones(64))
    fixed = SimpleNamespace(tokens=other, lengths=lengths, spent=spent)
    full = SimpleNamespace(spent=spent, decisions=[SimpleNamespace(fill=96.0), SimpleNamespace(fill=150.0)])
    outcomes = iter((kept, fixed, full))
    monkeypatch.setattr(best_of_n_costs, "best_of_n", lambda *_, **__: plain)
    monkeypatch.setattr(best_of_n_costs, "speculative_rejection", lambda *_, **__: next(outcomes))
    monkeypatch.setattr(best_of_n_costs, "PrefixScorer", lambda _: None)
    monkeypatch.setattr(best_of_n_costs, "_stories_that_end", lambda *_: [])
    writer = SimpleNamespace(length=8, end=0, times=[2, 6], reward=SimpleNamespace(score=None), model=None)
    rows = {row.check: row.estimate for row in best_of_n_costs.memory_and_exactness(writer, 0)}
    assert rows["llm_alpha_zero"].value == 8 + 1  # tokens of one row, and rewards
    assert rows["llm_peak"].value == 30 / (32 * (1 + 6))  # after the sixth token half of 64 rows are left
    assert rows["llm_same_rows"].value == 16 / 64
    assert rows["llm_over_budget"].value == 30 / (64 * 3)
    assert rows["llm_over_budget"].witness == "least fill 0.500"


def test_ratios_of_sums_over_draws_have_the_error_of_their_residuals():
    draws = [(2.0, 1.0), (3.0, 2.0), (7.0, 3.0)]
    found = [{"full_slope": draw} for draw in draws]
    rows = held_out.ratios("", {"pro": found, "dpo": found})
    assert [row.setting["method"] for row in rows] == ["pro", "dpo"]
    residuals = np.array([part - 2.0 * whole for part, whole in draws])  # 12/6 = 2
    assert rows[0].value == 2.0
    assert rows[0].estimate.stderr == pytest.approx(math.sqrt(3) * residuals.std(ddof=1) / 6.0)


def test_the_error_of_a_speedup_is_that_of_both_rewards(monkeypatch):
    """With a speed-up that is proportional to the reward, relative errors of rewards add in squares."""
    monkeypatch.setattr(
        best_of_n_costs, "measured_speedup", lambda reward, *_: SimpleNamespace(value=5.0 * reward, status="inside")
    )
    run = SimpleNamespace(n=8, rejected=np.array([1.0, 2.0, 3.0, 2.0]), tokens=np.array([4.0, 2.0]))
    row = best_of_n_costs._speedup(run, SimpleNamespace(value=4.0, stderr=0.2), 1.0, [1], *[np.ones(1)] * 3)
    stderr = np.std([1, 2, 3, 2], ddof=1) / 2
    assert row.value == pytest.approx(0.5)
    assert row.estimate.stderr == pytest.approx(0.5 * math.hypot(stderr / 2.0, 0.2 / 4.0))


def test_the_error_of_expected_tokens_is_of_groups_and_of_the_mean_length():
    rng = np.random.default_rng(1)
    n, groups, longest = 64, 40, 12

    def written(groups, n, seed, *, eos, reject=False):
        lengths = rng.integers(1, longest + 1, groups * n)
        finished = np.ones(groups * n, dtype=bool)
        return [SimpleNamespace(lengths=lengths, finished=finished, rewards=np.zeros(groups * n), returned=[])]

    profile = SimpleNamespace(pool=512 * groups)
    writer = SimpleNamespace(write=written, profile=profile, length=longest, times=(4, 8))
    ratio, lost = best_of_n_costs._stories_that_end(writer, 0)
    predicted = float(ratio.estimate.witness.split()[-1])
    deviation = math.sqrt((longest**2 - 1) / 12)  # of a length; a group's n lengths are independent here
    error = math.hypot(n * deviation / math.sqrt(n * groups), n * deviation / math.sqrt(n * groups)) / predicted
    assert ratio.estimate.stderr == pytest.approx(error, rel=0.15)
    assert ratio.estimate.n == groups
    assert lost.value == 0.0


def test_a_response_fits_the_context_to_the_last_token():
    tokenizer = train_tokenizer(["one two three four"] * 3, 260)
    catalogue = Catalogue(("one two",), (("three", "four three"),))
    (prompt,), (responses,) = (lambda e: (e.prompts, e.responses))(encode_catalogue(catalogue, tokenizer, 10**6))
    longest = len(prompt) + max(map(len, responses))
    encode_catalogue(catalogue, tokenizer, longest)
    with pytest.raises(ValueError, match=rf"prompt 0 with response 1 has {longest} tokens, the context {longest - 1}"):
        encode_catalogue(catalogue, tokenizer, longest - 1)


def test_a_pool_s_quantiles_are_its_rewards_where_a_normal_law_has_its_means():
    """(i − 3/8)/(M + 1/4) for equal weights; a weight of zero at the top is not at infinity."""
    rewards, even = np.array([-1.0, 0.5, 2.0]), np.full(3, 1 / 3)
    pool = best_of_n_rows.Pool(MeasuredRows.of(np.zeros((3, 1)), rewards), None)
    np.testing.assert_allclose(pool.quantile(even)(norm.ppf((np.arange(1, 4) - 0.375) / 3.25)), rewards)
    none_at_the_top = pool.quantile(np.array([0.6, 0.4, 0.0]))
    np.testing.assert_allclose(none_at_the_top(norm.ppf((np.array([0.9, 2.4, 3.0]) + 0.125) / 3.25)), rewards)
    assert none_at_the_top(9.0) == 2.0


def test_the_best_of_many_by_a_pool_s_quantiles_is_hardly_biased():
    """Pools of normal rewards: the mean best of 64 of 512; (i − ½)/(M + 1) is .055 deviations off."""
    z = np.linspace(-8.0, 8.0, 4001)
    middle, best = (z[1:] + z[:-1]) / 2, np.diff(norm.cdf(z) ** 64)
    found = []
    for seed in range(200):
        rewards = np.sort(np.random.default_rng(seed).normal(size=512))
        pool = best_of_n_rows.Pool(MeasuredRows.of(np.zeros((rewards.size, 1)), rewards), None)
        found.append(best @ pool.quantile(np.full(rewards.size, 1.0 / rewards.size))(middle))
    assert np.mean(found) == pytest.approx(best @ middle, abs=0.035)
    assert np.std(found) / np.sqrt(len(found)) < 0.012


@pytest.mark.parametrize(("room", "length"), [(20, 19), (40, 24), (None, 24)])
def test_rows_fill_the_context_after_their_first_token(monkeypatch, room, length):
    """T tokens after an end-of-text token, the profile's T where it fits or no limit is known."""
    config = SimpleNamespace() if room is None else SimpleNamespace(max_position_embeddings=room)
    assert best_of_n_scorer.row_length(SimpleNamespace(config=config), PROFILES["smoke"].best_of_n) == length


def test_what_rejection_s_numbers_are_predicted_from_is_what_their_checks_say():
    """From v(t) and the law of rewards, or from the joint law of scores and reward: each moves with its own alone."""
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=400)
    scores = np.sqrt([0.3, 0.6]) * rewards[:, None] + np.sqrt([0.7, 0.4]) * rng.normal(size=(400, 2))
    explained = lambda v: Explained(np.array(v), np.array(v), np.array(v), np.array([v, v]))
    known = best_of_n_rows.Pool(MeasuredRows.of(scores, rewards), explained([0.3, 0.6]))
    unknown = replace(known, explained=explained([0.0, 0.0]))
    shuffled = replace(known, rows=MeasuredRows.of(rng.permutation(scores), rewards))
    value = lambda pool, quantity: best_of_n_rows.predict(pool, 16, quantity, 0).value
    for claim, name in (("B4", "reward"), ("B5", "survival")):
        text = {check.name: check.quantity for check in llm_checks(claim)}
        assert "v(t)" in text[f"llm_{name}"]
        assert value(shuffled, name) == value(known, name) > 1.2 * value(unknown, name)
        assert "joint law" in text[f"llm_{name}_law"]
        assert value(unknown, f"{name}_law") == value(known, f"{name}_law") > 1.2 * value(shuffled, f"{name}_law")


def test_the_error_of_a_win_rate_holds_that_of_the_pool(monkeypatch):
    """A row at level u of the pool is beaten with probability 1 − uⁿ: the deviation of that, over the pool's root."""
    M, n = 400, 3
    none = SimpleNamespace(value=0.0, stderr=0.0)
    monkeypatch.setattr(best_of_n, "predict", lambda *_: none)
    monkeypatch.setattr(best_of_n, "_raw", lambda *_: [])
    pool = SimpleNamespace(rewards=np.arange(M, dtype=float), sd=1.0,
                           explained=SimpleNamespace(value=[0.25], replicates=np.array([[0.0], [0.5]])))  # fmt: skip
    best = np.array([100.0, 200.0, 300.0, 350.0])
    run = SimpleNamespace(n=n, best=best, rejected=best, survived=np.array([True, False, True, True]))
    rows = best_of_n.rewards_and_survival(SimpleNamespace(times=(8,), length=56), pool, [run], 0)
    found = {row.check: row for row in rows}
    assert found["llm_win_rate"].value == pytest.approx((best + 0.5).mean() / M - n / (n + 1))
    revealed = found["explained_variance"]
    assert (revealed.setting, revealed.value) == ({"decision": 1}, 0.25)
    assert revealed.estimate.stderr == pytest.approx(0.5 / math.sqrt(2.0))
    error = found["llm_win_rate"].estimate.stderr
    levels = (np.arange(100_000) + 0.5) / 100_000
    sampled = ((best + 0.5) / M).std(ddof=1) / 2
    assert error == pytest.approx(math.hypot(sampled, (1 - levels**n).std() / math.sqrt(M)), rel=1e-6)


def test_the_improvement_predicted_is_that_of_rewards_drawn_from_the_pool(monkeypatch):
    """100·(1 + E[(best − max)/(max − min)]) with the law's best, by drawing references here."""
    size = best_of_n_costs.REFERENCE
    rng = np.random.default_rng(0)
    rewards = np.sort(rng.gamma(2.0, size=500)) - 3.0
    monkeypatch.setattr(best_of_n_costs, "predict", lambda *_: SimpleNamespace(value=1.0, stderr=0.0))
    pool = SimpleNamespace(rewards=rewards, sd=rewards.std())
    run = lambda n: SimpleNamespace(n=n, rejected=np.full(8, 1.0), rewards=rng.choice(rewards, (8, size)))
    (row,) = best_of_n_costs._improvement(pool, [run(8), run(16)], 0)
    drawn = rng.choice(rewards, (20_000, size))
    expected = 100.0 * (1.0 + ((1.0 - drawn.max(axis=1)) / np.ptp(drawn, axis=1)).mean())
    assert float(re.search(r"predicted (-?[\d.]+)", row.estimate.witness)[1]) == pytest.approx(expected, abs=0.5)
