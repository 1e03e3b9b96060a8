"""Corrections by heterogeneous users: composed policies, their distortion, and the worst they can be (A7).

Population: type v has weight w_v and utilities U_v ∈ [0,1]^A. The corrector is trained on what users do with the
answers they are shown, type v doing a share c_v of the corrections (who corrects need not be who is served), so
K = Σ_v c_v K_v. Three habits:

    favourite   every answer becomes the user's own favourite: πK is the correctors' random dictator, whatever π is
    step        an answer becomes the next better one in the user's own ranking, a favourite stays
    edit        on ordered answers, one place towards the user's favourite

What they can cost, over all utilities, given the correctors' smallest share c and the upstream policy π with smallest
and second-smallest probabilities π₁ ≤ π₂ and largest π_A (Theorem in paper/sections/correction_proofs.tex, ours):

    | | distortion, max u/u(πK) | harm, u(π)/u(πK) |
    | favourite | 1/c | (1 − π₁)/c |
    | step | 1/(c(π₁ + π₂)) | π_A/((π_A + π₁)c) |

A step is milder than a favourite in the harm it can do to an upstream policy, and worse in distortion: a favourite is
as good as it is from wherever one starts, a step is not. On a line, repeated edits settle around the median of the
favourites (`edit_limit`), where favourites stay spread out.

Shapes: V user types, A answers. Source: distortion as in Gölz, Haghtalab, Yang (arXiv 2505.23749); results ours.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array, diags_array

from theory.bradley_terry import Population
from theory.social_choice.places import top_choice
from theory.validate import Array, check_distribution, check_whole, check_win_rates, check_word

Habit = Literal["favourite", "step"]
HABITS: tuple[Habit, ...] = get_args(Habit)


def favourite_law(population: Population, correctors: ArrayLike | None = None, bt_beta: float = math.inf) -> Array:
    """The correctors' random dictator (A,): the law of the favourite of a user drawn by `correctors`.

    correctors  (V,) shares of the corrections by type; the population's weights by default
    bt_beta     users' temperature: a favourite is drawn with probability ∝ e^{bt_beta·U}; inf: ties are split evenly
    """
    shares = _shares(population, correctors)
    if math.isinf(bt_beta) and bt_beta > 0:
        return _first_choices(shares, population.utilities)
    return top_choice(Population(population.utilities, shares), bt_beta)


def favourite_kernel(population: Population, correctors: ArrayLike | None = None) -> Array:
    """Every answer becomes the user's own favourite: (A, A), all rows `favourite_law`."""
    law = favourite_law(population, correctors)
    return np.tile(law, (law.size, 1))


def step_kernel(population: Population, correctors: ArrayLike | None = None) -> Array:
    """Every answer becomes the next better one in the user's own ranking (A, A); a favourite stays.

    A ranking is strict: users break ties at random, so the kernel is the mean over all orders of equal answers. Of n
    equal ones an answer is the best with probability 1/n and then moves up to any of the next level; otherwise it
    moves to any other of the n.
    """
    shares = _shares(population, correctors)
    A = population.utilities.shape[1]
    kernel = np.zeros((A, A))
    for share, utility in zip(shares, population.utilities, strict=True):
        levels, level = np.unique(utility, return_inverse=True)
        members = (level == np.arange(levels.size)[:, None]).astype(np.float64)
        size = members.sum(axis=1)
        following = np.vstack([members[1:] / size[1:, None], np.zeros(A)])
        moves = (following[level] + members[level] - np.eye(A)) / size[level, None]
        favourites = level == levels.size - 1
        moves[favourites] = members[-1] / size[-1]
        kernel += share * moves
    return kernel


def uniform_step_law(population: Population, correctors: ArrayLike | None = None) -> Array:
    """πK of `step_kernel` for the uniform π: (1 + top − bottom)/A (A,).

    top and bottom are the shares of the correctors who rank an answer first and last, ties split evenly.
    """
    shares = _shares(population, correctors)
    top, bottom = (_first_choices(shares, values) for values in (population.utilities, -population.utilities))
    return (1.0 + top - bottom) / top.size


def comparison_kernel(win_rates: ArrayLike, proposals: ArrayLike) -> Array:
    """A correction is proposed by `proposals` μ (A,) and taken if a user prefers it: K(c|o) = μ(c)P(c≻o) for c ≠ o.

    win_rates  P (A, A) of the population. For one Bradley–Terry reward r the corrector is reversible with ν ∝ μeʳ.
    """
    P = check_win_rates(win_rates)
    mu = check_distribution("proposals", proposals, P.shape[0])
    kernel, refused = mu[None, :] * P.T, P.copy()
    np.fill_diagonal(refused, 1.0)  # who is offered what there is keeps it
    np.fill_diagonal(kernel, refused @ mu)
    return kernel


# What corrections can cost.


def worst_distortion(habit: Habit, policy: ArrayLike, correctors: ArrayLike) -> float:
    """sup over utilities of max_x u(x)/u(πK): 1/c for favourites, 1/(c(π₁ + π₂)) for one step; A ≥ 2.

    policy      π (A,), the upstream policy
    correctors  (V,) shares of the corrections; c is the least of them. `inf` where it is 0: a type that never corrects
    """
    pi, share = _upstream(policy), _least(correctors)
    kept = 1.0 if check_word("habit", habit, HABITS) == "favourite" else float(np.sort(pi)[:2].sum())
    return math.inf if share * kept == 0.0 else 1.0 / (share * kept)


