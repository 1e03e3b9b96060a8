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

import numpy as np

from theory.bradley_terry import Population, product_pairs
from theory.distortion.instance import Instance
from theory.numerics import centred_sigmoid, log1mexp
from theory.validate import LARGEST_TABLE, Array, as_number, check_between, check_bt_beta, check_reciprocal, check_whole

#: Largest β of I6, whose number of clones grows like 3.2·e^β.
LARGEST_BETA = 700.0


def require_normal(beta: float, epsilon: float) -> None:
    """ValueError where β·ε, and with it the share of a type, leaves the normal floats."""
    if not beta * epsilon * epsilon > 1e-300:
        raise ValueError(f"bt_beta = {beta} and epsilon = {epsilon} make shares of users below 1e-300")


def clone_names(name: str, clones: int) -> tuple[str, ...]:
    """The name of one alternative, or names of its clones, numbered from 1."""
    return (name,) if clones == 1 else tuple(f"{name}{i}" for i in range(1, clones + 1))


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
    """I3: a special alternative s (index 0) that ties with, or loses to, all others, and is worth more.

    A share w_s = (σ(βε) − ½)/(σ(β) + σ(βε) − 1) of the users values s at 1 and all else at 0; the rest values s at 0
    and all others at ξε. With ξ = 1 every comparison with s is a fair coin, although u(s)/u(other) → L(β) as ε → 0;
    with ξ slightly above 1, s is a Condorcet loser.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    n_alternatives : int
        ≥ 2.
    epsilon : float
        ε in (0, 1].
    xi : float
        ξ ≥ 1 with ξε ≤ 1.

    Returns
    -------
    Instance
        Population, pair law, reference, budget and names.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 3.

    Examples
    --------
    >>> from theory.distortion import condorcet_instance
    >>> instance = condorcet_instance(5.0, n_alternatives=2, epsilon=1e-3)
    >>> instance.win_rates, round(instance.distortion([0.0, 1.0]), 3)
    (array([[0.5, 0.5],
           [0.5, 0.5]]), 2.534)
    """
    beta = check_bt_beta(bt_beta)
    n_alternatives = check_whole("n_alternatives", n_alternatives, 2, LARGEST_TABLE)
    epsilon, xi = check_between("epsilon", epsilon, ends="(]"), as_number("xi", xi)
    if not (xi >= 1 and xi * epsilon <= 1):
        raise ValueError(f"xi = {xi} must be >= 1 with xi * epsilon <= 1 (epsilon = {epsilon})")
    require_normal(beta, epsilon)
    faint, full = centred_sigmoid([beta * epsilon, beta]).tolist()
    share = faint / (full + faint)
    U = np.zeros((2, n_alternatives))
    U[0, 0] = 1.0
    U[1, 1:] = xi * epsilon
    population = Population(U, np.array([share, 1.0 - share]))
    names = ("s", *(f"o{i}" for i in range(1, n_alternatives)))
    return _unconstrained(population, np.full(n_alternatives, 1.0 / n_alternatives), beta, names)


def _borda_types(beta: float, epsilon: float, gamma: float | None, slack: float) -> tuple[Array, Array]:
    """Utilities (3 types × (a, b, c)) and weights of I5; `slack` lowers w_B by a factor (1 − slack)."""
    require_normal(beta, check_between("epsilon", epsilon, 0.0, 0.5, "(]"))
    gamma = math.log1p(beta) / beta if gamma is None else check_between("gamma", gamma, ends="(]")
    faint, middle, full = centred_sigmoid([beta * epsilon, beta * gamma, beta]).tolist()
    weight_a = faint / (full + faint)
    weight_b = weight_a * middle / full * (1.0 - slack)
    U = np.array([[1.0 - gamma, 1.0, 0.0], [1.0, 0.0, epsilon], [0.0, 0.0, epsilon + epsilon**2]])
    return U, np.array([weight_a, weight_b, 1.0 - weight_a - weight_b])


