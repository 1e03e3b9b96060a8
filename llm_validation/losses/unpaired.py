"""Losses of two classes of examples: KTO, BCO, KLDO, FDO. Shapes: B₊ chosen and B₋ rejected examples."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from llm_validation.losses.generators import find_generator
from llm_validation.losses.parts import LossEntry, Number, check_sides, check_weight, expect, require, two_classes


def kto(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    kl_beta: Number = 0.1,
    chosen_shift: Number = 0.0,
    rejected_shift: Number = 0.0,
    chosen_weight: Tensor | None = None,
    rejected_weight: Tensor | None = None,
) -> Tensor:
    """KTO with unit class weights: E₊[σ(−(r − z₀))] + E₋[σ(r − z₀)]; 1 at π = π_ref, z₀ = 0.

    Departs from the paper, whose mean is one over the examples of both classes, and where z₀ is a batch estimate of the
    KL, clamped at 0: here it is an argument (0, fitted, or `kto_reference_point`), so that the loss is a function.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B₊,) or (B₋,)
        log π and log π_ref of the examples of the two classes, nats.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    chosen_shift, rejected_shift : float or Tensor
        The reference point z₀, taken off the rewards of each class.
    chosen_weight, rejected_weight : Tensor, optional
        Masses in place of the class means.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        A class without examples, or sides that would be broadcast.

    References
    ----------
    .. [1] Ethayarajh et al., arXiv 2402.01306.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> kto(zero, zero, zero, zero).item()
    1.0
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=False)
    chosen = kl_beta * (policy_chosen - reference_chosen) - chosen_shift
    rejected = kl_beta * (policy_rejected - reference_rejected) - rejected_shift
    return two_classes(torch.sigmoid(-chosen), torch.sigmoid(rejected), chosen_weight, rejected_weight)


def kto_reference_point(mismatched_log_ratios: Tensor, kl_beta: float) -> Tensor:
    """z₀ of KTO as the public trainers estimate it: kl_beta·max(0, mean lr of mismatched pairs), without gradient.

    Parameters
    ----------
    mismatched_log_ratios : Tensor (B,)
        log π − log π_ref of prompts with completions of other prompts.
    kl_beta : float
        Weight β of the log-ratio in the reward.

    Returns
    -------
    Tensor ()

    References
    ----------
    .. [1] Ethayarajh et al., arXiv 2402.01306, section 4.

    Examples
    --------
    >>> kto_reference_point(torch.tensor([1.0, 3.0]), 0.5).item()
    1.0
    """
    return kl_beta * mismatched_log_ratios.detach().mean().clamp(min=0.0)


def bco(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    kl_beta: Number = 0.1,
    chosen_shift: Number = 0.0,
    rejected_shift: Number = 0.0,
    chosen_weight: Tensor | None = None,
    rejected_weight: Tensor | None = None,
) -> Tensor:
    """BCO: E₊[sp(−(r − δ))] + E₋[sp(r − δ)]; 2 log 2 at π = π_ref, δ = 0. At kl_beta = 1 and δ = 0 it is `ddro` (R9).

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B₊,) or (B₋,)
        log π and log π_ref of the examples of the two classes, nats.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    chosen_shift, rejected_shift : float or Tensor
        δ, taken off the rewards of each class: 0, a trained constant (the loss then reaches its minimum over all
        functions, V7), or a running mean.
    chosen_weight, rejected_weight : Tensor, optional
        Masses in place of the class means.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        A class without examples, or sides that would be broadcast.

    References
    ----------
    .. [1] Jung et al., arXiv 2404.04656.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> round(bco(zero, zero, zero, zero).item(), 4)
    1.3863
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=False)
    chosen = kl_beta * (policy_chosen - reference_chosen) - chosen_shift
    rejected = kl_beta * (policy_rejected - reference_rejected) - rejected_shift
    return two_classes(softplus(-chosen), softplus(rejected), chosen_weight, rejected_weight)


def kldo(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    kl_beta: Number = 0.1,
    chosen_weight: Tensor | None = None,
    rejected_weight: Tensor | None = None,
    rejected_prompt: Tensor | None = None,
    chosen_prompt: Tensor | None = None,
    moving_mean: Tensor | None = None,
    normalize: bool = False,
) -> Tensor:
    """KLDO, −E₊[r] + log E₋[e^r] (Donsker–Varadhan); 0 at π = π_ref.

    The log of a batch mean is biased low by about Var(e^r)/(2B (E e^r)²) (V9).

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B₊,) or (B₋,)
        log π and log π_ref of the examples of the two classes, nats.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    chosen_weight, rejected_weight : Tensor, optional
        Masses in place of the class means.
    chosen_prompt, rejected_prompt : Tensor (B₊,), (B₋,), optional
        Prompt indices 0 … P−1: one log per prompt, Σ_x D⁺(x) log E₋[e^r | x], which a normalised policy can reach;
        None: one log for all, which it cannot in general (V8).
    moving_mean : Tensor (P,), optional
        Running estimates m(x) of E₋[e^r | x], for minibatches: the second term becomes Σ_x D⁺(x) E₋[e^r | x]/m(x),
        whose gradient has m in place of the batch's own mean; needs prompts.
    normalize : bool
        The official code's option: the second term times min(A, U)/U, detached, U the second term and A the mean chosen
        reward. It changes sign where A < 0 < U and then pushes rejected likelihoods up (V12).

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        A class without examples, sides that would be broadcast, prompts of one class alone, moving means without
        prompts, or a prompt with chosen but no rejected ones.

    References
    ----------
    .. [1] Haldar et al., arXiv 2502.00657.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> abs(kldo(zero, zero, zero, zero).item())
    0.0
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=False)
    chosen = kl_beta * (policy_chosen - reference_chosen)
    rejected = kl_beta * (policy_rejected - reference_rejected)
    aligned = expect(chosen, chosen_weight, "chosen")
    unaligned = log_mean_exp(rejected, rejected_weight, rejected_prompt, chosen_prompt, chosen_weight, moving_mean)
    if normalize:
        unaligned = unaligned * (torch.minimum(aligned, unaligned) / (unaligned + 1e-9)).detach()
    return -aligned + unaligned


