"""Losses of two classes of examples by density ratios: DDRO, RDRO. Shapes: B₊ chosen and B₋ rejected examples."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from llm_validation.losses.parts import LossEntry, Number, check_sides, require, two_classes


def ddro(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    chosen_weight: Tensor | None = None,
    rejected_weight: Tensor | None = None,
) -> Tensor:
    """DDRO, logistic Bregman: E₊[sp(−lr)] + E₋[sp(lr)]; 2 log 2 at π = π_ref.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B₊,) or (B₋,)
        log π and log π_ref of the examples of the two classes, nats.
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
    .. [1] Higuchi, Suzuki, arXiv 2505.07558.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> round(ddro(zero, zero, zero, zero).item(), 4)
    1.3863
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=False)
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    return two_classes(softplus(-chosen), softplus(rejected), chosen_weight, rejected_weight)


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
    """RDRO: E₊[(1+α) sp(lr) − lr] + (1−α) E₋[sp(lr)]; minimiser π/π_ref = p⁺/p_α.

    Parameters
    ----------
    policy_chosen, policy_rejected, reference_chosen, reference_rejected : Tensor (B₊,) or (B₋,)
        log π and log π_ref of the examples of the two classes, nats.
    alpha : float or Tensor
        Share of the chosen law in the denominator p_α.
    reduction : {"class_mean", "pooled"}
        "class_mean" is consistent; "pooled": one mean over all B₊ + B₋ examples, as the public code's trainer does,
        which has another minimiser unless the classes are equally large (R5). With weights, pooled takes them as they
        are: give a·p⁺ and (1−a)·p⁻.
    chosen_weight, rejected_weight : Tensor, optional
        Masses in place of the class means.

    Returns
    -------
    Tensor ()

    Raises
    ------
    ValueError
        A class without examples, sides that would be broadcast, another `reduction`, or pooled weights of one class.

    References
    ----------
    .. [1] Takahashi et al., arXiv 2604.04410.

    Examples
    --------
    >>> zero = torch.zeros(2)
    >>> round(rdro(zero, zero, zero, zero).item(), 4)
    1.3863
    """
    check_sides(policy_chosen, policy_rejected, reference_chosen, reference_rejected, pairs=False)
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    first, second = (1.0 + alpha) * softplus(chosen) - chosen, (1.0 - alpha) * softplus(rejected)
    if reduction not in ("class_mean", "pooled"):
        raise ValueError(f"reduction = {reduction!r} must be 'class_mean' or 'pooled'")
    weights = sum(weight is not None for weight in (chosen_weight, rejected_weight))
    if reduction == "class_mean" or weights == 2:
        return two_classes(first, second, chosen_weight, rejected_weight)
    if weights:
        raise ValueError("pooled takes weights of both classes or of none: those of one leave the other's share open")
    require(first, "chosen")
    require(second, "rejected")
    return torch.cat([first, second]).mean()


#: name → loss, with source, reduction and declared departures.
ENTRIES: dict[str, LossEntry] = {
    "ddro": LossEntry(ddro, "unpaired", "class means", "Higuchi, Suzuki (arXiv 2505.07558)"),
    "rdro": LossEntry(
        rdro, "unpaired", "class means, or pooled", "Takahashi et al. (arXiv 2604.04410)", "class means by default"
    ),
}
