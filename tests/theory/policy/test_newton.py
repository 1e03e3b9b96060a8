"""Steps of Newton's method on the response map: by GMRES and by LU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.oracles.games import random_game
from theory.policy.kl_ball import KLBall
from theory.policy.newton import _dense, _krylov, _Problem


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_both_steps_are_the_same(weight, rng):
    """Up to a constant, to the accuracy of GMRES near a solution; in a ball, and with a penalty."""
    reference = rng.dirichlet(np.full(20, 5.0))
    problem = _Problem(random_game(20, 0), KLBall(np.log(reference), 0.3), weight)
    at = problem.respond(problem.payoffs(reference), 1.0 / 0.3)
    dense, krylov = _dense(problem, at, 1.5), _krylov(problem, replace(at, size=0.0), 1.5, 20)
    centred = [step - at.policy @ step for step in (dense, krylov)]
    np.testing.assert_allclose(centred[0], centred[1], atol=1e-3 * np.abs(centred[0]).max())
