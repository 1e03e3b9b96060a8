"""simulate/correction/*: every check would notice if theory were wrong; counts of samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulate.correction.data import corrected, draw, mean_of_counts, train_rows
from simulate.correction.users import corrections
from simulate.experiments import EXPERIMENTS
from simulate.montecarlo import Estimate, difference, generator, inverse
from simulate.profiles import PROFILES
from tests.oracles.experiments import CHECKS, broken, judge, judged, measure
from theory.bradley_terry import Population
from theory.correction import bootstrap, composition, copying, repetition, users


def off_by(share):
    """A formula that is off by a share."""
    return lambda right: lambda *arguments, **options: (1 + share) * right(*arguments, **options)


@pytest.mark.parametrize(
    ("module", "name", "key"),
    [
        (composition, "aligner_floor", "A1.aligner"),
        (composition, "sft_floor", "A1.sft"),
        (composition, "information_gain", "A1.difference"),
        (composition, "gain", "A3.gain"),
        (composition, "compose", "A3.law"),
        (copying, "unchanged_share", "A5.unchanged"),
        (copying, "copying_left", "A5.forgotten"),
        (copying, "identity_mixture", "A5.copied"),
        (repetition, "rounds", "A4.utility"),
        (repetition, "limit_law", "A4.limit"),
        (repetition, "convergence_rate", "A4.rate"),
        (bootstrap, "dpo_limit", "A6.dpo"),
        (bootstrap, "pro_limit", "A6.pro"),
        (bootstrap, "rdro_limit", "A6.rdro_upstream"),
        (bootstrap, "ddro_limit", "A6.changed_only"),
        (users, "worst_distortion", "A7.attained"),
        (users, "normalised_dictator_factor", "A7.normalised"),
    ],
)
def test_a_formula_off_by_one_per_cent_is_caught(monkeypatch, module, name, key):
    setting = CHECKS[key].settings[0]
    check = broken(monkeypatch, key, module, name, off_by(0.01))
    assert judged(check, setting, measure(key, setting)) == "disagrees"


@pytest.mark.parametrize("habit", ["favourite", "step"])
@pytest.mark.parametrize("cost", ["distortion", "harm"])
def test_a_supremum_that_is_too_small_is_caught(monkeypatch, habit, cost):
    name = f"worst_{cost}"
    setting = {"habit": habit, "cost": cost}
    assert judge("A7.bound", setting) == "agrees"
    monkeypatch.setattr(users, name, off_by(-0.01)(getattr(users, name)))
    assert judge("A7.bound", setting) == "disagrees"


def test_a_transfer_bound_that_is_too_small_is_caught(monkeypatch):
    setting = {"spread": 0.003}
    monkeypatch.setattr("simulate.correction.channels.transfer_bound", off_by(-0.01)(composition.transfer_bound))
    assert judge("A3.transfer", setting) == "disagrees"


# Counts.


def test_means_of_counts_are_those_of_the_samples(rng):
    values, counts = np.array([0.0, 1.0, 5.0, np.inf]), np.array([3, 4, 2, 0])
    listed = np.repeat(values, counts)
    found = mean_of_counts(values, counts)
    assert found.value == pytest.approx(listed.mean())
    assert found.stderr == pytest.approx(listed.std(ddof=1) / 3)
    assert found.n == 9
    assert inverse(2.0, found).stderr == pytest.approx(2.0 * found.stderr / found.value**2)
    assert difference(found, Estimate(1.0, 0.3)).stderr == pytest.approx(np.hypot(found.stderr, 0.3))


def test_trained_rows_are_frequencies(rng):
    kernel = rng.dirichlet(np.ones(4), size=3)
    data = corrected(draw(np.array([0.2, 0.3, 0.5]), 10**9, rng), kernel, rng)
    assert data.sum() == 10**9
    assert train_rows(data) == pytest.approx(data / data.sum(axis=1, keepdims=True), abs=1e-6)
    assert train_rows(np.zeros((2, 4), dtype=np.int64)) == pytest.approx(np.full((2, 4), 0.25))


def test_sampled_users_break_ties_at_random(rng):
    population = Population(np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 1.0]]), np.array([0.5, 0.5]))
    upstream, n = np.array([0.2, 0.3, 0.5]), 4 * 10**8
    for habit, kernel in (("favourite", users.favourite_kernel(population)), ("step", users.step_kernel(population))):
        counts = corrections(population, habit, population.weights, upstream, n, rng)
        assert counts.sum() == n
        assert counts / n == pytest.approx(upstream @ kernel, abs=1e-4)


@pytest.mark.parametrize(
    ("key", "number"), [("A3.law", 0), ("A3.law", 3), ("A3.gain", 1), ("A3.gain", 5), ("A5.unchanged", 1)]
)
def test_errors_are_of_answers_and_of_the_corrector_s_training(key, number):
    """Estimates spread over seeds as their standard errors say: without the corrector's own, 1.3 to 3 times as far."""
    small = dataclasses.replace(PROFILES["cpu"], replicates=20)
    setting = CHECKS[key].settings[number]
    found = [EXPERIMENTS[key](**setting, rng=generator(seed, key), profile=small) for seed in range(100)]
    ratio = np.std([e.value for e in found], ddof=1) / np.mean([e.stderr for e in found])
    assert 0.82 < ratio < 1.22