def fdo(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    generator: str = "kl",
    kl_beta: Number = 0.1,
    chosen_shift: Number = 0.0,
    rejected_shift: Number = 0.0,
    chosen_weight: Tensor | None = None,
    rejected_weight: Tensor | None = None,
) -> Tensor:
    """FDO: −E₊[g(r)] + E₋[f*(g(r))], minimum −D_f(D⁺‖D⁻) over all r.

    "hellinger" is E₊[e^{−r/2}] + E₋[e^{r/2}], the Hellinger loss, which is squared_hellinger + 2.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B₊,) or (B₋,)
        log π and log π_ref of the examples of the two classes, nats.
    generator : str
        A name of `GENERATORS`; links as in `theory.divergences.generators`.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    chosen_shift, rejected_shift : float or Tensor
        A constant, taken off the rewards of each class.
    chosen_weight, rejected_weight : Tensor, optional
        Masses in place of the class means.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        A class without examples, or sides that would be broadcast, or an unknown generator.

    References
    ----------
    .. [1] Haldar et al., arXiv 2502.00657, section 4.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> fdo(zero, zero, zero, zero, generator="hellinger").item()
    2.0
    """
    link, cost = find_generator(generator)
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=False)
    chosen = kl_beta * (policy_chosen - reference_chosen) - chosen_shift
    rejected = kl_beta * (policy_rejected - reference_rejected) - rejected_shift
    return two_classes(-link(chosen), cost(rejected), chosen_weight, rejected_weight)


def log_mean_exp(
    reward: Tensor,
    weight: Tensor | None,
    prompt: Tensor | None,
    chosen_prompt: Tensor | None,
    chosen_weight: Tensor | None,
    moving_mean: Tensor | None,
) -> Tensor:
    """log E₋[e^r], or Σ_x D⁺(x) log E₋[e^r | x] where prompts are given, or its surrogate with moving means."""
    require(reward, "rejected")
    if weight is not None:
        check_weight(weight, reward, "rejected")
    log_weight = torch.full_like(reward, -math.log(reward.numel())) if weight is None else torch.log(weight)
    if prompt is None and chosen_prompt is None and moving_mean is None:
        return torch.logsumexp(log_weight + reward, 0)
    if prompt is None or chosen_prompt is None:
        raise ValueError("one log per prompt, and moving means, need chosen_prompt and rejected_prompt")
    P = int(torch.cat([prompt, chosen_prompt]).max()) + 1 if moving_mean is None else moving_mean.numel()
    share = torch.ones_like(chosen_prompt, dtype=reward.dtype) / chosen_prompt.numel()
    nothing = torch.zeros(P, dtype=reward.dtype, device=reward.device)
    law = nothing.index_add(0, chosen_prompt, share if chosen_weight is None else chosen_weight)
    used = law > 0
    lost = torch.nonzero(used & (nothing.index_add(0, prompt, log_weight.exp()) == 0))
    if len(lost):
        raise ValueError(f"prompt {int(lost[0])} has chosen but no rejected examples: its log-mean-exp does not exist")
    # prompts without rejected mass are left out before: the gradient of a sum of nothing would be NaN
    inside = prompt[None, :] == torch.arange(P, device=prompt.device)[used, None]
    missing = torch.full((), -torch.inf, dtype=reward.dtype, device=reward.device)

    def per_prompt(values: Tensor) -> Tensor:
        return torch.logsumexp(torch.where(inside, values[None, :], missing), 1)

    log_means = per_prompt(log_weight + reward) - per_prompt(log_weight)
    if moving_mean is not None:
        return (law[used] * log_means.exp() / moving_mean[used]).sum()
    return (law[used] * log_means).sum()


_HALDAR = "Haldar et al. (arXiv 2502.00657)"
_KTO = "class means, not one over all examples; z₀ is an argument"
#: name → loss, with source, reduction and declared departures.
ENTRIES: dict[str, LossEntry] = {
    "kto": LossEntry(kto, "unpaired", "class means", "Ethayarajh et al. (arXiv 2402.01306)", _KTO),
    "bco": LossEntry(bco, "unpaired", "class means", "Jung et al. (arXiv 2404.04656)", "δ is an argument"),
    "kldo": LossEntry(
        kldo,
        "unpaired",
        "class means, log of a mean",
        f"{_HALDAR}, KLDO",
        "neither normalised nor with a moving mean by default",
    ),
    "fdo": LossEntry(fdo, "unpaired", "class means", f"{_HALDAR}, FDO", "links beyond kl and tv ours"),
}
