"""Closed forms in JavaScript, each declared once beside the Python function that it mirrors.

The page's sliders call them as `F.name(…)`; tests compare both on the grid, in a browser and in node, to `ACCURACY`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scipy.special import log_ndtr

from theory.best_of_n.cost import speculative_tokens
from theory.best_of_n.law import kl_bound, win_rate
from theory.best_of_n.order_statistics import expected_max
from theory.correction.examples import PROMPTS, ROUNDS, TOKENS, edit_floors
from theory.correction.predictions import utility_after
from theory.density_ratio.flow import convergence_rate, flow
from theory.density_ratio.ratios import density_ratio, log_ratio_cap, relative_ratio
from theory.distortion.claims import rlhf_in_a_ball
from theory.distortion.factors import (
    borda_factor,
    borda_lower_factor,
    gamma_advantage,
    linear_factor,
    optimal_gamma,
    root_gap,
)
from theory.divergences.losses import minimum
from theory.divergences.safety_data import example_pair
from theory.proximal.closed_forms import binary_log_ratio, pair_log_ratio
from theory.proximal.existence import binary_threshold, imbalance_scores

#: Largest difference, relative to the larger of one and the value.
ACCURACY = 1e-12

BETAS = (1e-3, 0.1, 0.5, 1.0, 2.0, 2.001, 5.0, 10.0, 20.0, 50.0)
TABLES = (((0.5, 0.3, 0.2), (0.2, 0.3, 0.5)), ((0.9, 0.05, 0.05), (0.05, 0.05, 0.9)), ((0.25, 0.75), (0.25, 0.75)))
LOSSES = ("kldo", "dpo", "kto", "bco", "hellinger", "jensen_shannon", "reverse_kl", "pearson")
SPEC_TIMES = ((16, 64), (64, 128, 192), (100,))


@dataclass(frozen=True)
class ClosedForm:
    """One formula twice: `python` computes it, `javascript` is the source of a function of the same arguments.

    grid  tuples of arguments at which both are compared
    """

    name: str
    python: Callable[..., Any]
    javascript: str
    grid: tuple[tuple[Any, ...], ...]


def over(*axes: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    """All combinations of the axes."""
    return tuple(itertools.product(*axes))


def plain_ratio(p: float, q: float) -> float:
    """`density_ratio` of one outcome."""
    return float(density_ratio([p, 1.0 - p], [q, 1.0 - q])[0])


def capped_ratio(p: float, q: float, alpha: float) -> float:
    """`relative_ratio` of one outcome."""
    return float(relative_ratio([p, 1.0 - p], [q, 1.0 - q], alpha)[0])


def floors_of_edits(edit_rate: float, length: int) -> list[float]:
    """`edit_floors` as a list: Aligner, SFT, their difference."""
    found = edit_floors(edit_rate, length)
    return [found.aligner, found.sft, found.gain]


#: What the formulas of the correction topic need: the laws and kernels of the examples.
CONSTANTS = {
    "TOKENS": TOKENS.tolist(),
    "PROMPTS": PROMPTS.tolist(),
    "ROUNDS": {
        name: {"policy": r.policy.tolist(), "kernel": r.kernel.tolist(), "utilities": r.utilities.tolist()}
        for name, r in ROUNDS.items()
    },
}

FORMS = (
    # distortion
    ClosedForm("linear_factor", linear_factor, "(b) => (b / 2) / Math.tanh(b / 2)", over(BETAS)),
    ClosedForm("root_gap", root_gap, """(b) => {
  const h = b / 2;
  if (h > 1) return Math.sqrt(1 - Math.tanh(h) / h);
  let c = 25;
  for (let odd = 23; odd > 1; odd -= 2) c = odd + h * h / c;
  return h / Math.sqrt(c + h * h);
}""", over(BETAS)),
    ClosedForm("optimal_gamma", optimal_gamma, """(b) => {
  const h = b / 2, s = F.root_gap(b);
  return s < 0.5 ? Math.atanh(s) / h : (Math.log1p(s) - 0.5 * Math.log(Math.tanh(h) / h)) / h;
}""", over(BETAS)),
    ClosedForm("gamma_advantage", gamma_advantage, """(b) => {
  const h = b / 2, s = F.root_gap(b);
  if (s >= 0.5) return s / Math.tanh(h) - F.optimal_gamma(b);
  let series = 0;
  for (let odd = 49; odd > 1; odd -= 2) series = 1 / odd + s * s * series;
  return s ** 3 * (1 / Math.tanh(h) - series / h);
}""", over(BETAS)),
    ClosedForm("borda_factor", borda_factor, "(b) => F.linear_factor(b) * (1 + F.gamma_advantage(b))", over(BETAS)),
    ClosedForm("borda_lower_factor", borda_lower_factor,
               "(b, g) => F.linear_factor(b) * (1 - g + Math.tanh(b * g / 2) / Math.tanh(b / 2))",
               over(BETAS, (0.0, 0.2, 0.5, 1.0))),
    ClosedForm("rlhf_in_a_ball", rlhf_in_a_ball, """(b, eta) => {
  const delta = 10 / (10 + Math.exp(b)), leak = 0.5 * (1 - Math.log(2)) * eta;
  return ((1 - delta) / b + leak) / (delta + leak);
}""", over((5.0, 8.0, 10.0, 20.0), (1e-9, 1e-13))),
    # PRO
    ClosedForm("imbalance_scores", imbalance_scores, "(n) => [n / (n + 1), -1 / (n + 1)]", over((1, 2, 5, 10.5))),
    ClosedForm("binary_threshold", binary_threshold, "(s) => 2 * Math.abs(s)", over((-0.5, 0.0, 0.9))),
    ClosedForm("binary_log_ratio", binary_log_ratio,
               "(s, a) => s ? Math.sign(s) * Math.log1p(4 * Math.abs(s) / (a - 2 * Math.abs(s))) : 0",
               over((-0.5, 0.1, 0.9), (1.81, 2.5, 10.0))),
    ClosedForm("pair_log_ratio", pair_log_ratio, """(a) => {
  const left = (a - 1.125) / a, sigma = (t) => 1 / (1 + Math.exp(-t));
  let low = 0, high = Math.log(2) - Math.log(left);
  for (let k = 0; k < 200; k++) {
    const t = (low + high) / 2;
    if (sigma(-2 * t) + sigma(-t) > left) low = t; else high = t;
  }
  return (low + high) / 2;
}""", over((1.126, 1.2, 2.25, 10.0))),
    # divergences
    ClosedForm("example_pair", example_pair, """(n, s) => [1, -1].map((sign) => {
  const w = Array.from({length: n}, (_, i) => (1 + i % 3) * Math.exp(sign * 0.5 * s * Math.cos(2.4 * i)));
  const total = w.reduce((a, b) => a + b, 0);
  return w.map((x) => x / total);
})""", over((2, 5, 20), (0.0, 0.5, 2.0))),
    ClosedForm("minimum", minimum, """(name, p, q) => {
  const sum = (f) => p.reduce((total, _, i) => total + f(p[i], q[i]), 0);
  const xlog = (x, y) => x === 0 ? 0 : x * Math.log(x / y);
  const js = (a, b) => 0.5 * (xlog(a, (a + b) / 2) + xlog(b, (a + b) / 2));
  switch (name) {
    case "kldo": return -sum(xlog);
    case "reverse_kl": return -sum((a, b) => xlog(b, a));
    case "kto": return 1 - 0.5 * sum((a, b) => Math.abs(a - b));
    case "bco": return 2 * Math.log(2) - 2 * sum(js);
    case "jensen_shannon": return -sum(js);
    case "hellinger": return 2 - sum((a, b) => (Math.sqrt(a) - Math.sqrt(b)) ** 2);
    case "pearson": return -sum((a, b) => b > 0 ? (a - b) ** 2 / b : a > 0 ? Infinity : 0);
    case "dpo": return Math.log(2) - p.reduce((t, a, i) => t + q.reduce((u, b, j) => u + js(a * b, p[j] * q[i]), 0), 0);
  }
  throw new Error(`no loss ${name}`);
}""", tuple((name, *pair) for name in LOSSES for pair in TABLES)),
    # density ratios
    ClosedForm("plain_ratio", plain_ratio, "(p, q) => p / q", over((0.4, 0.1), (0.02, 0.3))),
    ClosedForm("capped_ratio", capped_ratio, "(p, q, a) => p / (a * p + (1 - a) * q)",
               over((0.4, 0.1), (0.0, 0.02, 0.3), (0.1, 0.5))),
    ClosedForm("log_ratio_cap", log_ratio_cap, "(a) => -Math.log(a)", over((0.05, 0.3, 0.9))),
    ClosedForm("convergence_rate", convergence_rate, "(p, d) => p > 0 && d > 0 ? p * d / (p + d) : 0",
               over((0.4, 0.1), (0.0, 0.02, 0.3))),
    ClosedForm("flow", lambda time, p, d: float(flow(time, p, d)), """(time, p, d) => {
  if (d === 0) {  // s + e^s = pt + 1
    const z = p * time + 1;
    let s = Math.log(z);
    for (let k = 0; k < 60; k++) s -= (s + Math.exp(s) - z) / (1 + Math.exp(s));
    return s;
  }
  const goal = Math.log(p) - Math.log(d), first = Math.abs(goal), side = goal > 0 ? 1 : -1;
  if (goal === 0 || time === 0) return 0;
  const gap = (y) => {
    const x = Math.exp(y), small = x < 1 ? Math.log(-Math.expm1(-x)) : Math.log1p(-Math.exp(-x));
    return side > 0 ? small : x + small;
  };
  const elapsed = (y) => side * (first - Math.exp(y)) / p - (1 / p + 1 / d) * (gap(y) - gap(Math.log(first))) - time;
  let high = Math.log(first), low = high;
  while (elapsed(low) < 0) {
    low -= 1 + time * F.convergence_rate(p, d);
    if (low < -700) return goal;
  }
  for (let k = 0; k < 200; k++) {
    const y = (low + high) / 2;
    if (elapsed(y) < 0) high = y; else low = y;
  }
  return goal - side * Math.exp((low + high) / 2);
}""", over((0.0, 1.0, 10.0, 1000.0, 1e5), (0.4, 0.1), (0.0, 0.02, 0.134, 0.4))),
    # correction
    ClosedForm("floors_of_edits", floors_of_edits, """(e, length) => {
  const h = (x) => x > 0 ? -x * Math.log(x) : 0, m = TOKENS[0].length;
  const aligner = h(e) + h(1 - e) + e * Math.log(m - 1);
  const entropy = (law) => law.reduce((total, p) => total + h((1 - e) * p + e * (1 - p) / (m - 1)), 0);
  const sft = TOKENS.reduce((total, law, x) => total + PROMPTS[x] * entropy(law), 0);
  return [length * aligner, length * sft, length * (sft - aligner)];
}""", over((0.0, 0.02, 0.3, 0.75, 1.0), (1, 2, 6))),
    ClosedForm("utility_after", utility_after, """(corrector, k) => {
  const {policy, kernel, utilities} = ROUNDS[corrector];
  let law = policy;
  for (let j = 0; j < k; j++) law = law.map((_, c) => law.reduce((total, x, o) => total + x * kernel[o][c], 0));
  return law.reduce((total, x, o) => total + x * utilities[o], 0);
}""", over(tuple(ROUNDS), (0, 1, 4, 20))),
    # Best-of-N
    ClosedForm("log_ndtr", lambda x: float(log_ndtr(x)), """(x) => {
  const u = Math.abs(x) / Math.SQRT2;
  let log_tail;  // log of erfc(u)/2
  if (u < 2) {
    let term = u, erf = u;
    for (let n = 1; n < 80; n++) { term *= 2 * u * u / (2 * n + 1); erf += term; }
    log_tail = Math.log(0.5 - erf * Math.exp(-u * u) / Math.sqrt(Math.PI));
  } else {
    let fraction = u;
    for (let n = 120; n > 0; n--) fraction = u + n / 2 / fraction;
    log_tail = -u * u - Math.log(2 * fraction * Math.sqrt(Math.PI));
  }
  return x > 0 ? Math.log1p(-Math.exp(log_tail)) : log_tail;
}""", over((-9.0, -3.0, -2.82, -1.0, 0.0, 0.5, 2.0, 3.5, 8.0))),
    ClosedForm("win_rate", win_rate, "(n) => n / (n + 1)", over((1, 4, 1024))),
    ClosedForm("kl_bound", kl_bound, "(n) => Math.log(n) - (n - 1) / n", over((1, 4, 1024))),
    ClosedForm("expected_max", expected_max, """(n) => {
  if (!F.rule) {  // 42 panels of 16 Gauss–Legendre nodes on [−9, 12], with log Φ at each
    F.rule = [];
    for (let i = 0; i < 16; i++) {
      let x = Math.cos(Math.PI * (i + 0.75) / 16.5), slope = 0;
      for (let k = 0; k < 30; k++) {
        let a = 1, b = x;
        for (let j = 2; j <= 16; j++) [a, b] = [b, ((2 * j - 1) * x * b - (j - 1) * a) / j];
        slope = 16 * (x * b - a) / (x * x - 1);
        x -= b / slope;
      }
      for (let panel = 0; panel < 42; panel++) {
        const y = -9 + 0.5 * (panel + (x + 1) / 2);
        F.rule.push([y, 0.25 * 2 / ((1 - x * x) * slope * slope), F.log_ndtr(y)]);
      }
    }
  }
  return F.rule.reduce((total, [x, w, log]) => total + w * (x > 0 ? -Math.expm1(n * log) : -Math.exp(n * log)), 0);
}""", over((1, 2, 3.5, 16, 1024, 1e6))),
    ClosedForm("speculative_tokens", speculative_tokens, """(n, times, keep, length) => {
  let rows = n, before = 0, tokens = 0;
  for (const time of times) {
    tokens += rows * (time - before);
    const exact = keep * rows, floor = Math.floor(exact), half = exact - floor === 0.5;  // halves go to the even number
    rows = Math.max(1, half ? floor + floor % 2 : Math.round(exact));
    before = time;
  }
  return tokens + rows * (length - before);
}""", over((3, 5, 64, 100), SPEC_TIMES, (0.25, 0.5, 0.75), (256,))),
)  # fmt: skip


def script() -> str:
    """The closed forms as one script: the constants, and `F` with a function of each name."""
    constants = [f"const {name} = {json.dumps(value)};" for name, value in CONSTANTS.items()]
    return "\n".join([*constants, "const F = {};", *(f"F.{form.name} = {form.javascript};" for form in FORMS)])
