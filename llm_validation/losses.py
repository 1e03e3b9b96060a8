"""Alignment losses as pure torch functions of summed sequence log-probabilities, and the flat table of them all.

A sequence's log-probability is the sum over its completion tokens (EOS included) of log π(token | prefix), never a
mean over tokens. With lr = log π(y|x) − log π_ref(y|x) the implicit reward is r = kl_beta·lr; sp(x) = log(1 + eˣ).

    dpo           −E log σ(r_w − r_l)
    pro_pairwise  −(r_w − r_l)/8 + (α/9)(klB(r_w − r_l) + klB(r_w − r(H)) + klB(r_l − r(H)))
    pro_binary    −s(r(y) − r(H)) + α klB(r(y) − r(H))
    pro_scalar    −(1/N) Σ s_i (r_i − r(H)) + α · mean over the pairs of Y_H of klB
    kto           E₊[σ(−(r − z₀))] + E₋[σ(r − z₀)]
    bco           E₊[sp(−(r − δ))] + E₋[sp(r − δ)]
    kldo          −E₊[r] + log E₋[e^r], the log over all prompts or one per prompt
    fdo           −E₊[g(r)] + E₋[f*(g(r))] for a generator f
    ddro          E₊[sp(−lr)] + E₋[sp(lr)]
    rdro          E₊[(1+α) sp(lr) − lr] + (1−α) E₋[sp(lr)]

Arguments, in this order throughout: policy_chosen, policy_rejected, reference_chosen, reference_rejected, each (B,)
in nats (the two classes of an unpaired loss may differ in length). `weight` arguments are (B,) masses that replace
the batch mean by an exact expectation Σ weight·loss; they are used as given and never renormalised. kl_beta, alpha
and shifts are numbers or tensors that broadcast against the batch. No gradient flows through a reference.

Every loss is a mean over its batch or over each class (class means), never a sum and never a mean over tokens: that is
how the public implementations differ most, and each entry of `LOSSES` says so where it departs from its paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

LOG2 = math.log(2.0)
Number = float | Tensor


def dpo(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    kl_beta: Number = 0.1,
    weight: Tensor | None = None,
) -> Tensor:
    """DPO, −E log σ(kl_beta·(lr_w − lr_l)) over pairs (B,); log 2 at π = π_ref. Rafailov et al. (2305.18290), eq. 7."""
    margin = kl_beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))
    return _expect(-logsigmoid(margin), weight, "pairs")


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
    α = 9/4 is PRO-P of the paper (α = 1/η²): half of DPO on the pair plus the proximal term. An optimum exists for
    α > 9/8. policy_hyper, reference_hyper: log-mass of H where it is known exactly (prefix trie); otherwise
    log(1 − π_w − π_l) by log1mexp. hyper="zero" is the paper's shortcut r(H) = 0. Guo et al. (2505.23316), Thm 4.3.
    """
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
    return _expect(-(chosen - rejected) / 8.0 + alpha / 9.0 * regulariser, weight, "pairs")


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
    """PRO-B: −s·(r(y) − r(H)) + α·klB(r(y) − r(H)) over labelled responses (B,), H everything but y.

    scores s = ±½, or centred feedback (1 : 100 data: 100/101 and −1/101). The optimum r(y) − r(H) = logit(½ + s/α)
    exists for α > 2|s|. Departs from the printed −s·r(y) + …, which is not invariant to shifts of r (P10).
    """
    gap = kl_beta * (policy - reference) - _hyper_reward(
        policy, reference, policy_hyper, reference_hyper, kl_beta, hyper
    )
    return _expect(-scores * gap + alpha * kl_bernoulli_half(gap), weight, "labelled responses")


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
    """PRO-S on N scored responses per prompt, arguments (B, N): H is everything but those N.

    −(1/N) Σ s_i (r_i − r(H)) + α · mean over the N(N+1)/2 unordered pairs of Y_H of klB; N = 1 is `pro_binary`.
    """
    reward = kl_beta * (policy - reference)
    rest = _hyper_reward(
        torch.logsumexp(policy, -1), torch.logsumexp(reference, -1), policy_hyper, reference_hyper, kl_beta, hyper
    )
    everything = torch.cat([reward, rest.unsqueeze(-1)], dim=-1)
    N = policy.shape[-1]
    first, second = torch.triu_indices(N + 1, N + 1, offset=1, device=policy.device)
    pairs = kl_bernoulli_half(everything[..., first] - everything[..., second]).mean(-1)
    return _expect(-(scores * (reward - rest.unsqueeze(-1))).mean(-1) + alpha * pairs, weight, "prompts")


