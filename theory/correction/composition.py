"""What a correction channel does: the composed law, what training can reach (A1, A2), and gains (A3).

Functions take one prompt; `floors` averages over prompts. Kernels may be arrays or scipy.sparse. Entropies in nats.
Shapes: O original answers, C corrections (A where both share one space), P prompts.

Source: Ji et al., "Aligner" (arXiv 2402.02416) for model and training; the identities below are ours unless marked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from theory.correction.kernels import Kernel, check_kernel, check_pair, entries, row_entropies, values_at
from theory.validate import Array, as_number, as_numbers, as_vector, check_distribution


def compose(policy: ArrayLike, kernel: Kernel) -> Array:
    """The composed policy πK = Σ_o π(o) K(·|o): the law of the stacked model's answers (A3).

    Parameters
    ----------
    policy : array_like, (O,)
        The upstream law π.
    kernel : array_like or scipy.sparse, (O, C)
        Markov kernel: row o is the law of the correction of answer o.

    Returns
    -------
    ndarray, (C,)

    Raises
    ------
    ValueError
        A policy or a row, which is named, that is not a law; sizes that do not match.

    References
    ----------
    Ji et al. (arXiv 2402.02416).

    Examples
    --------
    >>> from theory.correction import compose
    >>> compose([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]])
    array([0.75, 0.25])
    """
    pi, K = check_pair(policy, kernel)
    return np.asarray(pi @ K)


# A1: what training can reach.


def aligner_floor(policy: ArrayLike, kernel: Kernel) -> float:
    """H(C|O) = Σ_o π(o) H(K(·|o)): the least loss of a corrector, reached at K_φ = K on the support of π (A1).

    Parameters
    ----------
    policy : array_like, (O,)
        The upstream law π.
    kernel : array_like or scipy.sparse, (O, C)
        Markov kernel of the corrections.

    Returns
    -------
    float
        Nats per answer.

    Raises
    ------
    ValueError
        A policy or a row that is not a law; sizes that do not match.

    References
    ----------
    Ours, on the training loss of Ji et al. (arXiv 2402.02416).

    Examples
    --------
    >>> from theory.correction import aligner_floor
    >>> round(aligner_floor([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]]), 6)  # ½ log 2
    0.346574
    """
    pi, K = check_pair(policy, kernel)
    return float(pi @ row_entropies(K))


def sft_floor(policy: ArrayLike, kernel: Kernel) -> float:
    """H(C) = H(πK): the least loss of a model that learns the corrections without seeing the originals (A1).

    Parameters
    ----------
    policy : array_like, (O,)
        The upstream law π.
    kernel : array_like or scipy.sparse, (O, C)
        Markov kernel of the corrections.

    Returns
    -------
    float
        Nats per answer.

    Raises
    ------
    ValueError
        A policy or a row that is not a law; sizes that do not match.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.correction import sft_floor
    >>> round(sft_floor([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]]), 6)
    0.562335
    """
    composed = compose(policy, kernel)
    return float(0.0 - xlogy(composed, composed).sum())


def information_gain(policy: ArrayLike, kernel: Kernel) -> float:
    """I(C;O) = Σ_o π(o) KL(K(·|o) ‖ πK): by how much correcting is easier than answering (A1).

    It is `sft_floor` − `aligner_floor`, summed without that subtraction; 0 iff the correction ignores the original.

    Parameters
    ----------
    policy : array_like, (O,)
        The upstream law π.
    kernel : array_like or scipy.sparse, (O, C)
        Markov kernel of the corrections.

    Returns
    -------
    float
        Nats per answer, ≥ 0.

    Raises
    ------
    ValueError
        A policy or a row that is not a law; sizes that do not match.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.correction import information_gain
    >>> round(information_gain([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]]), 6)
    0.215762
    """
    pi, K = check_pair(policy, kernel)
    composed = np.asarray(pi @ K)
    e = entries(K)
    joint = pi[e.original] * e.probability
    seen = joint > 0
    ratio = np.log(e.probability[seen]) - np.log(composed[e.correction[seen]])
    return max(0.0, float(joint[seen] @ ratio))


@dataclass(frozen=True)
class Floors:
    """Least losses over prompts, nats: aligner H(C|X,O), sft H(C|X), and their difference gain = I(C;O|X)."""

    aligner: float
    sft: float
    gain: float


def floors(prompts: ArrayLike, policies: ArrayLike, kernels: Sequence[Kernel] | Array) -> Floors:
    """Floors of Aligner and of SFT on the same corrections, averaged over prompts (A1).

    prompts   (P,) law of the prompt
    policies  (P, O) upstream law for each prompt
    kernels   P kernels (O, C): a sequence, or an array (P, O, C)
    """
    law = check_distribution("prompts", prompts)
    pi = as_numbers("policies", policies)
    if pi.ndim != 2 or len(pi) != law.size or len(kernels) != law.size:
        raise ValueError(f"{law.size} prompts need a policy and a kernel each, got {pi.shape} and {len(kernels)}")
    pairs = list(zip(pi, kernels, strict=True))
    aligner, sft, difference = (
        float(law @ [value(p, K) for p, K in pairs]) for value in (aligner_floor, sft_floor, information_gain)
    )
    return Floors(aligner, sft, difference)


# A2: the training objective bounds the composed model's.


@dataclass(frozen=True)
class Sides:
    """All sides of the bound, for data (O, C) ~ π(o)K(c|o) and a model K_φ; nats, `inf` where the model rules out data.

    composed     −E log(πK_φ)(C), the loss of the stacked model
    correction   −E log K_φ(C|O), the training objective
    prior        −E log π(O) = H(O), free of φ
    slack        correction + prior − composed = −E log P_φ(O|C) ≥ H(O|C) ≥ 0, with equality at K_φ = K
    independent  −E log K_φ(C|O) with O drawn independently of C: what Jensen's inequality bounds `composed` by
    naive_gap    correction − composed: negative where the form without the prior fails, −I(C;O) at K_φ = K
    jensen_gap   independent − composed ≥ 0, at K_φ = K the lautum information KL(P_O ⊗ P_C ‖ P_OC)
    """

    composed: float
    correction: float
    prior: float
    slack: float
    independent: float
    naive_gap: float
    jensen_gap: float


def bound_sides(policy: ArrayLike, kernel: Kernel, model: Kernel | None = None) -> Sides:
    """−E log(πK_φ)(C) ≤ −E log K_φ(C|O) − E log π(O), every side of it, and of the two forms near it (A2).

    policy  π (O,);  kernel  K (O, C), the law of the corrections;  model  K_φ (O, C), K itself by default

    The bound drops all but one term of (πK_φ)(c) = Σ_o π(o)K_φ(c|o). Without the last term it is Jensen's inequality
    and needs O independent of C; on paired data it is false: π = (½, ½), K = I gives log 2 ≤ 0.
    """
    pi, K = check_pair(policy, kernel)
    M = K if model is None else check_kernel(model, name="model")
    if M.shape != K.shape:
        raise ValueError(f"model has shape {M.shape}, kernel {K.shape}")
    e = entries(K)
    joint = pi[e.original] * e.probability
    o, c, joint = e.original[joint > 0], e.correction[joint > 0], joint[joint > 0]
    data, stacked = np.asarray(pi @ K), np.asarray(pi @ M)
    with np.errstate(divide="ignore"):  # what the model rules out costs infinitely much
        log_stacked, log_model, log_pi = np.log(stacked), np.log(values_at(M, o, c)), np.log(pi)
    met = data > 0
    composed = -float(data[met] @ log_stacked[met])
    ruled_out = np.isneginf(log_model).any()
    # differences are summed term by term, so that two infinite sides do not meet
    gap = math.inf if ruled_out else float(joint @ (log_stacked[c] - log_model))
    prior = float(0.0 - xlogy(pi, pi).sum())
    independent, jensen_gap = _independent_sides(pi, data, M, log_stacked)
    return Sides(
        composed=composed,
        correction=math.inf if ruled_out else 0.0 - float(joint @ log_model),
        prior=prior,
        slack=math.inf if ruled_out else float(joint @ (log_stacked[c] - log_model - log_pi[o])),
        independent=independent,
        naive_gap=gap,
        jensen_gap=jensen_gap,
    )


def _independent_sides(pi: Array, data: Array, M: Kernel, log_stacked: Array) -> tuple[float, float]:
    """−E log M(C|O) and −E log M(C|O) + E log(πM)(C) for independent O ~ π and C ~ data."""
    e = entries(M)
    occurs = (pi[e.original] > 0) & (data[e.correction] > 0)
    if np.count_nonzero(occurs) < np.count_nonzero(pi) * np.count_nonzero(data):
        return math.inf, math.inf  # the model has no probability for some pair that occurs
    o, c, log_model = e.original[occurs], e.correction[occurs], np.log(e.probability[occurs])
    weight = pi[o] * data[c]
    return -float(weight @ log_model), max(0.0, float(weight @ (log_stacked[c] - log_model)))


# A3: what a corrector gains.


def answer_gains(kernel: Kernel, utilities: ArrayLike) -> Array:
    """g(o) = Σ_c K(c|o) u(c) − u(o) (A,): what correcting answer o gains on average; negative where it does harm.

    The gain on every upstream policy is a mean of these, so it lies in [min g, max g]. kernel (A, A), utilities (A,).
    """
    K = check_kernel(kernel, square=True)
    u = as_vector("utilities", utilities, K.shape[0])
    return np.asarray(K @ u) - u


def gain(policy: ArrayLike, kernel: Kernel, utilities: ArrayLike) -> float:
    """ΔU = u(πK) − u(π) = Σ_o π(o) g(o): what a corrector gains, linear in the upstream policy (A3).

    Parameters
    ----------
    policy : array_like, (A,)
        The upstream law π.
    kernel : array_like or scipy.sparse, (A, A)
        Markov kernel of the corrections.
    utilities : array_like, (A,)
        u of each answer.

    Returns
    -------
    float
        In the unit of the utilities, between the least and the largest g(o) = Σ_c K(c|o)u(c) − u(o).

    Raises
    ------
    ValueError
        A policy or a row that is not a law; a kernel that is not square; sizes that do not match.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.correction import gain
    >>> gain([0.5, 0.5], [[1.0, 0.0], [0.5, 0.5]], utilities=[1.0, 0.0])
    0.25
    """
    gains = answer_gains(kernel, utilities)
    return float(check_distribution("policy", policy, gains.size) @ gains)


def transfer_bound(policy: ArrayLike, training_policy: ArrayLike, excess_loss: float, utilities: ArrayLike) -> float:
    """How far a trained corrector's gain on π can be from the predicted one (A3).

    |ΔU_K̂(π) − ΔU_K(π)| ≤ (max u − min u)·√(½·max_o π(o)/π₀(o)·ε), by Pinsker's and Jensen's inequalities; the
    spread itself where the training policy π₀ never shows an answer that π gives.

    Parameters
    ----------
    policy, training_policy : array_like, (A,)
        π and π₀, the laws of the answers in use and in training.
    excess_loss : float
        ε ≥ 0, the training loss above its floor, E_{O~π₀} KL(K(·|O)‖K̂(·|O)), nats.
    utilities : array_like, (A,)
        u of each answer.

    Returns
    -------
    float
        In the unit of the utilities, at most max u − min u.

    Raises
    ------
    ValueError
        What is not a law; a loss below its floor; sizes that do not match.

    References
    ----------
    Ours.

    Examples
    --------
    >>> from theory.correction import transfer_bound
    >>> transfer_bound([0.5, 0.5], [0.75, 0.25], excess_loss=0.01, utilities=[1.0, 0.0])
    0.1
    """
    pi = check_distribution("policy", policy)
    trained = check_distribution("training_policy", training_policy, pi.size)
    u = as_vector("utilities", utilities, pi.size)
    if not as_number("excess_loss", excess_loss) >= 0:
        raise ValueError(f"excess_loss = {excess_loss} must be >= 0: no loss is below its floor")
    spread = float(u.max() - u.min())
    if ((trained == 0) & (pi > 0)).any():
        return spread
    with np.errstate(over="ignore"):  # coverage beyond float64 is infinite: the bound is the spread
        coverage = float(np.max(np.divide(pi, trained, out=np.zeros(pi.size), where=trained > 0)))
    if excess_loss == 0.0:
        return 0.0
    return spread * min(1.0, math.sqrt(0.5 * coverage * excess_loss))