def worst_harm(habit: Habit, policy: ArrayLike, correctors: ArrayLike) -> float:
    """sup over utilities of u(π)/u(πK): (1 − π₁)/c for favourites, π_A/((π_A + π₁)c) for one step; A ≥ 2.

    Arguments as in `worst_distortion`. One type alone (V = 1) is never hurt: 1.
    """
    pi, share = _upstream(policy), _least(correctors)
    check_word("habit", habit, HABITS)
    if np.size(correctors) == 1:
        return 1.0
    least, most = float(pi.min()), float(pi.max())
    kept = 1.0 - least if habit == "favourite" else most / (most + least)
    return math.inf if share == 0.0 else kept / share


def normalised_dictator_factor(n_answers: int) -> float:
    """sup of the random dictator's distortion if everyone's favourite is worth 1: A − 1 for A ≥ 3, 4/3 for A = 2.

    Correctors are the users. 1/min_a(a + (1−a)²/(A−1)) over the share a whose favourite is the best answer: a = 0
    (the best answer is everyone's second) from A = 3 on, ½ at A = 2.
    """
    return 4.0 / 3.0 if check_whole("n_answers", n_answers, 2) == 2 else float(n_answers - 1)


def stakes_population(
    weights: ArrayLike, who: int, answer: int, second: int, n_answers: int, epsilon: float = 1e-6
) -> Population:
    """The worst case of `worst_distortion`, and of `worst_harm` for a step, as epsilon → 0.

    Type `who` values `answer` at 1, `second` at ε² and nothing else; all others value everything but `answer` at ε.
    So only `who` corrects towards the answer that matters, and one step reaches it from `second` alone.
    """
    w = check_distribution("weights", weights)
    _check_places(who, w.size, n_answers, answer=answer, second=second)
    if answer == second:
        raise ValueError(f"answer = second = {answer}: they must differ")
    U = np.full((w.size, n_answers), float(epsilon))
    U[:, answer] = 0.0
    U[who] = 0.0
    U[who, answer], U[who, second] = 1.0, epsilon**2
    return Population(U, w)


def dislike_population(weights: ArrayLike, who: int, answer: int, n_answers: int, epsilon: float = 1e-6) -> Population:
    """The worst case of `worst_harm` for favourites, as epsilon → 0: type `who` values all but `answer` at 1, and
    `answer`, worth ε to the others, is their favourite."""
    w = check_distribution("weights", weights)
    _check_places(who, w.size, n_answers, answer=answer)
    U = np.zeros((w.size, n_answers))
    U[:, answer] = float(epsilon)
    U[who] = 1.0
    U[who, answer] = 0.0
    return Population(U, w)


def _check_places(who: int, n_types: int, n_answers: int, **answers: int) -> None:
    """ValueError names an index that is none of a type or of an answer."""
    check_whole("who", who, 0, n_types - 1)
    for name, answer in answers.items():
        check_whole(name, answer, 0, n_answers - 1)


# Edits on a line.


def edit_kernel(favourites: ArrayLike) -> csr_array:
    """On answers 0 … A − 1 in order, one place towards the favourite of a random user: a sparse (A, A) kernel.

    favourites  (A,) law F of the correctors' favourites: up from o with probability P(favourite > o), down with
                P(favourite < o), else the answer stays
    """
    law = check_distribution("favourites", favourites)
    return diags_array([_below(law)[1:], law, _above(law)[:-1]], offsets=[-1, 0, 1], format="csr")


def edit_limit(favourites: ArrayLike) -> Array:
    """Where repeated edits settle (A,): ν(i+1)/ν(i) = P(favourite > i)/P(favourite ≤ i), by detailed balance.

    The quotient falls through 1 where the favourites' distribution function passes ½: ν is log-concave with its mode
    at a median of the favourites. Uniform favourites give Binomial(A − 1, ½). Favourites at a single answer give it.
    """
    law = check_distribution("favourites", favourites)
    low, high = np.flatnonzero(law)[[0, -1]]
    limit = np.zeros(law.size)
    inside = slice(low, high)
    with np.errstate(divide="ignore"):
        steps = np.log(_above(law)[inside]) - np.log(np.cumsum(law)[inside])
    logits = np.concatenate([[0.0], np.cumsum(steps)])
    limit[low : high + 1] = np.exp(logits - np.logaddexp.reduce(logits))
    return limit


def line_population(favourites: ArrayLike) -> Population:
    """Users with favourites on a line: type p, one per answer, has weight F(p) and U_p(x) = 1 − |x − p|/(A − 1)."""
    law = check_distribution("favourites", favourites)
    if law.size < 2:
        raise ValueError("a line needs two answers or more")
    places = np.arange(law.size)
    return Population(1.0 - np.abs(places[:, None] - places[None, :]) / (law.size - 1), law)


def _above(law: Array) -> Array:
    """P(favourite > i), summed from the right so that small tails keep their digits."""
    return np.append(np.cumsum(law[::-1])[::-1][1:], 0.0)


def _below(law: Array) -> Array:
    return np.append(0.0, np.cumsum(law)[:-1])


def _shares(population: Population, correctors: ArrayLike | None) -> Array:
    if correctors is None:
        return population.weights
    return check_distribution("correctors", correctors, population.weights.size)


def _first_choices(shares: Array, values: Array) -> Array:
    """The law (A,) of what a random type puts first by its values (V, A), ties split evenly."""
    best = values == values.max(axis=1, keepdims=True)
    return np.asarray(shares @ (best / best.sum(axis=1, keepdims=True)))


def _upstream(policy: ArrayLike) -> Array:
    pi = check_distribution("policy", policy)
    if pi.size < 2:
        raise ValueError("policy has one answer: there is nothing to correct it into")
    return pi


def _least(correctors: ArrayLike) -> float:
    return float(check_distribution("correctors", correctors).min())
