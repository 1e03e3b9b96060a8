"""The worst-case instances of the distortion literature in closed form, every parameter an argument.

| instance | function | what it shows |
|---|---|---|
| I3 | condorcet_instance | no rule beats L(β): a Condorcet loser that is worth L(β) times the rest (D2) |
| I5 | borda_instance, copeland_instance | Borda and Copeland reach K*(β) (D4, D5, D6) |
| I6 | rlhf_instance | RLHF in a KL ball loses e^β/(10β), NLHF does not (D8, D9) |
| I9 | correlated_instance | RLHF under correlated pair sampling is unbounded in A (D11) |

I6 has up to 10¹³ identical alternatives, so it is collapsed into classes: utilities and policies are per class,
`multiplicity` says how many alternatives a class holds, `pair_weights` and `log_reference` hold class masses.

Source: Gölz, Haghtalab, Yang (arXiv 2505.23749), proofs of Thm 3, 5, 6 and 9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.bradley_terry import Population, product_pairs
from theory.distortion.measure import distortion
from theory.validate import Array, check_bt_beta, check_positive


@dataclass(frozen=True, eq=False)
class Instance:
    """A population with everything a method needs to run on it.

    population     user types over A alternatives (or classes of identical alternatives)
    pair_weights   (A, A) law of the compared pair
    log_reference  (A,) log π_ref, nats;  `reference` is its exponential and may underflow (I6)
    tau            KL budget in nats
    multiplicity   (A,) identical alternatives per class
    bt_beta        the users' temperature that the instance was built for
    names          (A,) one word per alternative
    """

    population: Population
    pair_weights: Array
    log_reference: Array
    tau: float
    multiplicity: Array
    bt_beta: float
    names: tuple[str, ...]

    @property
    def reference(self) -> Array:
        """π_ref (A,); entries below e^{-745} are 0 here, so solvers should be given `log_reference`."""
        return np.exp(self.log_reference)

    @property
    def mu(self) -> Array:
        """(A,) marginal of the pair law: how often each alternative (class) is compared."""
        return self.pair_weights.sum(axis=1)

    @property
    def win_rates(self) -> Array:
        """(A, A) population win rates at the instance's own bt_beta."""
        return self.population.win_rates(self.bt_beta)

    def distortion(self, policy: ArrayLike) -> float:
        """Distortion of a policy (A,) in the instance's own ball: max_{π'∈K} u(π') / u(policy).

        This is the number that the bounds are about. `theory.distortion.distortion(instance.population, policy)` is
        not: without `log_reference` and `tau` its benchmark may leave the ball, and on I6 it puts NLHF above L(β).
        """
        return distortion(self.population, policy, tau=self.tau, log_reference=self.log_reference)


def _margin(z: float) -> float:
    """σ(z) − ½, accurate for small z."""
    return 0.5 * math.tanh(0.5 * z)


def _require_range(name: str, value: float, low: float, high: float) -> float:
    """`value` if low < value ≤ high; ValueError names it otherwise."""
    if not low < value <= high:
        raise ValueError(f"{name} = {value} must be in ({low}, {high}]")
    return float(value)


def _unconstrained(population: Population, mu: Array, bt_beta: float, names: tuple[str, ...]) -> Instance:
    """Product sampling from mu, uniform reference, no KL constraint."""
    A = mu.size
    return Instance(population, product_pairs(mu), np.full(A, -math.log(A)), math.inf, np.ones(A), bt_beta, names)


def uniform_instance(population: Population, bt_beta: float) -> Instance:
    """Any population with uniform pairs, a uniform reference and no KL constraint."""
    A = population.utilities.shape[1]
    names = tuple(f"x{i}" for i in range(A))
    return _unconstrained(population, np.full(A, 1.0 / A), check_bt_beta(bt_beta), names)


