"""The same loss trained in many ways on a language model: P14. What do things that should not matter move?

Each prompt has one labelled pair, won always or twice out of three times, and responses that nobody labels. DPO sees
the pair's margin alone: where both outcomes occur it has an optimum, log(2)/kl_beta, and all that leaves it as it is
is free. PRO on the same labels has one optimum on Y_H. Every change of `CHANGES` starts from the same reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import torch
from torch import Tensor

from llm_validation.catalogue.reference import Reference
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.trie import log_policy
from llm_validation.claims.settings import REPEATED_ALPHA, REPEATED_BETA, REPEATED_SHARES
from llm_validation.losses import pairs
from llm_validation.model.sharding import decoder_layers
from llm_validation.runs.proximal import PROMPTS
from llm_validation.runs.run import Run
from llm_validation.training.loop import adamw, minimise, of_loss, trainable
from llm_validation.training.schedule import Schedule
from simulate.rows.measurement import Measurement, measurement
from theory.validate import Array

#: A pair and all else.
OUTCOMES = ("chosen", "rejected", "H")
#: (log π, the prompts whose it is) → the mean loss over them.
Losses = Callable[[Tensor, slice], Tensor]
EVERY = slice(None)
#: The profile's number of steps over a change's: after so many PRO's ends lie within a quarter of what is asked.
SHORTER = 2.5


@dataclass(frozen=True)
class Change:
    """A way to train that no optimum depends on.

    rate, steps  factors of the profile's
    beta2        of AdamW
    clip         largest gradient norm
    momentum     heavy-ball descent in place of AdamW, at this rate
    blocks       blocks that are trained, and nothing else; None: all weights
    first        each step sees one prompt, in turn, and this one first; None: all prompts
    """

    rate: float = 1.0
    steps: float = 1.0
    beta2: float = 0.999
    clip: float = 1.0
    momentum: float = 0.0
    blocks: slice | None = None
    first: int | None = None


#: The first changes nothing.
CHANGES = (
    Change(), Change(rate=0.5), Change(rate=2.0), Change(steps=1.5), Change(beta2=0.95),
    Change(clip=0.1), Change(momentum=0.1), Change(blocks=slice(-1, None)), Change(blocks=slice(0, 1)),
    Change(first=0), Change(first=1),
)  # fmt: skip


def pair_alone(reference: Reference) -> Reference:
    """The same reference with the labelled pair as its catalogue, so that H is all that is off it."""
    encoded = reference.encoded
    pair = Encoded(encoded.prompts, tuple((first, second) for first, second, *_ in encoded.responses))
    others = np.logaddexp.reduce(reference.log_law[:, 2:], axis=1, keepdims=True)
    return replace(reference, encoded=pair, log_law=np.hstack([reference.log_law[:, :2], others]))


def loss_of(method: str, reference: Reference) -> Losses:
    """DPO or PRO on the labels of some prompts."""
    shares, ref = reference.tensor(REPEATED_SHARES), reference.logs
    drawn = torch.stack([shares, 1.0 - shares], -1)
    signal = torch.stack([shares - 0.5, 0.5 - shares, 0.0 * shares], -1) / 4.0  # the product of μ̂ and ŝ
    weights = torch.full_like(signal, 1.0 / 3.0)
    both, back = [0, 1], [1, 0]

    def of(logs: Tensor, at: slice) -> Tensor:
        own = ref[at]
        if method == "pro":
            return pairs.pro(logs, own, signal[at], weights[at], kl_beta=REPEATED_BETA, alpha=REPEATED_ALPHA)
        return pairs.dpo(
            logs[:, both], logs[:, back], own[:, both], own[:, back], kl_beta=REPEATED_BETA, weight=2.0 * drawn[at]
        )

    return of


def moved(reference: Reference, losses: Losses, change: Change) -> Array:
    """log π/π_ref (P, 3) of the labelled pair and H, where a training ends."""
    model, tree = reference.model(), reference.trie()
    if change.blocks is not None:
        model.requires_grad_(False)
        for block in decoder_layers(model.base_model)[change.blocks]:
            block.requires_grad_(True)
    steps, rate = round(change.steps * reference.schedule.steps / SHORTER), change.rate * reference.schedule.rate
    schedule = Schedule(steps, change.momentum or rate, clip=change.clip, beta2=change.beta2)
    groups = [{"params": trainable(model), "scale": 1.0}]
    optimiser = torch.optim.SGD(groups, lr=schedule.rate, momentum=0.9) if change.momentum else adamw(model, schedule)
    n = len(REPEATED_SHARES)
    order: Iterable[slice] = repeat(EVERY)
    if change.first is not None:
        order = (slice(p, p + 1) for p in (change.first + np.arange(steps)) % n)
    trees = [reference.part([p]).trie() for p in range(n)]

    def loss(at: slice) -> Tensor:
        return losses(log_policy(model, tree if at == EVERY else trees[at.start]), at)

    minimise(model, order, of_loss(loss), schedule, name=f"{change}", optimiser=optimiser)
    with torch.no_grad():
        end = log_policy(model, tree).double().cpu().numpy()
    return np.asarray(end - reference.log_law)


def repeated(reference: Reference) -> list[Measurement]:
    """P14: ranges over `CHANGES` under both losses, DPO's margin, and where its ends lie apart."""
    part = pair_alone(reference.part(range(len(REPEATED_SHARES))))
    ends = {
        method: np.stack([moved(part, loss_of(method, part), change) for change in CHANGES])
        for method in ("dpo", "pro")
    }
    ranges = {method: np.ptp(found, axis=0) for method, found in ends.items()}
    won = np.array(REPEATED_SHARES) == 1.0
    apart = ends["dpo"][:, ~won] - ends["dpo"][:, ~won].mean(axis=0)
    margins = ends["dpo"][:, ~won, 0] - ends["dpo"][:, ~won, 1]
    across = apart[..., 0] - apart[..., 1]
    n = len(CHANGES)
    rows = [
        measurement("P14", "trained_pro", {"response": name}, float(ranges["pro"][:, y].max()), n=n)
        for y, name in enumerate(OUTCOMES)
    ]
    chosen = {method: found[:, 0] for method, found in ranges.items()}
    flat = 1.0 - 0.5 * (across**2).sum() / (apart**2).sum()
    rows += [
        measurement("P14", "trained_dpo", {}, float((chosen["dpo"] > 1.0).mean()), n=n),
        measurement("P14", "trained_ratio", {}, float((chosen["dpo"] > 10.0 * chosen["pro"]).mean()), n=n),
        measurement("P14", "trained_margin", {}, float(margins.mean()), n=n),
        measurement("P14", "trained_flat", {}, float(flat), n=n),
    ]
    return rows


RUNS = (Run("reproducibility", repeated, ("P14",), prompts=PROMPTS),)
