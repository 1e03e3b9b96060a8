"""Losses of pairs, and of responses with scores: DPO, IPO and PRO. B pairs or responses, N responses of a prompt."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from llm_validation.losses.parts import LossEntry, Number, check_alike, check_sides, expect, kl_bernoulli_half, log1mexp


def dpo(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    kl_beta: Number = 0.1,
    weight: Tensor | None = None,
) -> Tensor:
    """DPO, −E log σ(β·(lr_w − lr_l)) over pairs; log 2 at π = π_ref.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B,)
        log π and log π_ref of the chosen and the rejected response of each pair, nats.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    weight : Tensor (B,), optional
        Masses in place of the batch mean.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        An empty batch, sides that would be broadcast.

    References
    ----------
    .. [1] Rafailov et al., arXiv 2305.18290, eq. 7.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> round(dpo(zero, zero, zero, zero).item(), 4)
    0.6931
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=True)
    margin = kl_beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))
    return expect(-logsigmoid(margin), weight, "pairs")


def ipo(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    kl_beta: Number = 0.1,
    weight: Tensor | None = None,
) -> Tensor:
    """IPO, E[(lr_w − lr_l − 1/(2β))²] over pairs; 1/(4β²) at π = π_ref.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B,)
        log π and log π_ref of the chosen and the rejected response of each pair, nats.
    kl_beta : float or Tensor
        τ of the paper: a pair that always ends the same way moves 1/(2β) nats apart.
    weight : Tensor (B,), optional
        Masses in place of the batch mean.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        An empty batch, sides that would be broadcast.

    References
    ----------
    .. [1] Azar et al., arXiv 2310.12036, eq. 17.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> ipo(zero, zero, zero, zero, kl_beta=0.5).item()
    1.0
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=True)
    margin = (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)
    return expect((margin - 0.5 / kl_beta) ** 2, weight, "pairs")


def pro_pairwise(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    kl_beta: Number = 0.1,
    alpha: Number = 2.25,
    policy_hyper: Tensor | None = None,
    reference_hyper: Tensor | None = None,
    hyper: Literal["exact", "zero"] = "exact",
    weight: Tensor | None = None,
) -> Tensor:
    """PRO-P on one labelled pair per prompt and H, everything else: μ uniform on {w, l, H} (η = 2/3).

    L_PRO at μ̂ = (½, ½, 0), ŝ = (¼, −¼, 0): −(r_w − r_l)/8 + (α/9)(klB(r_w−r_l) + klB(r_w−r_H) + klB(r_l−r_H)).
    α = 9/4 is PRO-P of the paper (α = 1/η²): half of DPO on the pair plus the proximal term.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B,)
        log π and log π_ref of the chosen and the rejected response of each pair, nats.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    alpha : float or Tensor
        Weight of the proximal term; an optimum exists above 9/8.
    policy_hyper, reference_hyper : Tensor, optional
        log π(H) and log π_ref(H) where they are known exactly (prefix tree); else log(1 − labelled mass).
    hyper : {"exact", "zero"}
        "zero": the paper's shortcut r(H) = 0.
    weight : Tensor (B,), optional
        Masses in place of the batch mean.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        An empty batch, sides that would be broadcast, or another `hyper`.

    References
    ----------
    .. [1] Guo, Li, Chen, arXiv 2505.23316, theorem 4.3.

    Examples
    --------
    >>> half, quarter = torch.log(torch.tensor([0.5])), torch.log(torch.tensor([0.25]))
    >>> abs(pro_pairwise(half, quarter, half, quarter).item())
    0.0
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=True)
    chosen = kl_beta * (policy_chosen - reference_chosen)
    rejected = kl_beta * (policy_rejected - reference_rejected)
    rest = _hyper_reward(
        torch.logaddexp(policy_chosen, policy_rejected),
        torch.logaddexp(reference_chosen, reference_rejected),
        policy_hyper,
        reference_hyper,
        kl_beta,
        hyper,
    )
    regulariser = (
        kl_bernoulli_half(chosen - rejected) + kl_bernoulli_half(chosen - rest) + kl_bernoulli_half(rejected - rest)
    )
    return expect(-(chosen - rejected) / 8.0 + alpha / 9.0 * regulariser, weight, "pairs")