def condorcet_instance(bt_beta: float, n_alternatives: int, epsilon: float, xi: float = 1.0) -> Instance:
    """I3 (Thm 3): a special alternative s (index 0) that ties with, or loses to, all others, and is worth more.

    A share w_s = (σ(βε) − ½)/(σ(β) + σ(βε) − 1) of the users values s at 1 and all else at 0; the rest values s at
    0 and all others at ξε. With ξ = 1 every comparison with s is a fair coin, although u(s)/u(other) → L(β) as
    ε → 0; with ξ slightly above 1, s is a Condorcet loser.

    n_alternatives ≥ 2, 0 < epsilon, xi ≥ 1 with xi·epsilon ≤ 1. ValueError names an argument out of range.
    """
    beta = check_bt_beta(bt_beta)
    if n_alternatives < 2:
        raise ValueError(f"n_alternatives = {n_alternatives} must be >= 2")
    _require_range("epsilon", epsilon, 0.0, 1.0)
    if not (xi >= 1 and xi * epsilon <= 1):
        raise ValueError(f"xi = {xi} must be >= 1 with xi * epsilon <= 1 (epsilon = {epsilon})")
    share = _margin(beta * epsilon) / (_margin(beta) + _margin(beta * epsilon))
    U = np.zeros((2, n_alternatives))
    U[0, 0] = 1.0
    U[1, 1:] = xi * epsilon
    population = Population(U, np.array([share, 1.0 - share]))
    names = ("s", *(f"o{i}" for i in range(1, n_alternatives)))
    return _unconstrained(population, np.full(n_alternatives, 1.0 / n_alternatives), beta, names)


def _borda_types(beta: float, epsilon: float, gamma: float | None, slack: float) -> tuple[Array, Array]:
    """Utilities (3 types × (a, b, c)) and weights of I5; `slack` lowers w_B by a factor (1 − slack)."""
    _require_range("epsilon", epsilon, 0.0, 0.5)
    gamma = math.log1p(beta) / beta if gamma is None else _require_range("gamma", gamma, 0.0, 1.0)
    weight_a = _margin(beta * epsilon) / (_margin(beta) + _margin(beta * epsilon))
    weight_b = weight_a * _margin(beta * gamma) / _margin(beta) * (1.0 - slack)
    U = np.array([[1.0 - gamma, 1.0, 0.0], [1.0, 0.0, epsilon], [0.0, 0.0, epsilon + epsilon**2]])
    return U, np.array([weight_a, weight_b, 1.0 - weight_a - weight_b])


def borda_instance(bt_beta: float, epsilon: float, gamma: float | None = None, *, clones: int = 1) -> Instance:
    """I5 (Thm 5): alternatives a, b, c on which Borda picks c although u(a)/u(c) → C(β, γ) as ε → 0.

    Three types with utilities (a, b, c): A (1−γ, 1, 0), B (1, 0, ε), C (0, 0, ε+ε²) and weights
    w_A = (σ(βε)−½)/(σ(β)+σ(βε)−1), w_B = w_A (σ(βγ)−½)/(σ(β)−½), w_C the rest. The pair law is a product of
    μ(a) = μ(c) = ε/10 and the rest on b, so that the Borda score is decided against b.

    epsilon in (0, ½]; gamma in (0, 1], log(β+1)/β by default (Thm 5), `theory.distortion.optimal_gamma` for the
    exact worst case K*(β) (D4); clones ≥ 1 splits b into that many identical alternatives.
    """
    beta = check_bt_beta(bt_beta)
    U, weights = _borda_types(beta, epsilon, gamma, 0.0)
    return _with_cloned_b(U, weights, beta, np.array([epsilon / 10, 1 - epsilon / 5, epsilon / 10]), clones)


def copeland_instance(
    bt_beta: float, epsilon: float, gamma: float | None = None, *, clones: int = 3, slack: float = 1e-3
) -> Instance:
    """I5 for Copeland (D6): b split into `clones` and w_B lowered by (1 − slack), so that c beats every clone of b.

    c beats every clone and loses to a, a loses to every clone: Copeland picks c as soon as there are two clones, and
    u(a)/u(c) → C(β, γ) as ε, slack → 0. clones ≥ 2; slack in (0, 1); other arguments as in `borda_instance`; pairs
    are uniform.
    """
    beta = check_bt_beta(bt_beta)
    if clones < 2:
        raise ValueError(f"clones = {clones} must be >= 2 for Copeland to pick c")
    _require_range("slack", slack, 0.0, 1.0)
    U, weights = _borda_types(beta, epsilon, gamma, slack)
    A = clones + 2
    return _with_cloned_b(U, weights, beta, np.array([1 / A, clones / A, 1 / A]), clones)


def _with_cloned_b(U: Array, weights: Array, beta: float, mu: Array, clones: int) -> Instance:
    """The instance on (a, b₁, …, b_clones, c), the mass of b shared by its clones."""
    if clones < 1:
        raise ValueError(f"clones = {clones} must be >= 1")
    columns = [0, *[1] * clones, 2]
    names = ("a", *(["b"] if clones == 1 else [f"b{i}" for i in range(1, clones + 1)]), "c")
    masses = np.array([mu[0], *[mu[1] / clones] * clones, mu[2]])
    return _unconstrained(Population(U[:, columns], weights), masses, beta, names)


