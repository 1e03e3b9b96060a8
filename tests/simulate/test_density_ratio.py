"""simulate/density_ratio*.py: every check would notice if theory were wrong; losses have their gradients."""

from __future__ import annotations

import numpy as np
import pytest

from simulate.density_ratio.losses import example_loss, free_minimiser, kldo_loss, table_loss
from simulate.density_ratio.samples import (
    distance_constant,
    known_mixture_likelihood,
    trained_constant,
    worst_against_bound,
)
from simulate.montecarlo import generator
from simulate.profiles import PROFILES
from tests.oracles.experiments import broken, judged, measure
from theory.density_ratio import estimates, flow, limits, losses, ratios
from theory.policy import kl_ball, nash, rewards


@pytest.mark.parametrize(
    ("module", "name", "wrong", "key"),
    [
        (ratios, "relative_ratio", lambda p, q, alpha: p / (alpha * q + (1 - alpha) * p), "R2.ratio"),
        (ratios, "pooled_ratio", lambda p, q, alpha, a: ratios.relative_ratio(p, q, alpha), "R5.ratio"),
        (ratios, "log_ratio_cap", lambda alpha: -np.log1p(alpha), "R4.cap"),
        (flow, "flow", lambda t, p, d, s=0.0: flow.drift(np.asarray(t), p, s), "R4.flow"),
        (flow, "convergence_rate", lambda p, d: d, "R4.rate"),
        (estimates, "infinite_share", lambda q, n: np.exp(-2 * n * np.asarray(q)), "R6.infinite"),
        (limits, "reached_policy", lambda m, p, q, w, alpha=0.5: p, "R9.page"),
    ],
)
def test_a_wrong_formula_is_noticed(monkeypatch, module, name, wrong, key):
    check = broken(monkeypatch, key, module, name, lambda _: wrong)
    verdicts = [judged(check, setting, measure(key, setting, "cpu")) for setting in check.settings[-2:]]
    assert "disagrees" in verdicts


@pytest.mark.parametrize(
    ("modules", "name", "method"), [((nash,), "nlhf", "nlhf"), ((kl_ball, rewards), "maximize_in_kl_ball", "rlhf")]
)
def test_a_wrong_ball_is_noticed(monkeypatch, modules, name, method):
    """Both sides of R3.limit would be wrong alike if simulation called theory's solvers."""

    def smaller(right):
        return lambda values, mu, tau, **more: right(values, mu, 0.9 * tau, **more)

    for module in modules:
        check = broken(monkeypatch, "R3.limit", module, name, smaller)
    settings = [setting for setting in check.settings if setting["method"] == method]
    assert {judged(check, setting, measure("R3.limit", setting, "cpu")) for setting in settings} == {"disagrees"}


@pytest.mark.parametrize("method", ["ddro", "rdro", "bco", "kto"])
@pytest.mark.parametrize("member", ["logistic", "lsif", "kliep"])
def test_slopes_are_derivatives(method, member):
    loss, lr, step = example_loss(method, alpha=0.3, kl_beta=0.7, shift=0.2, member=member), np.linspace(-2, 2, 9), 1e-6
    for term in (loss.chosen, loss.rejected):
        np.testing.assert_allclose(term(lr)[1], (term(lr + step)[0] - term(lr - step)[0]) / (2 * step), atol=1e-7)


def test_table_losses_have_their_gradients(rng):
    p, q, w = rng.dirichlet(np.ones(4), size=3)
    log_w = np.log(w)
    log_policy = np.log(rng.dirichlet(np.full(4, 5.0)))
    losses = (
        table_loss(example_loss("rdro", alpha=0.3), 0.4 * p, 0.6 * q, log_w),
        kldo_loss(p, q, log_w, 0.5),
        known_mixture_likelihood(p, q, np.log(0.3 * p + 0.7 * q), 0.3),
    )
    for loss in losses:
        for j in range(4):
            step = 1e-6 * (np.arange(4) == j)
            slope = (loss(log_policy + step)[0] - loss(log_policy - step)[0]) / 2e-6
            assert loss(log_policy)[1][j] == pytest.approx(slope, abs=1e-7)


def test_published_rdro_loss_is_the_theory_of_measures(rng):
    p, q = rng.dirichlet(np.ones(5), size=2)
    lr = rng.normal(size=5)
    for member in losses.BREGMAN:
        for alpha, fraction in ((0.3, None), (0.3, 0.2)):
            weights = (1.0, 1.0) if fraction is None else (fraction, 1.0 - fraction)
            trained = table_loss(
                example_loss("rdro", alpha=alpha, member=member), weights[0] * p, weights[1] * q, lr * 0
            )
            expected = losses.ratio_loss(member, lr, p, q, alpha, fraction)
            assert trained(lr)[0] == pytest.approx(expected, rel=1e-12)


def test_free_minimiser_finds_far_ratios():
    assert free_minimiser(example_loss("ddro"), 1.0, 1e-12) == pytest.approx(12 * np.log(10), rel=1e-12)
    assert free_minimiser(example_loss("rdro", alpha=0.2), 0.3, 0.0) == pytest.approx(np.log(5), rel=1e-14)


def test_training_on_samples_starts_from_the_mixture():
    """As far from p⁺ as the ratio that is read off the same number of samples, to half of it."""
    free, trained = (
        measure_constant("rdro", "three", rng=generator(0, "constant"), profile=PROFILES["smoke"])
        for measure_constant in (distance_constant, trained_constant)
    )
    assert trained.value == pytest.approx(free.value, rel=0.5)


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_the_worst_variance_is_that_of_the_worst_cell(alpha):
    """Of the exact quotients on the same grid, the largest; its cell is named."""
    exact = {}
    for p in (0.1, 0.4, 0.8):
        bound = ratios.relative_variance_bound([p, 1.0 - p], 10**6, 10**6, alpha)[0]
        for q in np.append(np.geomspace(1e-6, 0.1, 6), np.linspace(0.15, 0.9, 9)):
            variance = ratios.ratio_variance([p, 1.0 - p], [q, 1.0 - q], 10**6, 10**6, alpha)[0]
            exact[f"p+ = {p}, p- = {q:.3g}"] = variance / bound
    found = worst_against_bound(alpha, rng=generator(0, "worst"), profile=PROFILES["cpu"])
    assert found.value == pytest.approx(max(exact.values()), rel=0.05)
    assert exact[found.witness] > 0.9 * max(exact.values())
