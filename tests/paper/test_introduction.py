"""The example that opens the paper: every number that is typed in it, computed again."""

from __future__ import annotations

import math
import re

import pytest

from simulate.rows.reach import ROOT
from theory.bradley_terry import Population
from theory.distortion.factors import borda_factor, optimal_gamma

BETA, SMALL = 10.0, 0.01


@pytest.fixture(scope="module")
def example() -> Population:
    """Alternatives a, b, c: those who value both a and b, those who value a, and all the others, who hardly care."""

    def lift(gap: float) -> float:
        return 1.0 / (1.0 + math.exp(-BETA * gap)) - 0.5

    gamma = optimal_gamma(BETA)
    torn = lift(SMALL) / (lift(1.0) + lift(SMALL))
    fond = torn * lift(gamma) / lift(1.0)
    return Population([[1 - gamma, 1, 0], [1, 0, SMALL], [0, 0, SMALL]], [torn, fond, 1 - torn - fond])


def test_both_replies_win_half_of_their_comparisons_with_the_bland_one(example):
    rates = example.win_rates(BETA)
    assert rates[0, 1] == pytest.approx(0.5, abs=1e-12)
    assert rates[2, 1] == pytest.approx(0.5, abs=1e-12)
    a, b, c = example.average_utility
    assert a > b > c
    assert a / c == pytest.approx(borda_factor(BETA), rel=1e-3)  # "within a thousandth"


def test_every_number_of_the_example_is_the_computed_one(example):
    text = (ROOT / "paper" / "sections" / "introduction.tex").read_text(encoding="utf-8")
    text = text.split(r"\paragraph{The answer for RLHF")[1].split(r"\paragraph{Contributions.}")[0]
    text = re.sub(r"\\ledger\{.*?\}\{.*?\}\{.*?\}", "", text)
    typed = set(re.findall(r"(?<![\d.])\d+\.\d+", text))
    torn, fond, _ = example.weights
    a, _, c = example.average_utility
    gamma = 1 - example.utilities[0, 0]
    assert typed == {
        f"{SMALL:g}", f"{1 - gamma:.2f}", f"{100 * torn:.1f}", f"{100 * fond:.1f}", f"{a:.3f}", f"{c:.4f}",
        f"{1 / (1 + math.exp(-BETA * SMALL)) - 0.5:.3f}", f"{1 / (1 + math.exp(-BETA * gamma)) - 0.5:.2f}",
    }  # fmt: skip
    assert "eight times less" in text
    assert round(a / c) == 8
