"""Fixed correctors, upstream policies and edit processes on which predictions are made and models are then trained.

Shapes: A answers, P prompts, T tokens, m symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, xlogy

from theory.bradley_terry import Population
from theory.correction.composition import Floors
from theory.correction.copying import identity_mixture
from theory.correction.users import comparison_kernel, edit_kernel, line_population, stakes_population
from theory.distortion.instances import borda_instance, condorcet_instance
from theory.validate import Array, check_between, check_distribution

# Edit processes: answers are words of T tokens, each token is edited on its own. Their entropies are known.

#: Law of a token, for each of two prompts.
TOKENS = np.array([[0.55, 0.25, 0.15, 0.05], [0.1, 0.2, 0.3, 0.4]])
PROMPTS = np.array([0.7, 0.3])
LENGTH = 2


@dataclass(frozen=True, eq=False)
class EditProcess:
    """Q-A-C data: prompts (P,), upstream laws (P, A) and kernels (P, A, A) over the A = mᵀ words of T tokens."""

    prompts: Array
    policies: Array
    kernels: Array

    @property
    def joint(self) -> Array:
        """(P, A, A): the law of a triple (prompt, original, correction)."""
        return self.prompts[:, None, None] * self.policies[:, :, None] * self.kernels


def token_kernel(edit_rate: float, n_symbols: int) -> Array:
    """A token is kept with probability 1 − edit_rate and else becomes one of the others, evenly: (m, m)."""
    check_between("edit_rate", edit_rate)
    kernel = np.full((n_symbols, n_symbols), edit_rate / (n_symbols - 1))
    np.fill_diagonal(kernel, 1.0 - edit_rate)
    return kernel


def edit_process(edit_rate: float, length: int = LENGTH) -> EditProcess:
    """Words of `length` tokens from `TOKENS`, each token edited with probability edit_rate, for the prompts above."""
    kernel: Array = np.ones((1, 1))
    laws: Array = np.ones((len(TOKENS), 1))
    for _ in range(length):
        kernel = np.asarray(np.kron(kernel, token_kernel(edit_rate, TOKENS.shape[1])), dtype=np.float64)
        laws = np.einsum("pa,pm->pam", laws, TOKENS).reshape(len(TOKENS), -1)
    return EditProcess(PROMPTS, laws, np.broadcast_to(kernel, (len(TOKENS), *kernel.shape)))


def edit_floors(edit_rate: float, length: int = LENGTH) -> Floors:
    """The floors of `edit_process` in closed form, tokens being independent:

    H(C|X,O) = T·(h(e) + e log(m−1)) and H(C|X) = T·E_X H((1−e)p + e(1−p)/(m−1)), h the binary entropy, nats.
    """
    e, m = edit_rate, TOKENS.shape[1]
    aligner = -xlogy(e, e) - xlogy(1 - e, 1 - e) + e * math.log(m - 1)
    edited = (1 - e) * TOKENS + e * (1 - TOKENS) / (m - 1)
    sft = float(PROMPTS @ -xlogy(edited, edited).sum(axis=1))
    return Floors(float(length * aligner), length * sft, length * (sft - float(aligner)))


# One corrector and the upstream policies it meets.

ANSWERS = ("harmful", "wrong", "terse", "correct", "helpful", "verbose")
UTILITIES = np.array([0.0, 0.2, 0.45, 0.7, 1.0, 0.6])
CORRECTOR = np.array(
    [
        [0.10, 0.05, 0.25, 0.40, 0.20, 0.00],
        [0.00, 0.25, 0.05, 0.45, 0.20, 0.05],
        [0.00, 0.00, 0.30, 0.25, 0.35, 0.10],
        [0.00, 0.02, 0.03, 0.60, 0.30, 0.05],
        [0.00, 0.00, 0.02, 0.08, 0.80, 0.10],
        [0.00, 0.00, 0.05, 0.15, 0.25, 0.55],
    ]
)
#: The law of the original answers in the corrector's training data.
TRAINING = np.array([0.20, 0.20, 0.20, 0.15, 0.15, 0.10])
#: Upstream policies that the corrector was not trained on, from poor to better than what corrections lead to.
UPSTREAM: dict[str, Array] = {
    "raw": np.array([0.45, 0.30, 0.15, 0.05, 0.03, 0.02]),
    "weak": np.array([0.15, 0.35, 0.25, 0.15, 0.05, 0.05]),
    "terse": np.array([0.02, 0.08, 0.70, 0.12, 0.05, 0.03]),
    "verbose": np.array([0.02, 0.05, 0.03, 0.20, 0.20, 0.50]),
    "strong": np.array([0.01, 0.04, 0.05, 0.35, 0.45, 0.10]),
    "expert": np.array([0.00, 0.00, 0.01, 0.04, 0.93, 0.02]),
}


def smooth(share: float) -> Array:
    """The corrector mixed with the uniform kernel, so that no side of A2 is infinite."""
    return (1.0 - share) * CORRECTOR + share / len(CORRECTOR)


#: A2: the law of the corrections, and models of it.
DATA_KERNEL = smooth(0.05)
MODELS: dict[str, Array] = {"exact": DATA_KERNEL, "flat": smooth(0.5), "copier": 0.5 * np.eye(6) + 0.5 * smooth(0.1)}
#: A5: laws of the originals of identity pairs and of corrections, by name.
IDENTITY_LAWS: dict[str, tuple[Array, Array]] = {
    "same": (TRAINING, TRAINING),
    "different": (UPSTREAM["strong"], TRAINING),
}
#: A5: alternatives to copying in a row, and the length of its warm-up in units of `copying.copying_left`.
N_EDITS, WARM_UP = 3, 20.0


@dataclass(frozen=True, eq=False)
class Rounds:
    """A corrector (A, A) whose rounds are followed: from a policy (A,), in utilities (A,)."""

    policy: Array
    kernel: Array
    utilities: Array


def resample_kernel(share: float, target: Array) -> Array:
    """With probability `share` an answer is replaced by a draw from `target`, else kept: |λ₂| = 1 − share."""
    law = check_distribution("target", target)
    return (1.0 - share) * np.eye(law.size) + share * law


LINE = np.full(9, 1 / 9)
_LEFT_ALONE = np.array([answer in ("correct", "helpful") for answer in ANSWERS])
#: "aligner": above. "copying": the same, with correct and helpful answers left alone. "resample": one eigenvalue,
#: rounds approach a target. "overcorrect": the first round finds the good answer (2), later ones sand it down to a
#: bland one (3). "line": edits towards uniform favourites, Ehrenfest's urn.
ROUNDS: dict[str, Rounds] = {
    "aligner": Rounds(UPSTREAM["raw"], CORRECTOR, UTILITIES),
    "copying": Rounds(UPSTREAM["raw"], np.where(_LEFT_ALONE[:, None], np.eye(6), CORRECTOR), UTILITIES),
    "resample": Rounds(UPSTREAM["raw"], resample_kernel(0.25, np.array([0, 0, 0.1, 0.3, 0.5, 0.1])), UTILITIES),
    "overcorrect": Rounds(
        np.array([0.6, 0.3, 0.1, 0.0]),
        np.array([[0.0, 0.3, 0.7, 0.0], [0.0, 0.4, 0.5, 0.1], [0.0, 0.0, 0.75, 0.25], [0.0, 0.0, 0.05, 0.95]]),
        np.array([0.0, 0.5, 1.0, 0.6]),
    ),
    "line": Rounds(np.eye(9)[0], edit_kernel(LINE).toarray(), line_population(LINE).average_utility),
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """An upstream policy (A,) and a corrector (A, A) whose pairs train the next upstream model."""

    policy: Array
    kernel: Array


_REWARDS = np.array([1.0, 0.0, -0.5, 0.3])
#: "reversible": proposals that Bradley–Terry users take or leave. "cyclic": corrections that run in a circle, and back
#: at times. "acyclic": no answer is ever corrected back; the last one is left alone.
PAIRS: dict[str, Pairs] = {
    "reversible": Pairs(
        np.array([0.4, 0.1, 0.2, 0.3]),
        comparison_kernel(expit(_REWARDS[:, None] - _REWARDS[None, :]), np.array([0.1, 0.2, 0.3, 0.4])),
    ),
    "cyclic": Pairs(np.array([0.5, 0.3, 0.2]), np.array([[0.2, 0.6, 0.2], [0.1, 0.6, 0.3], [0.3, 0.1, 0.6]])),
    "acyclic": Pairs(
        np.array([0.4, 0.3, 0.2, 0.1]),
        np.array([[0.3, 0.5, 0.2, 0.0], [0.0, 0.4, 0.6, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
    ),
}

#: PRO's regulariser in A6.
PRO_ALPHA, PRO_SHARE = 2.5, 2.0 / 3.0


def with_copies(pairs: str, share: float) -> Pairs:
    """The pairs of a corrector that copies an answer more often, by a share of identity pairs."""
    p = PAIRS[pairs]
    return Pairs(p.policy, identity_mixture(p.kernel, share))


#: Populations whose users correct (A7): two instances of the distortion literature, and two camps of opposite tastes
#: with a compromise (answer 1) that nobody ranks first.
POPULATIONS: dict[str, Population] = {
    "I3": condorcet_instance(5.0, 4, 0.1).population,
    "I5": borda_instance(5.0, 0.05).population,
    "camps": Population(
        np.array([[1.0, 0.8, 0.1, 0.0], [0.0, 0.9, 0.3, 1.0], [0.2, 0.6, 0.7, 0.4]]), np.array([0.4, 0.35, 0.25])
    ),
}
#: Upstream policy, users' weights and correctors on which A7's suprema are attained, as ε → 0.
WORST_POLICY = np.array([0.1, 0.2, 0.3, 0.4])
WORST_WEIGHTS = np.array([0.3, 0.5, 0.2])
WORST_CORRECTORS = np.array([0.6, 0.15, 0.25])
EPSILON = 1e-7
#: A7.who: a minority with much at stake, of which a varying share corrects.
WHO = stakes_population([0.2, 0.8], 0, 0, 1, 4, epsilon=0.02)


def upstream_law(population: Population, upstream: str) -> Array:
    """ "uniform", or "best": the users' best answer always."""
    u = population.average_utility
    return np.full(u.size, 1.0 / u.size) if upstream == "uniform" else np.eye(u.size)[int(u.argmax())]


def line_law(favourites: str, n_answers: int) -> Array:
    """Favourites on a line: "uniform", or "skewed", falling linearly from one end of the line to the other."""
    weights = np.ones(n_answers) if favourites == "uniform" else np.arange(n_answers, 0.0, -1.0)
    return weights / weights.sum()
