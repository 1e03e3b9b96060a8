"""The convex problem of held-out prompts against descent on the features' weights, which shares no code with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime, minimize
from scipy.special import log_expit, log_softmax

from theory.proximal import held_out
from theory.proximal.losses import edpo_loss
from theory.solution import CertificateError

RNG = np.random.default_rng(0)
#: More features than prompts have responses in all, and fewer: what is left free, and what cannot be reached.
SHAPES = ((2, 3, 9), (4, 3, 4))


Loss = Callable[[np.ndarray], float]


def loss_of(method: str, phi: np.ndarray, compared: list[held_out.Pairs], kl_beta: float) -> Loss:
    """By the losses' definitions, a function of θ."""
    A = phi.shape[1]

    def loss(theta: np.ndarray) -> float:
        policy = log_softmax(phi @ theta, axis=1)  # the reference is uniform
        if method == "pro":
            return sum(
                edpo_loss(np.exp(own), None, *held_out.empirical_scores(A, told), np.full(A, 1 / A), held_out.ALPHA,
                          kl_beta, log_reference=np.full(A, -np.log(A)))
                for own, told in zip(policy, compared, strict=True)
            )  # fmt: skip
        gaps = [kl_beta * (own[told[0][0]] - own[told[0][1]]) for own, told in zip(policy, compared, strict=True)]
        win = held_out.WIN_SHARE
        return sum(-win * log_expit(gap) - (1 - win) * log_expit(-gap) for gap in gaps)

    return loss


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ["pro", "dpo"])
def test_the_optimum_is_where_descent_from_the_reference_ends(method, shape):
    phi = RNG.normal(size=shape)
    compared = [held_out.pairs(p, shape[1]) for p in range(shape[0])]
    theta = held_out.optimum(phi, held_out.labels(method, compared, shape[1]), 0.7)
    loss = loss_of(method, phi, compared, 0.7)  # BFGS's steps stay in the span of the gradients
    found = minimize(loss, np.zeros(shape[2]), method="BFGS", jac="3-point", options={"gtol": 1e-8})
    np.testing.assert_allclose(theta, found.x, atol=1e-5)
    assert np.abs(theta).max() > 0.1


@pytest.mark.parametrize("method", ["pro", "dpo"])
def test_after_some_steps_descent_is_where_torch_s_is_and_after_many_at_the_optimum(method):
    """Nesterov's momentum as torch.optim.SGD has it, gradients by differences of the losses' definitions."""
    phi, rates = RNG.normal(size=SHAPES[0]), [0.1, 0.3, 0.2, 0.1]
    compared = [held_out.pairs(p, 3) for p in range(2)]
    told, loss = held_out.labels(method, compared, 3), loss_of(method, phi, compared, 0.7)
    theta = torch.zeros(9, dtype=torch.float64)
    optimiser = torch.optim.SGD([theta], lr=1.0, momentum=0.9, nesterov=True)
    for rate in rates:
        optimiser.param_groups[0]["lr"] = rate
        theta.grad = torch.as_tensor(approx_fprime(theta.numpy(), loss, 1e-6))
        optimiser.step()
    np.testing.assert_allclose(held_out.descended(phi, told, 0.7, rates, 0.9), theta.numpy(), atol=1e-5)
    many = held_out.descended(phi, told, 0.7, [0.3] * 4000, 0.9)
    np.testing.assert_allclose(many, held_out.optimum(phi, told, 0.7), atol=1e-9)


def test_a_loss_without_a_minimum_is_said_to_have_none(monkeypatch):
    phi, compared = RNG.normal(size=(2, 3, 8)), [[(0, 1)], [(1, 2)]]
    monkeypatch.setattr(held_out, "WIN_SHARE", 1.0)
    with pytest.raises(CertificateError, match="no minimum within margins of 20"):
        held_out.optimum(phi, held_out.labels("dpo", compared, 3), 1.0)
    monkeypatch.setattr(held_out, "ALPHA", 0.1)
    with pytest.raises(CertificateError, match="the loss may have none"):
        held_out.optimum(phi, held_out.labels("pro", [held_out.pairs(0, 3), held_out.pairs(1, 3)], 3), 1.0)


def test_features_of_the_example_by_their_frequencies():
    slow, fast = np.array([1, 2, 3, 1, 2, 3]), np.array([1, 1, 1, 2, 2, 2])
    phi = held_out.features()
    assert phi.shape == (6, 4, 6)
    for prompt, response in ((0, 0), (1, 0), (0, 1), (5, 3)):
        angles = 0.7 * prompt * slow + 1.9 * response * fast + np.arange(6)
        np.testing.assert_allclose(phi[prompt, response], np.cos(angles), atol=1e-14)
    logs = held_out.log_reference()
    np.testing.assert_allclose(logs[2] - logs[2, 0], np.sin([8, 9, 10, 11]) - np.sin(8), atol=1e-14)
    assert [held_out.pairs(prompt) for prompt in (0, 3)] == [[(0, 1), (0, 2)], [(3, 0), (3, 1)]]
