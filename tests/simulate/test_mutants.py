"""A wrong solver behind a claim makes a check of that claim disagree: NLHF, RLHF, penalties and Borda's factor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulate.best_of_n import pessimism
from simulate.distortion import clipped, kl_ball, penalty, proportional, regimes, worst_cases
from simulate.proximal import displacement, held_out
from tests.oracles.experiments import CHECKS, judged, measure
from theory.distortion import factors
from theory.divergences import by_generator, gaussian, generators, safety_data
from theory.policy.kl_ball import maximize_in_kl_ball
from theory.social_choice.pairwise import borda, borda_scores, copeland
from theory.solution import Solution

Solver = Callable[..., Any]


def borda_in_the_ball(right: Solver) -> Solver:
    """NLHF's place taken by the best policy in the ball for Borda scores."""

    def wrong(win_rates, reference=None, tau=np.inf, *, log_reference=None):
        values = borda_scores(win_rates)
        policy = maximize_in_kl_ball(values, reference, tau, log_reference=log_reference)
        return replace(right(win_rates, reference, tau, log_reference=log_reference), policy=policy)

    return wrong


def the_reference(right: Solver) -> Solver:
    """NLHF's place taken by the policy that it should improve on."""

    def wrong(win_rates, reference=None, tau=np.inf, *, log_reference=None, **more) -> Solution:
        start = np.exp(log_reference) if reference is None else np.asarray(reference)
        return replace(right(win_rates, reference, tau, log_reference=log_reference), policy=start)

    return wrong


def blind_to_tau(right: Solver) -> Solver:
    """RLHF in the ball of one nat, whatever was asked for."""
    return lambda win_rates, pairs, reference=None, tau=1.0, **more: right(win_rates, pairs, reference, 1.0, **more)


def heavier(right: Solver) -> Solver:
    """A penalty 5 % too heavy."""
    return lambda values, reference, weight: right(values, reference, 1.05 * weight)


def gentler(right: dict[str, Solver]) -> dict[str, Solver]:
    """DPO and IPO at a kl_beta 5 % too large."""
    return {
        name: lambda P, pairs, reference, beta, run=run, **more: run(P, pairs, reference, 1.05 * beta, **more)
        for name, run in right.items()
    }


def uniformly(right: Solver) -> Solver:
    """The maximal lottery's place taken by a policy that always mixes."""
    return lambda win_rates: replace(right(win_rates), policy=np.full(len(win_rates), 1.0 / len(win_rates)))


def unsoftened(right: Solver) -> Solver:
    """The proportional policy, whatever the sharpness."""
    return lambda win_rates, sharpness=0.0: right(win_rates)


def of_borda_scores(right: Solver) -> Solver:
    """Probability in proportion to Borda scores: many weak opponents hide a strong one."""
    return lambda win_rates, sharpness=0.0: borda_scores(win_rates) / borda_scores(win_rates).sum()


def winner_takes_all(right: Solver) -> Solver:
    """The minimax rule in the place of the proportional policy."""
    return lambda win_rates, sharpness=0.0: np.eye(len(win_rates))[right(win_rates).argmax()]


def in_its_place(rule: Solver) -> Callable[[Solver], Solver]:
    """The maximal lottery's place taken by another rule on win rates."""
    return lambda right: lambda win_rates: replace(right(win_rates), policy=rule(win_rates))