def pro_binary(
    policy: Tensor,
    reference: Tensor,
    scores: Tensor,
    *,
    kl_beta: Number = 0.1,
    alpha: Number = 2.5,
    policy_hyper: Tensor | None = None,
    reference_hyper: Tensor | None = None,
    hyper: Literal["exact", "zero"] = "exact",
    weight: Tensor | None = None,
) -> Tensor:
    """PRO-B: −s·(r(y) − r(H)) + α·klB(r(y) − r(H)) over labelled responses, H everything but y.

    The optimum r(y) − r(H) = logit(½ + s/α) exists for α > 2|s|. Departs from the printed −s·r(y) + …, which is not
    invariant to shifts of r (P10).

    Parameters
    ----------
    policy, reference : Tensor (B,)
        log π and log π_ref of the labelled responses, nats.
    scores : Tensor (B,)
        s = ±½, or centred feedback (1 : 100 data: 100/101 and −1/101).
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    alpha : float or Tensor
        Weight of the proximal term.
    policy_hyper, reference_hyper : Tensor, optional
        log π(H) and log π_ref(H) where they are known exactly (prefix tree); else log(1 − labelled mass).
    hyper : {"exact", "zero"}
        "zero": the paper's shortcut r(H) = 0.
    weight : Tensor (B,), optional
        Masses in place of the batch mean.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        An empty batch, sides that would be broadcast, or another `hyper`.

    References
    ----------
    .. [1] Guo, Li, Chen, arXiv 2505.23316, section 4.

    Examples
    --------
    >>> half = torch.log(torch.tensor([0.5]))
    >>> abs(pro_binary(half, half, torch.tensor([0.5])).item())
    0.0
    """
    check_alike("policy", "reference", {"policy": policy, "reference": reference})
    check_alike("policy", "scores", {"policy": policy, "scores": scores})
    gap = kl_beta * (policy - reference) - _hyper_reward(
        policy, reference, policy_hyper, reference_hyper, kl_beta, hyper
    )
    return expect(-scores * gap + alpha * kl_bernoulli_half(gap), weight, "labelled responses")


def pro_scalar(
    policy: Tensor,
    reference: Tensor,
    scores: Tensor,
    *,
    kl_beta: Number = 0.1,
    alpha: Number = 2.5,
    policy_hyper: Tensor | None = None,
    reference_hyper: Tensor | None = None,
    hyper: Literal["exact", "zero"] = "exact",
    weight: Tensor | None = None,
) -> Tensor:
    """PRO-S on N scored responses per prompt: H is everything but those N.

    −(1/N) Σ s_i (r_i − r(H)) + α · mean over the N(N+1)/2 unordered pairs of Y_H of klB; N = 1 is `pro_binary`.

    Parameters
    ----------
    policy, reference, scores : Tensor (B, N)
        log π and log π_ref of the responses, nats, and their centred scores.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    alpha : float or Tensor
        Weight of the proximal term.
    policy_hyper, reference_hyper : Tensor, optional
        log π(H) and log π_ref(H) where they are known exactly (prefix tree); else log(1 − labelled mass).
    hyper : {"exact", "zero"}
        "zero": the paper's shortcut r(H) = 0.
    weight : Tensor (B,), optional
        Masses in place of the batch mean.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        An empty batch, sides that would be broadcast, or another `hyper`.

    References
    ----------
    .. [1] Guo, Li, Chen, arXiv 2505.23316, section 4.

    Examples
    --------
    >>> logs = torch.log(torch.tensor([[0.5, 0.25]]))
    >>> abs(pro_scalar(logs, logs, torch.tensor([[0.5, -0.2]])).item())
    0.0
    """
    check_alike("policy", "reference", {"policy": policy, "reference": reference})
    check_alike("policy", "scores", {"policy": policy, "scores": scores})
    reward = kl_beta * (policy - reference)
    rest = _hyper_reward(
        torch.logsumexp(policy, -1), torch.logsumexp(reference, -1), policy_hyper, reference_hyper, kl_beta, hyper
    )
    everything = torch.cat([reward, rest.unsqueeze(-1)], dim=-1)
    N = policy.shape[-1]
    first, second = torch.triu_indices(N + 1, N + 1, offset=1, device=policy.device)
    pairs = kl_bernoulli_half(everything[..., first] - everything[..., second]).mean(-1)
    return expect(-(scores * (reward - rest.unsqueeze(-1))).mean(-1) + _of_prompts(alpha) * pairs, weight, "prompts")


