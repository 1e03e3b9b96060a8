"""Population limits of SFT, DPO, PRO, DDRO and RDRO on pairs of corrections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax

from tests.oracles.strategies import distributions
from theory.bradley_terry import product_pairs
from theory.correction.bootstrap import (
    ddro_limit,
    dpo_limit,
    pair_law,
    pair_win_rates,
    preference_laws,
    pro_limit,
    rdro_limit,
    reversible_dpo_limit,
)
from theory.correction.composition import compose
from theory.correction.copying import identity_mixture
from theory.correction.examples import PAIRS
from theory.correction.repetition import limit_law
from theory.correction.users import comparison_kernel
from theory.density_ratio.losses import ddro_loss, rdro_loss
from theory.policy import rewards as methods

CYCLIC, ACYCLIC = PAIRS["cyclic"], PAIRS["acyclic"]


@st.composite
def reversible(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A policy (A,), a reversible kernel (A, A) and its stationary law (A,)."""
    A = draw(st.integers(2, 5))
    nu = draw(distributions(A, 0.1))
    flow = np.array(draw(st.lists(st.lists(st.floats(0.05, 1.0), min_size=A, max_size=A), min_size=A, max_size=A)))
    flow = flow + flow.T
    np.fill_diagonal(flow, 0.0)
    kernel = flow / nu[:, None]
    kernel *= draw(st.floats(0.1, 0.95)) / kernel.sum(axis=1).max()
    return draw(distributions(A, 0.1)), kernel + np.diag(1.0 - kernel.sum(axis=1)), nu


def descend(loss, size):
    """The policy of least loss, by derivative-free polishing of a quasi-Newton descent on logits."""
    found = minimize(lambda t: loss(np.exp(log_softmax(np.append(t, 0.0)))), np.zeros(size - 1), method="BFGS")
    found = minimize(
        lambda t: loss(np.exp(log_softmax(np.append(t, 0.0)))), found.x, method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-15, "maxiter": 4000, "maxfev": 4000},
    )  # fmt: skip
    return np.exp(log_softmax(np.append(found.x, 0.0)))


def reversibility_gap(K):
    """Largest |ν(o)K(c|o) − ν(c)K(o|c)|, ν the stationary law."""
    flow = pair_law(limit_law(K), K)
    return np.abs(flow - flow.T).max()


@given(reversible(), st.sampled_from([0.3, 0.5, 1.0, 2.0]))
def test_dpo_on_reversible_corrections_is_a_geometric_mean(channel, kl_beta):
    pi, K, nu = channel
    assert limit_law(K) == pytest.approx(nu, abs=1e-10)
    assert reversibility_gap(K) == pytest.approx(0.0, abs=1e-12)
    known = reversible_dpo_limit(pi, nu, kl_beta)
    assert dpo_limit(pi, K, kl_beta) == pytest.approx(known, abs=1e-8)
    unnormalised = pi ** (1 - 1 / kl_beta) * nu ** (1 / kl_beta)
    assert known == pytest.approx(unnormalised / unnormalised.sum(), abs=1e-12)
    assert dpo_limit(pi, identity_mixture(K, 0.6), kl_beta) == pytest.approx(known, abs=1e-8)
    if kl_beta == 1.0:
        assert known == pytest.approx(nu, abs=1e-12)


@given(reversible(), st.floats(0.6, 3.0), st.integers(0, 3))
def test_repeated_dpo(channel, kl_beta, times):
    pi, K, nu = channel
    policy = pi
    for _ in range(times):
        policy = dpo_limit(policy, K, kl_beta)
    assert policy == pytest.approx(reversible_dpo_limit(pi, nu, kl_beta, times), abs=1e-7)


def test_dpo_is_fitted_to_the_pairs_whatever_they_are():
    """A corrector that is not reversible: the loss, written out pair by pair, is least at the limit."""
    pi, K = CYCLIC.policy, CYCLIC.kernel
    assert reversibility_gap(K) > 0.01
    J = pair_law(pi, K)

    def loss(policy):
        r = 0.7 * np.log(policy / pi)
        return float((J * np.logaddexp(0.0, r[:, None] - r[None, :])).sum())  # −log σ(r_c − r_o)

    limit = dpo_limit(pi, K, 0.7)
    assert descend(loss, 3) == pytest.approx(limit, abs=1e-6)
    for shift in 1e-4 * np.eye(3):
        assert loss(limit * np.exp(shift) / (limit * np.exp(shift)).sum()) > loss(limit)
    other = np.array([0.2, 0.2, 0.6])
    assert dpo_limit(pi, K, 0.7, other) == pytest.approx(limit / pi * other / (limit / pi * other).sum(), abs=1e-12)