def borda_instance(bt_beta: float, epsilon: float, gamma: float | None = None, *, clones: int = 1) -> Instance:
    """I5: alternatives a, b, c on which Borda picks c although u(a)/u(c) → C(β, γ) as ε → 0.

    Three types with utilities (a, b, c): A (1−γ, 1, 0), B (1, 0, ε), C (0, 0, ε+ε²) and weights
    w_A = (σ(βε)−½)/(σ(β)+σ(βε)−1), w_B = w_A (σ(βγ)−½)/(σ(β)−½), w_C the rest. The pair law is a product of
    μ(a) = μ(c) = ε/10 and the rest on b, so that the Borda score is decided against b.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    epsilon : float
        ε in (0, ½].
    gamma : float, optional
        In (0, 1]; log(β+1)/β by default, `optimal_gamma` for the exact worst case K*(β) (D4).
    clones : int
        ≥ 1 identical alternatives in place of b.

    Returns
    -------
    Instance
        Population, pair law, reference, budget and names.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 5.

    Examples
    --------
    >>> from theory.distortion import borda_instance
    >>> from theory.social_choice import borda
    >>> instance = borda_instance(5.0, epsilon=1e-3)
    >>> round(instance.distortion(borda(instance.win_rates, instance.mu)), 2)
    3.46
    """
    beta, epsilon = check_bt_beta(bt_beta), as_number("epsilon", epsilon)
    U, weights = _borda_types(beta, epsilon, gamma, 0.0)
    return _with_cloned_b(U, weights, beta, np.array([epsilon / 10, 1 - epsilon / 5, epsilon / 10]), clones)


def copeland_instance(
    bt_beta: float, epsilon: float, gamma: float | None = None, *, clones: int = 3, slack: float = 1e-3
) -> Instance:
    """I5 for Copeland (D6): b split into `clones` and w_B lowered by (1 − slack), so that c beats every clone of b.

    c beats every clone and loses to a, a loses to every clone: Copeland picks c as soon as there are two clones, and
    u(a)/u(c) → C(β, γ) as ε, slack → 0. Pairs are uniform.

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    epsilon : float
        ε in (0, ½].
    gamma : float, optional
        As in `borda_instance`.
    clones : int
        ≥ 2.
    slack : float
        In (0, 1].

    Returns
    -------
    Instance
        Population, pair law, reference, budget and names.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 5.

    Examples
    --------
    >>> from theory.distortion import copeland_instance
    >>> from theory.social_choice import copeland
    >>> instance = copeland_instance(5.0, epsilon=1e-3)
    >>> copeland(instance.win_rates), instance.names
    (array([0., 0., 0., 0., 1.]), ('a', 'b1', 'b2', 'b3', 'c'))
    """
    beta = check_bt_beta(bt_beta)
    clones = check_whole("clones", clones, 2, LARGEST_TABLE)  # for Copeland to pick c
    slack, epsilon = check_between("slack", slack, ends="(]"), as_number("epsilon", epsilon)
    U, weights = _borda_types(beta, epsilon, gamma, slack)
    A = clones + 2
    return _with_cloned_b(U, weights, beta, np.array([1 / A, clones / A, 1 / A]), clones)


def _with_cloned_b(U: Array, weights: Array, beta: float, mu: Array, clones: int) -> Instance:
    """The instance on (a, b₁, …, b_clones, c), the mass of b shared by its clones."""
    clones = check_whole("clones", clones, 1, LARGEST_TABLE)
    columns = [0, *[1] * clones, 2]
    names = ("a", *clone_names("b", clones), "c")
    masses = np.array([mu[0], *[mu[1] / clones] * clones, mu[2]])
    return _unconstrained(Population(U[:, columns], weights), masses, beta, names)


def rlhf_sizes(bt_beta: float) -> tuple[float, float]:
    """Of I6: δ = 10/(10 + e^β), the share of the users who value b, and the N = ⌈2/(δ(1/3 − e/10))⌉ clones of c."""
    delta = 10.0 / (10.0 + math.exp(bt_beta))
    return delta, float(math.ceil(2.0 / (delta * (1.0 / 3.0 - math.e / 10.0))))


