"""The closed forms in arithmetic of 700 digits, from their definitions: no cancellation survives that.

Arguments are floats, taken exactly; results are mpmath numbers.
"""

from __future__ import annotations

from mpmath import mp, mpf

mp.dps = 700


def linear_factor(beta: float) -> mpf:
    return mpf(beta) / 2 / mp.tanh(mpf(beta) / 2)


def linear_slope(beta: float) -> mpf:
    return (1 / (1 + mp.exp(-mpf(beta))) - mpf(1) / 2) / beta


def borda_upper_factor(beta: float) -> mpf:
    return linear_factor(beta) * min(linear_factor(beta), 2)


def optimal_gamma(beta: float) -> mpf:
    """The root of φ'(γ) = φ(1): β·σ(βγ)·σ(−βγ) = σ(β) − ½."""
    b = mpf(beta)
    level = (1 / (1 + mp.exp(-b)) - mpf(1) / 2) / b
    return mp.log((1 + mp.sqrt(1 - 4 * level)) / (1 - mp.sqrt(1 - 4 * level))) / b


def borda_lower_factor(beta: float, gamma: mpf | None = None) -> mpf:
    b = mpf(beta)
    g = mp.log(b + 1) / b if gamma is None else gamma
    return linear_factor(beta) * (1 - g + mp.tanh(b * g / 2) / mp.tanh(b / 2))


def borda_factor(beta: float) -> mpf:
    return borda_lower_factor(beta, optimal_gamma(beta))


def pair_log_ratio(alpha: float) -> mpf:
    """The root t of σ(2t) + σ(t) = 1 + 9/(8α), by x = e^{−t}: a cubic's only root in (0, 1), bisected."""
    with mp.workdps(330):
        goal = 9 / (8 * mpf(alpha))
        low, high = mpf(0), mpf(1)
        for _ in range(1080):
            x = (low + high) / 2
            low, high = (x, high) if 1 / (1 + x * x) + 1 / (1 + x) - 1 > goal else (low, x)
        return -mp.log(low)


def binary_log_ratio(score: float, alpha: float) -> mpf:
    share = mpf(1) / 2 + mpf(score) / mpf(alpha)
    return mp.log(share / (1 - share))


def kl_bound(n: int) -> mpf:
    return mp.log(n) - mpf(n - 1) / n


def expected_max(n: int) -> mpf:
    """∫ x dΦ(x)^n, in 20 digits."""
    with mp.workdps(20):
        density = lambda x: x * n * mp.npdf(x) * mp.ncdf(x) ** (n - 1)
        return mp.quad(density, [-12, -6, -3, 0, 1, 2, 3, 4, 5, 6, 8, 12, 20])


def best_of_n_shares(p: float, n: int) -> tuple[mpf, mpf]:
    """Of two rewards, the lower with probability 1 − p: (1 − p)^n and the rest; 1 − p as float64 has it."""
    lower = mpf(1.0 - p) / (mpf(1.0 - p) + mpf(p))
    return lower**n, 1 - lower**n


def best_of_n_kl(p: float, n: int) -> mpf:
    total = mpf(1.0 - p) + mpf(p)
    pairs = zip(best_of_n_shares(p, n), (mpf(1.0 - p) / total, mpf(p) / total), strict=True)
    return sum(q * mp.log(q / base) for q, base in pairs)


def best_of_n_win_rate(p: float, n: int) -> mpf:
    low, high = best_of_n_shares(p, n)
    return low * mpf(1.0 - p) / 2 + high * (mpf(1.0 - p) + mpf(p) / 2)


def bhattacharyya(mean1: float, cov1: float, mean2: float, cov2: float) -> mpf:
    m1, v1, m2, v2 = map(mpf, (mean1, cov1, mean2, cov2))
    return (m1 - m2) ** 2 / (4 * (v1 + v2)) + mp.log((v1 + v2) / (2 * mp.sqrt(v1 * v2))) / 2


def squared_hellinger(mean1: float, cov1: float, mean2: float, cov2: float) -> mpf:
    return 2 - 2 * mp.exp(-bhattacharyya(mean1, cov1, mean2, cov2))


def kl_gaussian(mean1: float, cov1: float, mean2: float, cov2: float) -> mpf:
    m1, v1, m2, v2 = map(mpf, (mean1, cov1, mean2, cov2))
    return (v1 / v2 - 1 + (m1 - m2) ** 2 / v2 - mp.log(v1 / v2)) / 2


def relative_ratio(p: float, q: float, alpha: float) -> mpf:
    return mpf(p) / (mpf(alpha) * mpf(p) + (1 - mpf(alpha)) * mpf(q))


def ratio_variance(p: float, q: float, n_p: int, n_q: int, alpha: float) -> mpf:
    a, p_, q_ = mpf(alpha), mpf(p), mpf(q)
    d = a * p_ + (1 - a) * q_
    return ((1 - a) / d**2) ** 2 * (q_**2 * p_ * (1 - p_) / n_p + p_**2 * q_ * (1 - q_) / n_q)
