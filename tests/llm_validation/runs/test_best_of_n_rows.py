"""The rows of Best-of-N on a model: written once for all sizes, and rejected from as they were written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_validation.model.model import build
from llm_validation.profiles import PROFILES
from llm_validation.rewards.model import from_language_model
from llm_validation.runs.best_of_n_rows import Writer, measure

#: Rewards of one row in batches of two sizes, float32: they are up to 16, those of two rows .1 apart.
ROUNDING = 1e-4


@pytest.fixture(scope="module")
def writer() -> Writer:
    """Four, sixteen and two rows of a model and of a reward model that were never trained; batches of sixteen."""
    model = build("smoke", 60, 40, seed=0)
    reward = from_language_model(model)
    torch.nn.init.normal_(reward.head.weight, generator=torch.Generator().manual_seed(0))
    profile = replace(PROFILES["smoke"].best_of_n, sizes=(4, 16, 2), rows=(32, 48, 12), at_once=16)
    return Writer(model, 1, reward, 12, profile)


def test_every_size_has_the_same_rows_in_groups_of_its_own(writer):
    runs = {run.n: run for run in measure(writer, 0)}
    assert {n: run.rewards.shape for n, run in runs.items()} == {4: (8, 4), 16: (3, 16), 2: (6, 2)}
    for n, run in runs.items():
        np.testing.assert_array_equal(run.rewards.ravel(), runs[16].rewards.ravel()[: run.rewards.size])
        alone = np.concatenate([o.rewards for o in writer.write(len(run.best), n, 0)])
        np.testing.assert_allclose(run.rewards.ravel(), alone, atol=ROUNDING)
        np.testing.assert_array_equal(run.best, run.rewards.max(axis=1))


def test_what_is_rejected_is_of_the_same_rows(writer):
    for run in measure(writer, 0):
        assert (run.rejected[:, None] - run.best[:, None] <= ROUNDING).all()
        nearest = np.abs(run.rewards - run.rejected[:, None]).min(axis=1)
        assert nearest.max() < ROUNDING
        np.testing.assert_array_equal(run.survived == 1.0, np.abs(run.rejected - run.best) < ROUNDING)
        assert run.tokens[0] == run.n * writer.length
        assert run.peak[0] == pytest.approx(run.n * (1 + writer.length))
        assert run.seconds.min() > 0.0


@pytest.mark.parametrize("changed", [{"sizes": (4, 6, 16)}, {"at_once": 24}])
def test_sizes_that_cannot_share_their_rows_are_refused(writer, changed):
    with pytest.raises(ValueError, match="must divide the largest, and that at_once = "):
        replace(writer.profile, **changed)
