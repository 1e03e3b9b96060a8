"""Figures of few alternatives, small regimes and population-proportional policies: claims D20, D21 and D23 to D26."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logit

from figures import style
from figures.style import finish, line, panels, points, select
from simulate.rows.store import Row
from theory.distortion import factors
from theory.distortion.few import audit_pair, minimax_mass, uniform_borda_factor
from theory.distortion.penalty_claims import identity_gap
from theory.distortion.proportional import coalition_limit, pair_proportional_factor, unanimous_distortion
from theory.distortion.regime_claims import cycle_probability, first_gain

TEMPERATURE = r"users' temperature $\beta$"


def few_alternatives(rows: Sequence[Row]) -> Figure:
    """Where Borda is minimax optimal, what uniform pairs over A alternatives cost it, and the audit of two."""
    figure, (left, middle, right) = panels(3)
    line(left, 0, np.geomspace(0.5, 50.0, 60), minimax_mass, "$m^*$")
    points(left, 0, select(rows, "D20", "threshold"), "bt_beta", "linear programs")
    left.axhline(2 / 3, color=style.GREY, linewidth=0.8, label="$A = 3$, uniform pairs")
    finish(left, TEMPERATURE, r"mass $\mu(a) + \mu(c)$", "Borda loses only $L$ above", log="x")
    sizes = np.array([2, 3, 4, 5, 6, 8, 10, 15, 20, 40, 80, 200])
    line(middle, 1, sizes, lambda A: uniform_borda_factor(10.0, int(A)), r"theory, $\beta = 10$")
    points(middle, 1, select(rows, "D20", "uniform", bt_beta=10.0), "n_alternatives", "linear program")
    middle.axhline(factors.borda_factor(10.0), color=style.GREY, linewidth=0.8, label="$K^*$")
    finish(middle, "alternatives $A$", "distortion of Borda", "uniform pairs", log="x")
    margins = np.linspace(0.0, 0.2, 60)
    for look, beta in enumerate((2.0, 5.0, 10.0)):
        line(right, look, margins, lambda m, b=beta: audit_pair(m, b), rf"theory, $\beta = {beta:g}$")
        points(right, look, select(rows, "D21", "exact", bt_beta=beta), "margin", "audit" if look == 0 else None)
    finish(right, r"margin $P(x\succ y) - \frac{1}{2}$", "worst distortion of $x$", "two alternatives")
    return figure


def regimes(rows: Sequence[Row]) -> Figure:
    """How far IPO moves a pair (D23), how often majorities cycle (D24), what a small KL budget buys a method (D25)."""
    figure, (left, middle, right) = panels(3)
    rates = np.linspace(0.5, 1.0, 100)
    line(left, 2, rates[:-1], lambda p: logit(p) / 0.5, r"DPO, $\kappa = 0.5$")
    for look, kl_beta in enumerate((0.1, 0.5)):
        line(left, look, rates, lambda p, k=kl_beta: identity_gap(p, k), rf"IPO, $\kappa = {kl_beta:g}$")
        points(left, look, select(rows, "D23", "pair", kl_beta=kl_beta), "win_rate", None if look else "IPO, trained")
    finish(left, "win rate of a pair", "log-ratios apart (nats)", "bounded, or not")
    line(middle, 0, np.geomspace(1.0, 300.0, 60), cycle_probability, "many users")
    points(middle, 0, select(rows, "D24", "probability"), "bt_beta", "200 users, simulated")
    middle.axhline(0.25 - 1.5 / math.pi * math.asin(1 / 3), color=style.GREY, linewidth=0.8, label=r"$\beta\to\infty$")
    finish(middle, TEMPERATURE, "probability of a cycle", "three alternatives", log="x")
    methods = ("rlhf", "ipo", "nlhf")
    for look, (check, name) in enumerate((("on_I6", r"I6, $\beta = 10$"), ("faint", "faint users"))):
        place = lambda row, shift=0.15 - 0.3 * look: shift - methods.index(style.text(row, "method"))
        points(right, look, select(rows, "D25", check), place, name, across=True)
        gains = [(1.0 if look else first_gain(method), 0.15 - 0.3 * look - i) for i, method in enumerate(methods)]
        style.dots(right, look, gains, marker="|", markersize=12)
    style.categories(right, [method.upper() for method in methods])
    finish(right, "part of the largest gain", "", "a KL budget of nearly 0")
    return figure


def proportional(rows: Sequence[Row]) -> Figure:
    """D26: the worst of two alternatives, what unanimity costs, and what a coalition gets."""
    figure, (left, middle, right) = panels(3)
    betas = np.geomspace(5.0, 300.0, 60)
    for look, sharpness in enumerate((0.0, 10.0)):
        name = rf"sharpness {sharpness:g}"
        line(left, look, betas, lambda b, k=sharpness: pair_proportional_factor(b, k), name)
        points(left, look, select(rows, "D26", "pair", sharpness=sharpness), "bt_beta", None if look else "programs")
    line(left, 2, betas, factors.linear_factor, "$L$: minimax")
    left.axhline(2.0, color=style.GREY, linewidth=0.8, label="uniform policy")
    finish(left, TEMPERATURE, "worst distortion", "two alternatives", log="xy")
    utilities = np.geomspace(1e-3, 1.0, 60)
    for look, (size, sharpness) in enumerate(((30, 0.0), (30, 10.0), (3, 0.0))):
        name = rf"$A = {size}$, sharpness {sharpness:g}"
        each = [unanimous_distortion(size, 5.0, e, sharpness) / size for e in utilities.tolist()]
        line(middle, look, utilities, each, name)
        mine = select(rows, "D26", "unanimous", n_alternatives=size, sharpness=sharpness)
        points(middle, look, style.scaled(mine, 1.0 / size), "utility", None if look else "sampled")
    finish(middle, r"utility $\varepsilon$ of the favourite", "distortion over $A$", r"all agree, $\beta = 5$", log="x")
    shares = np.linspace(0.0, 0.6, 40)
    for look, size in enumerate((2, 3, 10)):
        line(right, look, shares, lambda w, A=size: coalition_limit(w, A, 10.0), f"$A = {size}$")
        mine = select(rows, "D26", "coalition", n_alternatives=size, bt_beta=10.0)
        points(right, look, mine, "share", None if look else "sampled")
    line(right, 3, shares, lambda w: 1.0 / (2.0 - w), "without noise, at most")
    finish(right, "share $w$ of the coalition", "probability", r"second best of all, $\beta = 10$")
    return figure