def test_dpo_on_taken_proposals_is_dpo_on_comparisons():
    P = np.array([[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]])
    mu = np.array([0.5, 0.2, 0.3])
    comparisons = methods.dpo(P, product_pairs(mu), mu, 0.4)
    assert dpo_limit(mu, comparison_kernel(P, mu), 0.4) == pytest.approx(comparisons, abs=1e-9)


def test_ddro_and_rdro_move_by_one_round():
    for p in PAIRS.values():
        one_round = compose(p.policy, p.kernel)
        assert ddro_limit(p.policy, p.kernel) == pytest.approx(one_round, abs=1e-15)
        assert ddro_limit(p.policy, p.kernel, p.policy) == pytest.approx(one_round, abs=1e-8)
        for alpha in (0.2, 0.5):
            reference = alpha * one_round + (1 - alpha) * p.policy
            assert rdro_limit(p.policy, p.kernel, alpha) == pytest.approx(one_round, abs=1e-15)
            assert rdro_limit(p.policy, p.kernel, alpha, reference) == pytest.approx(one_round, abs=1e-8)
            assert rdro_limit(p.policy, sparse.csr_array(p.kernel), alpha) == pytest.approx(one_round, abs=1e-15)


@pytest.mark.parametrize("keep", [True, False])
def test_ratio_methods_from_other_references_minimise_their_losses(keep):
    pi, K = CYCLIC.policy, CYCLIC.kernel
    chosen, rejected = preference_laws(pi, K, keep_unchanged=keep)
    found = rdro_limit(pi, K, 0.3, pi, keep_unchanged=keep)
    best = descend(lambda policy: rdro_loss(np.log(policy / pi), chosen, rejected, 0.3), 3)
    assert found == pytest.approx(best, abs=1e-5)
    assert np.abs(found - compose(pi, K)).max() > 0.02
    if not keep:
        found = ddro_limit(pi, K, keep_unchanged=False)
        best = descend(lambda policy: ddro_loss(np.log(policy / pi), chosen, rejected), 3)
        assert found == pytest.approx(best, abs=1e-5)
        assert np.abs(found - compose(pi, K)).max() > 0.02


def test_pair_laws():
    J = pair_law(ACYCLIC.policy, ACYCLIC.kernel)
    assert J.sum() == pytest.approx(1.0)
    chosen, rejected = preference_laws(ACYCLIC.policy, ACYCLIC.kernel)
    assert rejected == pytest.approx(ACYCLIC.policy)
    assert chosen == pytest.approx(compose(ACYCLIC.policy, ACYCLIC.kernel))
    P, Q = pair_win_rates(ACYCLIC.policy, ACYCLIC.kernel)
    assert (P + P.T).ravel() == pytest.approx(1.0)
    assert Q.sum() == pytest.approx(1.0)
    assert P[1, 0] == 1.0  # 0 is corrected into 1 and never back
    assert P[3, 0] == 0.5  # never compared


def test_pro_has_an_optimum_where_dpo_has_none():
    pi, K = ACYCLIC.policy, ACYCLIC.kernel
    limit = pro_limit(pi, K, 2.5, 1.0, share=2 / 3)
    # its loss by hand: −Σ w r + (α/2) Σ μμ′ log cosh((r − r′)/2)
    P, Q = pair_win_rates(pi, K)
    shown = Q.sum(axis=1)
    w = shown * ((P - 0.5) @ shown)
    mu = np.where(shown > 0, 2 / 3 * shown, 1 / 3)

    def loss(policy):
        r = np.log(policy / pi)
        gaps = r[:, None] - r[None, :]
        return float(-w @ r + 1.25 * mu @ np.log(np.cosh(gaps / 2)) @ mu)

    assert descend(loss, 4) == pytest.approx(limit, abs=1e-6)
    assert limit[2] > limit[1] > limit[0]
    cyclic = pro_limit(CYCLIC.policy, CYCLIC.kernel, 1.5, 1.0)  # α > 1 is enough where every answer is in some pair
    assert cyclic.sum() == pytest.approx(1.0)


CHAIN = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def test_rdro_reaches_what_upstream_never_says():
    assert rdro_limit([0.5, 0.5, 0.0], CHAIN, 0.5) == pytest.approx([0.0, 0.5, 0.5])
