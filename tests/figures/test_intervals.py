"""The intervals in figures are those that their captions say, and seeds that share draws are no more than one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from figures.__main__ import FIGURES
from figures.model_points import pooled, seeds_share
from figures.sizes import Quantity, Size
from figures.style import BARS, caption, look, select
from llm_validation.claims import table
from llm_validation.claims.table import LLM_CHECKS, REAL_CHECKS
from simulate.rows.store import Row
from tests.oracles.rows import made_row


def made(claim: str, check: str, setting: str, estimates, stderr: float) -> list[Row]:
    return [made_row(claim, check, setting, x, stderr, seed=k, n=9) for k, x in enumerate(estimates)]


def test_seeds_that_share_their_draws_do_not_narrow_an_interval():
    """As in the ledger: V11 on SmolLM2, whose seeds have 18 to 20 of 24 prompts in common."""
    estimates, stderr = (1.0, 1.1, 1.2, 0.9), 0.4
    at = "name=kto;data=cr;model=smollm2"
    (apart,) = pooled(made("V11", "grows", at, estimates, stderr))
    (together,) = pooled(made("V11", "real_grows", at, estimates, stderr))
    assert apart.stderr == pytest.approx(stderr / 2)
    assert together.stderr == pytest.approx(stderr)
    assert (together.low, together.high) == pytest.approx((together.estimate - stderr, together.estimate + stderr))
    declared = {
        (claim, check.name) for claim, own in {**LLM_CHECKS, **REAL_CHECKS}.items() for check in own if check.shared
    }
    assert declared == {(claim, name) for claim, name in declared if seeds_share(claim, name)}
    assert not seeds_share("R4", "trained_path")  # measured for figures alone


def test_nor_does_a_quantity_over_sizes(monkeypatch):
    own = tuple(
        replace(check, shared=True, settings=({"method": "nlhf"},))
        for check in LLM_CHECKS["D9"]
        if check.name == "mean_tv"
    )
    monkeypatch.setitem(table.LLM_CHECKS, "D9", own)
    rows = made("D9", "mean_tv", "method=nlhf", (0.01, 0.01, 0.01, 0.01), 0.004)
    found = Quantity("q", "q", "q", "q", (("D9", "mean_tv"),)).at(
        Size("tiny", "CPU", 1, {row.cell: row for row in rows})
    )
    assert found.stderr == pytest.approx(0.004)


def lengths(container) -> list[float]:
    return [math.dist(*bar) / 2 for bar in container[2][0].get_segments()]


def test_a_caption_says_what_its_bars_are(recorded):
    with look():
        simulated, trained = (
            FIGURES[name].draw(recorded) for name in ("distortion_correlated", "language_model_people")
        )
        plain = FIGURES["density_ratio_limits"].draw(recorded)
    (row,) = select(recorded, "D11", "chain", bt_beta=5, n_alternatives=100)
    assert any(x == pytest.approx((row.high - row.low) / 2) for c in simulated.axes[0].containers for x in lengths(c))
    (mine,) = pooled(
        select(recorded, "D17", "trained_distortion", population="starwars", method="nlhf", bt_beta=5, model="llm")
    )
    assert any(x == pytest.approx(mine.stderr) for c in trained.axes[0].containers for x in lengths(c))
    drawn = {"distortion_correlated": simulated, "language_model_people": trained, "density_ratio_limits": plain}
    said = {name: caption(FIGURES[name], figure, recorded) for name, figure in drawn.items()}
    assert [name for name, words in said.items() if BARS in words] == ["distortion_correlated", "language_model_people"]