def pro(
    log_policy: Tensor, log_reference: Tensor, signal: Tensor, weights: Tensor, *, kl_beta: Number, alpha: Number
) -> Tensor:
    """L_PRO of whole tables (P, K), mean over prompts: −Σ w·r + (α/2) Σ μ(y)μ(y′) klB(r(y) − r(y′)).

    log_policy, log_reference  nats over Y_H, or over all of Y (eDPO)
    signal                     w = μ̂ŝ (P, K), Σ w = 0;  weights μ (P, K), sum one per prompt
    −Σ w·r in place of the paper's −kl_beta Σ w log π: they differ by a constant. Guo et al., eq. of section 4.
    """
    reward = kl_beta * (log_policy - log_reference)
    pairs = kl_bernoulli_half(reward.unsqueeze(-1) - reward.unsqueeze(-2))
    mass = weights.unsqueeze(-1) * weights.unsqueeze(-2)
    factor = alpha.squeeze(-1) if isinstance(alpha, Tensor) and alpha.ndim > 1 else alpha
    return (-(signal * reward).sum(-1) + 0.5 * factor * (mass * pairs).sum((-2, -1))).mean()


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

    The reference point z₀ is `*_shift`. Departs from Ethayarajh et al. (2402.01306), where z₀ is a batch estimate of
    the KL, clamped at 0: here it is an argument (0, fitted, or `kto_reference_point`), so that the loss is a function.
    """
    chosen = kl_beta * (policy_chosen - reference_chosen) - chosen_shift
    rejected = kl_beta * (policy_rejected - reference_rejected) - rejected_shift
    return _two_classes(torch.sigmoid(-chosen), torch.sigmoid(rejected), chosen_weight, rejected_weight)


def kto_reference_point(mismatched_log_ratios: Tensor, kl_beta: float) -> Tensor:
    """z₀ of KTO as the public trainers estimate it: kl_beta·max(0, mean lr of mismatched pairs), without gradient."""
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
    """BCO: E₊[sp(−(r − δ))] + E₋[sp(r − δ)]; 2 log 2 at π = π_ref, δ = 0. Jung et al. (2404.04656).

    δ is `*_shift`: 0, a trained parameter (then the loss reaches its minimum over all functions, V7), or a running mean
    of rewards as in the public trainers. At kl_beta = 1 and δ = 0 this is `ddro` (R9).
    """
    chosen = kl_beta * (policy_chosen - reference_chosen) - chosen_shift
    rejected = kl_beta * (policy_rejected - reference_rejected) - rejected_shift
    return _two_classes(softplus(-chosen), softplus(rejected), chosen_weight, rejected_weight)


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
    """KLDO, −E₊[r] + log E₋[e^r] (Donsker–Varadhan); 0 at π = π_ref. Haldar et al. (2502.00657).

    chosen_prompt, rejected_prompt  (B,) prompt indices 0 … P−1: one log per prompt, Σ_x D⁺(x) log E₋[e^r | x], which a
                   normalised policy can reach; None: one log for all, which it cannot in general (V8)
    moving_mean    running estimates m(x) of E₋[e^r | x] (P,), for minibatches: the second term becomes
                   Σ_x D⁺(x) E₋[e^r | x]/m(x), whose gradient has m in place of the batch's own mean; needs prompts
    normalize      the official code's option: the second term times min(A, U)/U, detached, U the second term and A the
                   mean chosen reward. It changes sign where A < 0 < U and then pushes rejected likelihoods up (V12)
    The log of a batch mean is biased low by about Var(e^r)/(2B (E e^r)²) (V9).
    """
    chosen = kl_beta * (policy_chosen - reference_chosen)
    rejected = kl_beta * (policy_rejected - reference_rejected)
    aligned = _expect(chosen, chosen_weight, "chosen")
    unaligned = _log_mean_exp(rejected, rejected_weight, rejected_prompt, chosen_prompt, chosen_weight, moving_mean)
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
    """FDO: −E₊[g(r)] + E₋[f*(g(r))], minimum −D_f(D⁺‖D⁻) over all r. generator: a name of `GENERATORS` here.

    Haldar et al. (2502.00657), section 4; links as in `theory.divergences.generators`. "hellinger" is E₊[e^{−r/2}] +
    E₋[e^{r/2}], the
    Hellinger loss, which is squared_hellinger + 2.
    """
    if generator not in GENERATORS:
        raise ValueError(f"no generator {generator!r}; there are {', '.join(GENERATORS)}")
    link, cost = GENERATORS[generator]
    chosen = kl_beta * (policy_chosen - reference_chosen) - chosen_shift
    rejected = kl_beta * (policy_rejected - reference_rejected) - rejected_shift
    return _two_classes(-link(chosen), cost(rejected), chosen_weight, rejected_weight)


def ddro(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    chosen_weight: Tensor | None = None,
    rejected_weight: Tensor | None = None,
) -> Tensor:
    """DDRO, logistic Bregman: E₊[sp(−lr)] + E₋[sp(lr)]; 2 log 2 at π = π_ref. Higuchi, Suzuki (2505.07558)."""
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    return _two_classes(softplus(-chosen), softplus(rejected), chosen_weight, rejected_weight)


def rdro(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    alpha: Number = 0.5,
    reduction: Literal["class_mean", "pooled"] = "class_mean",
    chosen_weight: Tensor | None = None,
    rejected_weight: Tensor | None = None,
) -> Tensor:
    """RDRO: E₊[(1+α) sp(lr) − lr] + (1−α) E₋[sp(lr)]; minimiser π/π_ref = p⁺/p_α. Takahashi et al. (2604.04410).

    reduction  "class_mean" (consistent); "pooled": one mean over all B₊ + B₋ examples, as the public code's trainer
               does, which has another minimiser unless the classes are equally large (R5). With weights, pooled takes
               them as they are: give a·p⁺ and (1−a)·p⁻.
    """
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    first, second = (1.0 + alpha) * softplus(chosen) - chosen, (1.0 - alpha) * softplus(rejected)
    if reduction == "class_mean" or chosen_weight is not None:
        return _two_classes(first, second, chosen_weight, rejected_weight)
    if reduction == "pooled":
        _require(first, "chosen")
        _require(second, "rejected")
        return torch.cat([first, second]).mean()
    raise ValueError(f"reduction = {reduction!r} must be 'class_mean' or 'pooled'")


def kl_bernoulli_half(delta: Tensor) -> Tensor:
    """klB(δ) = KL(Bernoulli(½) ‖ Bernoulli(σ(δ))) = log cosh(δ/2) ≥ 0, elementwise, nats."""
    return -0.5 * logsigmoid(delta) - 0.5 * logsigmoid(-delta) - LOG2


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − eˣ) for x < 0, without cancellation on either side of −log 2; −inf at 0, where nothing is left."""
    near = x > -LOG2
    # the branch that is not taken gets a harmless argument, or its gradient would be NaN
    close = torch.log(-torch.expm1(torch.where(near, x, torch.full_like(x, -1.0))))
    far = torch.log1p(-torch.exp(torch.where(near, torch.full_like(x, -1.0), x)))
    return torch.where(near, close, far)


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