MUTANTS = [
    ("D3.bound", 0, worst_cases, "maximal_lottery", in_its_place(borda)),
    ("D3.bound", -1, worst_cases, "maximal_lottery", in_its_place(borda)),
    ("D3.bound", 0, worst_cases, "maximal_lottery", in_its_place(copeland)),
    ("D3.bound", -1, worst_cases, "maximal_lottery", in_its_place(copeland)),
    ("D8.dpo", 0, penalty, "METHODS", gentler),
    ("D11.dpo", 1, penalty, "METHODS", lambda right: right | {"dpo": right["ipo"]}),
    ("D23.same", 0, penalty, "borda_scores", lambda right: lambda P, mu: 1.05 * right(P, mu)),
    ("D8.small_balls", -3, kl_ball, "rlhf", blind_to_tau),
    ("D9.unbeaten", 3, kl_ball, "nlhf", borda_in_the_ball),
    ("D9.unbeaten", 3, kl_ball, "nlhf", the_reference),
    ("D10.multiplier", 0, kl_ball, "nlhf_regularized", heavier),
    ("D10.multiplier", 2, kl_ball, "rlhf_penalty", heavier),
    ("D24.mixed", 0, regimes, "maximal_lottery", uniformly),
    ("D25.on_I6", 2, regimes, "nlhf", the_reference),
    ("D25.share", 0, regimes, "fit_rewards", lambda right: lambda P, pairs: right(P.T, pairs)),
    ("D26.unanimous", 1, proportional, "proportional", unsoftened),
    ("D26.recovered", 4, proportional, "proportional", of_borda_scores),
    ("D26.coalition", 1, proportional, "proportional", winner_takes_all),
    ("D26.level", 1, proportional, "proportional", winner_takes_all),
    ("D26.share_bound", 0, proportional, "share_bounds", lambda right: lambda P, bt_beta: right(P)),
    ("P15.ratio", 8, held_out, "features", lambda right: lambda: np.roll(right(), 1, axis=0)),
    ("P16.slope", 1, displacement, "dpo_run", lambda right: lambda G, own, margin: right(G, own, 1.05 * margin)),
    ("P16.pro_level", 0, displacement, "pro", lambda right: lambda alpha, kl_beta: right(1.05 * alpha, kl_beta)),
    (
        "B13.holds",
        1,
        pessimism,
        "levels",
        lambda right: lambda weights, proxy, beta: right(weights, proxy, 0.01 * beta),
    ),
    ("D15.leak", 3, clipped, "rlhf", lambda right: lambda P, pairs, **more: right(P, pairs, **more | {"tau": 0.9})),
]


@pytest.mark.parametrize(("key", "place", "module", "name", "mutant"), MUTANTS)
def test_a_wrong_solver_disagrees(monkeypatch, key, place, module, name, mutant):
    check = CHECKS[key]
    setting = check.settings[place]
    assert judged(check, setting, measure(key, setting)) == "agrees"
    monkeypatch.setattr(module, name, mutant(getattr(module, name)))
    assert judged(check, setting, measure(key, setting)) == "disagrees"


@pytest.mark.parametrize(
    ("key", "place", "module", "name"),
    [
        ("V10.sampled", 3, safety_data, "divergence_of_masses"),
        ("V11.distance", 4, gaussian, "log_affinity"),
        ("V11.after_pca", 2, gaussian, "separation"),
    ],
)
def test_a_wrong_formula_is_in_its_prediction_alone(monkeypatch, key, place, module, name):
    """What is measured is spelt out anew: a formula that is a quarter too large parts from it."""
    check = CHECKS[key]
    setting = check.settings[place]
    assert judged(check, setting, measure(key, setting)) == "agrees"
    right = getattr(module, name)
    for user in (module, generators, by_generator):
        if getattr(user, name, None) is right:
            monkeypatch.setattr(user, name, lambda *given: 1.25 * right(*given))
    assert judged(check, setting, measure(key, setting)) == "disagrees"


def test_a_factor_of_borda_that_is_too_large_disagrees():
    """The certificate proves an upper bound, and a larger one is proved as well: that it is attained shows it."""
    check, setting = CHECKS["D4.attained"], {"bt_beta": 5.0}
    estimate = measure("D4.attained", setting)
    assert judged(check, setting, estimate) == "agrees"
    too_large = replace(check, theory=lambda bt_beta: 1.05 * factors.borda_factor(bt_beta))
    assert judged(too_large, setting, estimate) == "disagrees"