def rlhf_instance(bt_beta: float, eta: float = 1e-9) -> Instance:
    """I6, collapsed to the classes a, b, c: RLHF in a KL ball puts all its mass on b, the optimum is a.

    With δ = 10/(10 + e^β) and N = ⌈2/(δ(1/3 − e/10))⌉ clones of c: a share δ of the users values (a, b, c) at (0, 1,
    0), the rest at (1/β, 0, 1). Pairs are uniform over all N + 2 alternatives. π_ref has (1−ε)/2 on a and on b and ε on
    the clones together, ε = e^{−2/η}; tau = 1 nat, of which moving from {a, b} to one of them costs log 2 and giving
    mass m to the clones costs 2m/η.

    Parameters
    ----------
    bt_beta : float
        β in [1, 700]: 1/β is a utility, and about 3.2·e^β clones are counted.
    eta : float
        η > 0; ε underflows from about 3e-3 down, so give solvers `log_reference`.

    Returns
    -------
    Instance
        Population, pair law, reference, budget and names.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 6.

    Examples
    --------
    >>> from theory.distortion import rlhf_instance
    >>> from theory.policy import nlhf, rlhf
    >>> i = rlhf_instance(10.0)
    >>> by_rlhf = rlhf(i.win_rates, i.pair_weights, tau=i.tau, log_reference=i.log_reference)
    >>> by_nlhf = nlhf(i.win_rates, tau=i.tau, log_reference=i.log_reference).policy
    >>> round(i.distortion(by_rlhf), 2), round(i.distortion(by_nlhf), 2)
    (220.26, 1.0)
    """
    beta = check_bt_beta(bt_beta)
    if not 1 <= beta <= LARGEST_BETA:
        raise ValueError(
            f"bt_beta = {bt_beta} must be in [1, {LARGEST_BETA:g}]: the utility of a is 1/bt_beta, and e^bt_beta "
            "clones of c are counted in float64"
        )
    check_reciprocal("eta", eta)
    delta, clones = rlhf_sizes(beta)
    population = Population(np.array([[0.0, 1.0, 0.0], [1.0 / beta, 0.0, 1.0]]), np.array([delta, 1.0 - delta]))
    total = clones + 2.0
    log_epsilon = -2.0 / eta
    log_half = float(log1mexp(log_epsilon)) - math.log(2.0)
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
    """I9: under correlated pairs the fitted reward climbs while the utility falls to 0.

    Three equally weighted users start at (⅓, ⅓, ⅓). From t to t+1 the user of highest utility drops to 0 and the two
    others gain Δ'/β with Δ' = log((e^{Δ/2}+1)³/(2(e^Δ+3))), Δ = β·(dropped utility), which makes t+1 win against t by
    as little as possible. Mass 1−ε of the pairs is uniform on the adjacent pairs (t, t+1), mass ε uniform on all
    others; π_ref is uniform and tau = log A, so any policy is allowed. The paper's limit needs ε ≤ A⁻³: at A = 300, β =
    5 the value ε = 1e-4 still sees the other pairs (distortion 4.66 instead of 11.70).

    Parameters
    ----------
    bt_beta : float
        The users' Bradley–Terry temperature, > 0.
    n_alternatives : int
        A ≥ 3.
    epsilon : float
        ε in (0, 1).

    Returns
    -------
    Instance
        Population, pair law, reference, budget and names.

    Raises
    ------
    ValueError
        An argument out of range.

    References
    ----------
    Gölz, Haghtalab, Yang (arXiv 2505.23749), Theorem 9 and Lemma 15.

    Examples
    --------
    >>> from theory.distortion import correlated_instance
    >>> from theory.policy import rlhf
    >>> i = correlated_instance(5.0, n_alternatives=20, epsilon=20.0**-3)
    >>> round(i.distortion(rlhf(i.win_rates, i.pair_weights)), 3)
    2.856
    """
    beta = check_bt_beta(bt_beta)
    A = check_whole("n_alternatives", n_alternatives, 3, LARGEST_TABLE)
    epsilon = check_between("epsilon", epsilon, ends="()")
    if beta < 1e-150:
        raise ValueError(f"bt_beta = {bt_beta} must be at least 1e-150: gains are divided by it")
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