def rlhf_instance(bt_beta: float, eta: float = 1e-9) -> Instance:
    """I6 (Thm 6), collapsed to the classes a, b, c: RLHF in a KL ball puts all its mass on b, the optimum is a.

    With δ = 10/(10 + e^β) and N = ⌈2/(δ(1/3 − e/10))⌉ clones of c: a share δ of the users values (a, b, c) at
    (0, 1, 0), the rest at (1/β, 0, 1). Pairs are uniform over all N + 2 alternatives. π_ref has (1−ε)/2 on a and
    on b and ε on the clones together, ε = e^{−2/η}; tau = 1 nat, of which moving from {a, b} to one of them costs
    log 2 and giving mass m to the clones costs 2m/η.

    bt_beta ≥ 1 (so that 1/β ≤ 1), eta > 0 (ε underflows from η ≈ 3e-3 down: use `log_reference`).
    """
    beta = check_bt_beta(bt_beta)
    if beta < 1:
        raise ValueError(f"bt_beta = {bt_beta} must be >= 1 for the utility 1/bt_beta of a")
    check_positive("eta", eta)
    delta = 10.0 / (10.0 + math.exp(beta))
    clones = float(math.ceil(2.0 / (delta * (1.0 / 3.0 - math.e / 10.0))))
    population = Population(np.array([[0.0, 1.0, 0.0], [1.0 / beta, 0.0, 1.0]]), np.array([delta, 1.0 - delta]))
    total = clones + 2.0
    log_epsilon = -2.0 / eta
    log_half = math.log1p(-math.exp(log_epsilon)) - math.log(2.0)
    return Instance(
        population=population,
        pair_weights=product_pairs(np.array([1.0 / total, 1.0 / total, clones / total])),
        log_reference=np.array([log_half, log_half, log_epsilon]),
        tau=1.0,
        multiplicity=np.array([1.0, 1.0, clones]),
        bt_beta=beta,
        names=("a", "b", "c"),
    )


def correlated_instance(bt_beta: float, n_alternatives: int, epsilon: float) -> Instance:
    """I9 (Thm 9, Lemma 15): under correlated pairs the fitted reward climbs while the utility falls to 0.

    Three equally weighted users start at (⅓, ⅓, ⅓). From t to t+1 the user of highest utility drops to 0 and the
    two others gain Δ'/β with Δ' = log((e^{Δ/2}+1)³/(2(e^Δ+3))), Δ = β·(dropped utility), which makes t+1 win
    against t by as little as possible. Mass 1−ε of the pairs is uniform on the adjacent pairs (t, t+1), mass ε
    uniform on all others; π_ref is uniform and tau = log A, so any policy is allowed.

    n_alternatives ≥ 3; epsilon in (0, 1). The paper's limit needs ε ≤ A⁻³: at A = 300, β = 5 the value ε = 1e-4
    still sees the other pairs (distortion 4.66 instead of 11.70).
    """
    beta = check_bt_beta(bt_beta)
    A = int(n_alternatives)
    if A < 3:
        raise ValueError(f"n_alternatives = {n_alternatives} must be >= 3")
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon = {epsilon} must be in (0, 1)")
    U = np.empty((3, A))
    U[:, 0] = 1.0 / 3.0
    for t in range(1, A):
        top = int(U[:, t - 1].argmax())
        dropped = beta * U[top, t - 1]
        # log((e^{Δ/2}+1)³ / (2(e^Δ+3))), by logaddexp so that β = 1000 does not overflow
        gain = 3 * np.logaddexp(dropped / 2, 0) - math.log(2) - np.logaddexp(dropped, math.log(3))
        U[:, t] = U[:, t - 1] + gain / beta
        U[top, t] = 0.0
    adjacent = np.abs(np.subtract.outer(np.arange(A), np.arange(A))) == 1
    others = ~adjacent & ~np.eye(A, dtype=bool)
    pairs = (1 - epsilon) * adjacent / adjacent.sum() + epsilon * others / others.sum()
    return Instance(
        population=Population(U),
        pair_weights=pairs,
        log_reference=np.full(A, -math.log(A)),
        tau=math.log(A),
        multiplicity=np.ones(A),
        bt_beta=beta,
        names=tuple(f"y{t}" for t in range(1, A + 1)),
    )


__all__ = [
    "Instance",
    "borda_instance",
    "condorcet_instance",
    "copeland_instance",
    "correlated_instance",
    "rlhf_instance",
    "uniform_instance",
]