def pro(
    log_policy: Tensor, log_reference: Tensor, signal: Tensor, weights: Tensor, *, kl_beta: Number, alpha: Number
) -> Tensor:
    """L_PRO of whole tables, mean over prompts: −Σ w·r + (α/2) Σ μ(y)μ(y′) klB(r(y) − r(y′)).

    −Σ w·r in place of the paper's −kl_beta Σ w log π: they differ by a constant.

    Parameters
    ----------
    log_policy, log_reference : Tensor (P, K)
        nats over Y_H, or over all of Y (eDPO).
    signal : Tensor (P, K)
        w = μ̂ŝ, Σ w = 0.
    weights : Tensor (P, K)
        μ, sum one per prompt.
    kl_beta : float or Tensor
        Weight β of the log-ratio in the reward.
    alpha : float or Tensor
        Weight of the proximal term.

    Returns
    -------
    Tensor ()

    References
    ----------
    .. [1] Guo, Li, Chen, arXiv 2505.23316, section 4.

    Examples
    --------
    >>> logs = torch.log(torch.tensor([[0.5, 0.5]]))
    >>> pro(logs, logs, torch.tensor([[0.1, -0.1]]), torch.tensor([[0.5, 0.5]]), kl_beta=1.0, alpha=1.0).item()
    0.0
    """
    reward = kl_beta * (log_policy - log_reference)
    pairs = kl_bernoulli_half(reward.unsqueeze(-1) - reward.unsqueeze(-2))
    mass = weights.unsqueeze(-1) * weights.unsqueeze(-2)
    return (-(signal * reward).sum(-1) + 0.5 * _of_prompts(alpha) * (mass * pairs).sum((-2, -1))).mean()


def _of_prompts(value: Number) -> Number:
    """A constant of each prompt (B,): one that stands beside responses, (B, 1), would be broadcast to (B, B)."""
    return value.squeeze(-1) if isinstance(value, Tensor) and value.ndim > 1 else value


def _hyper_reward(
    labelled: Tensor,
    reference_labelled: Tensor,
    policy_hyper: Tensor | None,
    reference_hyper: Tensor | None,
    kl_beta: Number,
    hyper: Literal["exact", "zero"],
) -> Tensor:
    """r(H) = kl_beta·log(π(H)/π_ref(H)); `labelled` are log-masses of the labelled responses together."""
    if hyper == "zero":
        return torch.zeros_like(labelled)
    if hyper != "exact":
        raise ValueError(f"hyper = {hyper!r} must be 'exact' or 'zero'")
    policy = log1mexp(labelled) if policy_hyper is None else policy_hyper
    reference = log1mexp(reference_labelled) if reference_hyper is None else reference_hyper
    beta = kl_beta.squeeze(-1) if isinstance(kl_beta, Tensor) and kl_beta.ndim > policy.ndim else kl_beta
    return beta * (policy - reference)


_PRO = "Guo, Li, Chen (arXiv 2505.23316)"
#: name → loss, with source, reduction and declared departures.
ENTRIES: dict[str, LossEntry] = {
    "dpo": LossEntry(dpo, "pairs", "mean over pairs", "Rafailov et al. (arXiv 2305.18290), eq. 7"),
    "ipo": LossEntry(
        ipo,
        "pairs",
        "mean over pairs",
        "Azar et al. (arXiv 2310.12036), eq. 17",
        "log-ratios of sequences, not of tokens",
    ),
    "pro_pairwise": LossEntry(
        pro_pairwise, "pairs", "mean over pairs", f"{_PRO}, Thm 4.3", "r(H) is exact, not 0, unless hyper='zero'"
    ),
    "pro_binary": LossEntry(
        pro_binary, "binary", "mean over responses", f"{_PRO}, section 4", "−s(r(y) − r(H)), invariant to shifts of r"
    ),
    "pro_scalar": LossEntry(pro_scalar, "scalar", "mean over prompts", f"{_PRO}, section 4", "as pro_binary"),
}