def _log_mean_exp(
    reward: Tensor,
    weight: Tensor | None,
    prompt: Tensor | None,
    chosen_prompt: Tensor | None,
    chosen_weight: Tensor | None,
    moving_mean: Tensor | None,
) -> Tensor:
    """log E₋[e^r], or Σ_x D⁺(x) log E₋[e^r | x] where prompts are given, or its surrogate with moving means."""
    _require(reward, "rejected")
    log_weight = torch.full_like(reward, -math.log(reward.numel())) if weight is None else torch.log(weight)
    if prompt is None:
        return torch.logsumexp(log_weight + reward, 0)
    if chosen_prompt is None:
        raise ValueError("one log per prompt needs chosen_prompt too: it gives each prompt its weight")
    P = int(torch.cat([prompt, chosen_prompt]).max()) + 1 if moving_mean is None else moving_mean.numel()
    inside = prompt[None, :] == torch.arange(P, device=prompt.device)[:, None]
    missing = torch.full((), -torch.inf, dtype=reward.dtype, device=reward.device)

    def per_prompt(values: Tensor) -> Tensor:
        return torch.logsumexp(torch.where(inside, values[None, :], missing), 1)

    share = torch.ones_like(chosen_prompt, dtype=reward.dtype) / chosen_prompt.numel()
    law = torch.zeros(P, dtype=reward.dtype, device=reward.device)
    law = law.index_add(0, chosen_prompt, share if chosen_weight is None else chosen_weight)
    present = inside.any(1)
    lost = torch.nonzero((law > 0) & ~present)
    if len(lost):
        raise ValueError(f"prompt {int(lost[0])} has chosen but no rejected examples: its log-mean-exp does not exist")
    used = (law > 0) & present
    log_means = (per_prompt(log_weight + reward) - per_prompt(log_weight))[used]
    if moving_mean is not None:
        return (law[used] * log_means.exp() / moving_mean[used]).sum()
    return (law[used] * log_means).sum()


