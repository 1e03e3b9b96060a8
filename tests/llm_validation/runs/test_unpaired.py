"""Classes of single responses: their laws by hand, their draws, and what is read off held-out ones."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.claims.settings import RDRO_ALPHA, UNPAIRED
from llm_validation.runs import divergences, unpaired
from llm_validation.training.schedule import Schedule
from tests.oracles.tabular_reference import shared_reference
from theory.divergences import jensen_shannon


@pytest.fixture
def ref(rng):
    return rng.dirichlet(np.full(6, 5.0))


def drawn(name, ref):
    """The laws, and the u that they are built from."""
    return *unpaired.laws(name, ref, np.random.default_rng(3)), np.random.default_rng(3).uniform(-1.0, 1.0, 6)


def test_laws_around_the_reference(ref):
    p, q, u = drawn("on_rejected", ref)
    np.testing.assert_allclose(p, ref * np.exp(0.8 * u) / (ref * np.exp(0.8 * u)).sum())
    np.testing.assert_array_equal(q, ref)
    p, q, u = drawn("on_mixture", ref)
    np.testing.assert_allclose(RDRO_ALPHA * p + (1.0 - RDRO_ALPHA) * q, ref)
    assert p.sum() == pytest.approx(1.0)
    assert np.abs(p / ref - 1.0).max() == pytest.approx(0.6)
    assert np.corrcoef(p / ref, u)[0, 1] == pytest.approx(1.0)


def test_laws_that_have_nothing_to_do_with_the_reference(ref):
    again = np.random.default_rng(3)
    u, q_of = again.uniform(-1.0, 1.0, 6), lambda p: p * np.exp(-0.8 * u) / (p * np.exp(-0.8 * u)).sum()
    own = 0.4 / 6 + again.dirichlet(np.full(6, 4.0))
    own /= own.sum()
    p, q, _ = drawn("any", ref)
    np.testing.assert_allclose(p, own)
    np.testing.assert_allclose(q, q_of(own))
    p, q, _ = drawn("never_rejected", ref)
    np.testing.assert_allclose(p, (own + 0.6 * np.eye(6)[0]) / 1.6)
    assert q[0] == 0.0
    np.testing.assert_allclose(q[1:], q_of(own)[1:] / q_of(own)[1:].sum())


def test_a_cycle_among_the_first_three():
    rates = unpaired.cycle(5)
    np.testing.assert_allclose(rates + rates.T, 1.0)
    assert rates[0, 1] == rates[1, 2] == rates[2, 0] == 0.9
    assert rates[0, 4] == pytest.approx(1.0 / (1.0 + np.exp(-3.0)))
    assert rates[3, 4] == pytest.approx(1.0 / (1.0 + np.exp(-0.75)))


def test_the_law_of_compared_responses_is_found_from_its_losers(ref):
    mu, P = unpaired.sampled_law(ref), unpaired.cycle(6)
    assert mu.sum() == pytest.approx(1.0)
    lost = [2.0 * mu[x] * sum(mu[y] * P[y, x] for y in range(6)) for x in range(6)]
    np.testing.assert_allclose(lost, ref, atol=1e-9)


def test_draws_keep_the_least_of_each_response(ref):
    reference = SimpleNamespace(on_catalogue=np.tile(ref, (len(UNPAIRED), 1)), seed=0, n_responses=6)
    few = unpaired.draw(reference, 60, "few", at_least=3)
    for law in (few.chosen, few.rejected):
        np.testing.assert_allclose(law.sum(axis=1), 1.0)
        assert law.min() >= 3 / 60 - 1e-12
        np.testing.assert_allclose(law * 60, np.round(law * 60))
    many = unpaired.draw(reference)
    np.testing.assert_allclose(many.chosen, many.chosen_law, atol=3e-3)
    np.testing.assert_allclose(many.rejected, many.rejected_law, atol=3e-3)


def test_the_error_of_what_is_read_off_is_its_scatter(monkeypatch, rng):
    monkeypatch.setattr(unpaired, "HELD_OUT", 2000)
    p, q = rng.dirichlet(np.full(4, 3.0), (2, 2))
    rewards = np.log(p / q)
    found = [unpaired.read_off("bco", rewards, p, q, np.random.default_rng(seed)) for seed in range(300)]
    exact = np.mean([jensen_shannon(*laws) for laws in zip(p, q, strict=True)])
    means, errors = np.array([(values.mean(), error) for values, error in found]).T
    assert means.mean() == pytest.approx(exact, abs=4 * means.std() / np.sqrt(300))
    assert errors.mean() == pytest.approx(means.std(), rel=0.12)


def test_what_is_read_off_says_of_how_many_draws():
    """Of a class, over five prompts."""
    part = shared_reference(0, Schedule(steps=1, rate=0.1)).part(unpaired.UNPAIRED_PROMPTS)
    read = next(row for row in divergences.fitted(part, "kldo") if row.check == "held_out")
    assert read.estimate.n == 5 * 20_000
