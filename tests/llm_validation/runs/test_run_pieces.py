"""Small formulas of runs, by hand: catalogues' laws, clones, levels, comparisons, clipping, margins, steps."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llm_validation.runs import catalogues, comparisons, displacement, distortion, proximal, real
from llm_validation.runs.best_of_n import _difference
from llm_validation.runs.best_of_n_laws import MeasuredRows, _cut
from llm_validation.runs.best_of_n_rows import Predicted, decision_times
from simulate.montecarlo import Estimate
from simulate.people.data import People, RatedItems
from theory import Population


def test_laws_of_catalogues_are_mixtures_with_the_uniform():
    """An eighth of what is even at least, and clones of c together as rare as they are meant to be."""
    draw = np.random.default_rng(3).dirichlet(np.full(8, 20.0), 6)
    laws = catalogues.distortion_laws(np.random.default_rng(3))
    np.testing.assert_allclose(laws[0], 0.5 * draw[0] + 0.0625)
    place = catalogues.INSTANCES.index("I6")
    np.testing.assert_allclose(laws[place], [0.495, 0.495, *[0.01 / 6] * 6])
    draw = np.random.default_rng(3).dirichlet(np.full(8, 8.0), len(catalogues.UNPAIRED))
    np.testing.assert_allclose(catalogues.unpaired_laws(np.random.default_rng(3)), 0.7 * draw + 0.0375)


def test_clones_share_the_mass_of_their_class():
    users = Population([[1.0, 0.2, 0.0], [0.0, 0.4, 0.9]])
    whole = SimpleNamespace(population=users, mu=np.array([0.2, 0.3, 0.5]), log_reference=np.log([0.1, 0.3, 0.6]),
                            tau=0.3, bt_beta=5.0)  # fmt: skip
    split = distortion._split_clones(whole, 2)
    np.testing.assert_allclose(np.exp(split.log_reference), [0.1, 0.3, 0.3, 0.3])
    pairs = np.asarray(split.pair_weights)
    assert pairs[0, 2] / pairs[0, 1] == pytest.approx(0.25 / 0.3)
    assert pairs[2, 3] / pairs[0, 1] == pytest.approx(0.25 * 0.25 / (0.2 * 0.3))
    np.testing.assert_array_equal(split.population.utilities, [[1.0, 0.2, 0.0, 0.0], [0.0, 0.4, 0.9, 0.9]])
    assert split.names == ("a", "b", "c1", "c2")


@pytest.mark.parametrize("rejected", [0.0, 0.3, 1.0])
def test_a_cut_takes_the_lowest_fraction_of_the_mass(rejected):
    """Four rows of masses .1 … .4, worst first by score: of the row at the cut a part is kept."""
    weights, order = np.array([0.4, 0.1, 0.3, 0.2]), np.array([1, 3, 2, 0])
    kept, left = [], rejected
    for mass in weights[order]:
        gone = min(mass, left)
        left -= gone
        kept.append(mass - gone)
    stage = _cut(weights, order, rejected)
    np.testing.assert_allclose(stage.kept[order], kept, atol=1e-12)
    np.testing.assert_allclose(stage.kept + stage.dropped, weights)
    assert stage.at_cut.sum() == pytest.approx(1.0)


def test_near_rows_stand_for_the_one_at_the_cut(monkeypatch):
    monkeypatch.setattr("llm_validation.runs.best_of_n_laws.AT_CUT", 1)
    weights = np.array([0.1, 0.2, 0.0, 0.3, 0.4])
    stage = _cut(weights, np.arange(5), 0.35)  # the cut is in the third row that has mass
    np.testing.assert_allclose(stage.at_cut, np.array([0.0, 0.2, 0.0, 0.3, 0.4]) / 0.9)


def test_measured_less_predicted_in_a_unit_with_the_errors_of_both():
    row = _difference("B3", "llm_reward", 8, Estimate(1.3, 0.3, 9), Predicted(1.0, 0.4), 2.0)
    assert (row.value, row.estimate.stderr, row.estimate.n) == (pytest.approx(0.15), pytest.approx(0.25), 9)
    assert decision_times(56) == (14, 28, 42)
    assert decision_times(30) == (7, 15, 22)
    assert MeasuredRows.of(np.zeros((4, 1)), np.arange(4.0)).weights.sum() == pytest.approx(1.0)


def test_levels_are_compared_by_errors_and_a_slope():
    predicted = np.array([[1.0, 2.0], [4.0, 5.0]])
    reached = predicted * 1.1 + np.array([[0.0, 0.0], [0.0, 0.3]])
    worst, mean, slope = (row.value for row in real.level_rows("P12", "pro", reached, predicted))
    assert worst == pytest.approx(0.8)
    assert mean == pytest.approx((0.1 + 0.2 + 0.4 + 0.8) / 4)
    assert slope == pytest.approx(np.polyfit(predicted.ravel(), reached.ravel(), 1)[0])


def test_how_far_others_move_is_the_log_of_a_mean():
    moved = np.array([[1.0, -3.0], [0.5, -0.5], [2.0, 4.0]])  # means of sizes: 2, ½, 3
    row = real._far_from(moved, {})
    assert row.value == pytest.approx(math.log(5.5 / 3))
    each = np.array([2.0, 0.5, 3.0])
    assert row.estimate.stderr == pytest.approx(each.std(ddof=1) / math.sqrt(3) / each.mean())
    assert real._far_from(moved[:1], {}).estimate.stderr == 0.0


def test_a_crowd_compares_every_pair_as_often(rng):
    rates = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.6], [0.8, 0.4, 0.5]])
    rated = SimpleNamespace(unrated_pairs=lambda: [], win_rates=lambda weights, beta: rates[None])
    crowd = SimpleNamespace(rated=rated, n_users=7, n_items=3, name="some")
    found = real.crowd_compares(crowd, 5.0, rng)
    np.testing.assert_allclose(found.win_rates + found.win_rates.T, 1.0)
    error = 0.5 / math.sqrt(real.COMPARISONS // 3)
    np.testing.assert_allclose(found.win_rates, rates, atol=5 * error)
    assert not np.allclose(found.win_rates, rates, atol=1e-9)
    np.testing.assert_allclose(found.pair_weights, (1.0 - np.eye(3)) / 6)


def test_the_clipping_level_is_a_part_of_the_largest_centred_reward():
    assert comparisons.clip_level(np.array([0.0, 1.0, 5.0]), 0.5) == pytest.approx(1.5)


def test_errors_of_people_are_those_of_a_ratio_of_means(monkeypatch):
    """√n·stderr is the sd over users of (best item − distortion·policy)/utility; of every seed all the users."""
    U, betas = np.random.default_rng(0).random((400, 3)) * [1.0, 0.7, 0.5], (1.0, 5.0)  # one item is best for sure
    crowd = People("few", RatedItems("few", U, ("a", "b", "c"), (), 0, (0.0, 1.0)))
    laws = np.random.default_rng(1).dirichlet(np.ones(3), size=(2, len(betas)))
    monkeypatch.setattr(real, "train_choices", lambda *_: tuple(laws))
    for seed in (0, 1):
        rows = {(row.check, row.setting["method"], row.setting["bt_beta"]): row
                for row in real.people(SimpleNamespace(seed=seed), crowd, {"population": "few"}, betas)}  # fmt: skip
        assert len(rows) == 3 * 3 * len(betas)
        for method in real.DIFFERENCE:
            for beta, reached, target in zip(betas, *laws, strict=True):
                value, best = U.mean(axis=0).max() / (U @ reached).mean(), U[:, U.mean(axis=0).argmax()]
                predicted = U.mean(axis=0).max() / (U @ target).mean()
                found = rows["real_distortion", method, beta].estimate
                assert found.value == pytest.approx(value, rel=1e-12)
                assert rows["real_tabular", method, beta].value == pytest.approx(predicted, rel=1e-12)
                assert rows["real", method, beta].value == pytest.approx(value / predicted - 1.0, abs=1e-12)
                spread = np.std(best - value * (U @ reached)) / (U @ reached).mean()
                assert found.stderr == pytest.approx(spread / 20.0, rel=0.2)  # of 200 resamples: 5 %
                assert found.n == 400


def test_margins_of_pairs_are_shares_of_wins(monkeypatch):
    labels = {"pairs": SimpleNamespace(pairs=np.array([[0, 1], [0, 1], [1, 0], [2, 3]]))}
    monkeypatch.setattr(proximal, "LABELS", labels)
    expected = np.zeros((4, 4))
    expected[0, 1], expected[1, 0], expected[2, 3], expected[3, 2] = 1 / 6, -1 / 6, 0.5, -0.5
    np.testing.assert_allclose(proximal._pair_margins(), expected)


def test_a_small_step_moves_as_its_gradient_says(monkeypatch):
    """Of a table of logits the inner products are those of the softmax's gradients: the slope is one."""
    torch.manual_seed(0)
    table = torch.nn.Linear(4, 3, bias=False).double()
    logs = lambda model, _: model.weight.log_softmax(-1)
    monkeypatch.setattr(displacement, "log_policy", logs)
    tensor = lambda values: torch.as_tensor(np.asarray(values), dtype=torch.float64)
    reference = SimpleNamespace(model=lambda: table, trie=lambda: None, tensor=tensor)
    now = logs(table, None)
    gradients = [[torch.autograd.grad(now[p, y], table.weight, retain_graph=True)[0] for y in (0, 1)] for p in range(3)]
    products = np.array([
        [[float((gradients[p][y] * (gradients[q][0] - gradients[q][1])).sum()) for q in range(3)] for y in (0, 1)]
        for p in range(3)
    ])  # fmt: skip
    weights = np.array([0.5, -0.3, 0.8])
    start = table.weight.detach().clone()
    slope = displacement.small_step(reference, products, weights)
    assert slope == pytest.approx(1.0, abs=0.01)
    moved = (table.weight - start).detach()
    along = sum(w * (g[0] - g[1]) for w, g in zip(weights, gradients, strict=True))
    assert float((moved * along).sum()) > 0.0
    size = displacement.SMALL / np.abs(products[:, 0] @ weights).max()
    torch.testing.assert_close(moved, size * along)