def _two_classes(
    chosen: Tensor, rejected: Tensor, chosen_weight: Tensor | None, rejected_weight: Tensor | None
) -> Tensor:
    return _expect(chosen, chosen_weight, "chosen") + _expect(rejected, rejected_weight, "rejected")


def _expect(values: Tensor, weight: Tensor | None, what: str) -> Tensor:
    """The batch mean, or Σ weight·values; an empty class is an error, never a NaN."""
    _require(values, what)
    return values.mean() if weight is None else (weight * values).sum()


def _require(values: Tensor, what: str) -> None:
    if values.numel() == 0:
        raise ValueError(f"the batch has no {what}: their mean does not exist")


def _pearson_cost(r: Tensor) -> Tensor:
    t = r.clamp(min=-2.0)  # below the slope at u = 0 the conjugate is −f(0) = −1
    return t + 0.25 * t * t


#: FDO generators: name → (link g, cost f*∘g). The same functions as `theory.divergences.generators.GENERATORS`, in
#: torch.
GENERATORS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "kl": (lambda r: r, lambda r: torch.exp(r - 1.0)),
    "reverse_kl": (lambda r: -torch.exp(-r), lambda r: r - 1.0),
    "jensen_shannon": (lambda r: 0.5 * (LOG2 + logsigmoid(r)), lambda r: -0.5 * (LOG2 + logsigmoid(-r))),
    "total_variation": (lambda r: 0.5 * torch.tanh(r), lambda r: 0.5 * torch.tanh(r)),
    "squared_hellinger": (lambda r: -torch.expm1(-0.5 * r), lambda r: torch.expm1(0.5 * r)),
    "hellinger": (lambda r: -torch.exp(-0.5 * r), lambda r: torch.exp(0.5 * r)),
    "pearson": (lambda r: r, _pearson_cost),
    "neyman": (lambda r: -torch.expm1(-2.0 * r), lambda r: -2.0 * torch.expm1(-r)),
}


@dataclass(frozen=True)
class LossEntry:
    """One line of the table: the function, its feedback, how it reduces a batch, source, and declared departures."""

    function: Callable[..., Tensor]
    feedback: Literal["pairs", "unpaired", "binary", "scalar"]
    reduction: str
    source: str
    departure: str = ""


_PRO, _HALDAR = "Guo, Li, Chen (arXiv 2505.23316)", "Haldar et al. (arXiv 2502.00657)"

#: name → loss. A test walks it: theory values, gradients, weights against means, empty classes.
LOSSES: dict[str, LossEntry] = {
    "dpo": LossEntry(dpo, "pairs", "mean over pairs", "Rafailov et al. (arXiv 2305.18290), eq. 7"),
    "pro_pairwise": LossEntry(
        pro_pairwise, "pairs", "mean over pairs", f"{_PRO}, Thm 4.3", "r(H) is exact, not 0, unless hyper='zero'"
    ),
    "pro_binary": LossEntry(
        pro_binary, "binary", "mean over responses", f"{_PRO}, section 4", "−s(r(y) − r(H)), invariant to shifts of r"
    ),
    "pro_scalar": LossEntry(pro_scalar, "scalar", "mean over prompts", f"{_PRO}, section 4", "as pro_binary"),
    "kto": LossEntry(kto, "unpaired", "class means", "Ethayarajh et al. (arXiv 2402.01306)", "z₀ is an argument"),
    "bco": LossEntry(bco, "unpaired", "class means", "Jung et al. (arXiv 2404.04656)", "δ is an argument"),
    "kldo": LossEntry(
        kldo, "unpaired", "class means, log of a mean", f"{_HALDAR}, KLDO", "normalize=False by default; no moving mean"
    ),
    "fdo": LossEntry(fdo, "unpaired", "class means", f"{_HALDAR}, FDO", "links beyond kl and tv ours"),
    "ddro": LossEntry(ddro, "unpaired", "class means", "Higuchi, Suzuki (arXiv 2505.07558)"),
    "rdro": LossEntry(
        rdro, "unpaired", "class means, or pooled", "Takahashi et al. (arXiv 2604.04410)", "class means by default"
    ),
}
