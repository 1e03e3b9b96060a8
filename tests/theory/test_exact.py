"""Every closed form at the edges of its range, against the same definition in 700 digits (`tests.oracles.exact`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from mpmath import mpf

from tests.oracles import exact
from theory.best_of_n.law import best_of_n_kl, best_of_n_law, kl_bound, win_rate
from theory.best_of_n.order_statistics import expected_max
from theory.density_ratio.ratios import ratio_variance, relative_ratio
from theory.distortion import factors
from theory.divergences import gaussian
from theory.proximal.closed_forms import binary_log_ratio, pair_log_ratio

BETAS = (1e-300, 1e-100, 1e-20, 1e-8, 1e-3, 0.5, 1.9, 2.1, 5.0, 50.0, 700.0)
LARGE = (1e4, 1e100, 1e300)
GAUSSIANS = ((1000.0, 1e-16, 0.0, 1.0), (0.0, 1.0, 1e-9, 1.0), (0.0, 1.0, 0.0, 1.0 + 1e-9), (0.0, 1.0, 0.0, 1.49),
             (0.0, 1.0, 0.0, 1.51), (1e100, 1.0, 0.0, 1e-10), (0.0, 1e-300, 0.0, 1e300),
             (3.0, 2.0, 1.0, 0.5))  # fmt: skip
NS, SHARES = (1, 2, 5, 1000, 10**6, 10**12), (0.5, 1e-3, 1e-12, 1.0 - 1e-12, 1e-300)
LAWS = ((0.5, 1e-300), (1e-200, 0.3), (0.25, 0.75), (1e-12, 1e-12))
Case = tuple[Callable[..., float], Callable[..., mpf], tuple[Any, ...], float]


def tables() -> list[Case]:
    """(function, oracle, arguments, relative accuracy)."""
    cases: list[Case] = []
    for name in ("linear_factor", "linear_slope", "borda_upper_factor"):
        cases += [(getattr(factors, name), getattr(exact, name), (beta,), 1e-15) for beta in (*BETAS[1:], *LARGE)]
    for name in ("borda_factor", "optimal_gamma", "borda_lower_factor"):
        cases += [(getattr(factors, name), getattr(exact, name), (beta,), 1e-15) for beta in BETAS[2:]]
    cases += [(pair_log_ratio, exact.pair_log_ratio, (a,), 1e-15)
              for a in (1.125 * (1 + 2**-50), 1.125 + 1e-9, 1.2, 9 / 4, 9e11, 1.3e12, 1e300)]  # fmt: skip
    cases += [(binary_log_ratio, exact.binary_log_ratio, case, 1e-15)
              for case in ((0.5, 1 + 2**-52), (0.5, 1 + 1e-9), (0.5, 2.5), (1e-300, 1.0), (-0.5, 1e300), (1e-9, 1e9),
                           (1e300, 2.1e300), (-3.0, 6.0000001))]  # fmt: skip
    cases += [(kl_bound, exact.kl_bound, (n,), 1e-15) for n in (1, 2, 3, 16, 10**6, 10**15)]
    cases += [(expected_max, exact.expected_max, (n,), 1e-12) for n in (3, 10**6)]
    for p in SHARES:
        for n in NS:
            cases += [(lambda p, n, i=i: best_of_n_law([1.0 - p, p], [0.0, 1.0], n)[i],
                       lambda p, n, i=i: exact.best_of_n_shares(p, n)[i], (p, n), 1e-13) for i in (0, 1)]  # fmt: skip
            cases.append((lambda p, n: win_rate(n, [1.0 - p, p], [0.0, 1.0]), exact.best_of_n_win_rate, (p, n), 1e-15))
            cases.append((lambda p, n: best_of_n_kl([1.0 - p, p], [0.0, 1.0], n), exact.best_of_n_kl, (p, n), 1e-12))
    for case in GAUSSIANS:
        cases.append((gaussian.bhattacharyya_gaussian, exact.bhattacharyya, case, 1e-14))
        hellinger = lambda *parts: gaussian.f_divergence_gaussian(*parts, "squared_hellinger")
        cases.append((hellinger, exact.squared_hellinger, case, 1e-14))
        cases.append((gaussian.kl_gaussian, exact.kl_gaussian, case, 1e-14))
    for p, q in LAWS:
        for alpha in (1e-12, 0.3, 1.0 - 1e-12):
            cases.append((lambda p, q, a: relative_ratio([p, 1 - p], [q, 1 - q], a)[0], exact.relative_ratio,
                          (p, q, alpha), 1e-15))  # fmt: skip
            cases.append((lambda p, q, *rest: ratio_variance([p, 1 - p], [q, 1 - q], *rest)[0], exact.ratio_variance,
                          (p, q, 30, 10**9, alpha), 1e-14))  # fmt: skip
    return cases


@pytest.mark.parametrize("name", sorted({oracle.__name__ for _, oracle, _, _ in tables()}))
def test_closed_forms_at_the_edges(name: str) -> None:
    for function, oracle, arguments, accuracy in tables():
        if oracle.__name__ != name:
            continue
        value, right = float(function(*arguments)), oracle(*arguments)
        if abs(right) < mpf(10) ** -307:
            assert abs(value) < 1e-30, arguments  # 0, or beyond float64
        else:
            assert math.isfinite(value), arguments
            assert abs(mpf(value) / right - 1) < accuracy, (arguments, value, float(right))
