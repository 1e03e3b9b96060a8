"""Alignment losses as divergence estimators on a trained language model: V1–V7.

With one fitted constant per prompt a loss reaches its minimum over all functions: what it is worth on held-out draws is
a divergence, and the policy is π ∝ π_ref h(R). With the constant fixed at 0 the policy is the constrained optimum
instead. Both are predicted from the measured reference and the drawn classes. Shapes: P prompts, A responses, off last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from llm_validation.catalogue.reference import Reference, conditional, total_variation
from llm_validation.catalogue.train import Trained
from llm_validation.claims.settings import CLAIM_OF_LOSS, FITTED_BETA, FIXED, MINIBATCHED, RDRO_ALPHA, UNPAIRED
from llm_validation.losses import pairs, unpaired
from llm_validation.runs.run import Run, law_rows
from llm_validation.runs.unpaired import (
    HELD_OUT,
    UNPAIRED_PROMPTS,
    Classes,
    aligned_policies,
    call,
    constrained_policies,
    draw,
    expectation,
    fixed_constant_policies,
    read_off,
    train_fitted,
)
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement, measurement
from theory.divergences.losses import find_loss
from theory.divergences.policies import aligned_support
from theory.validate import Array

#: Parts of the schedule's steps after which a loss is within a fifth of MEAN and of WORST of where it ends: most need
#: this one, others with their constants fitted more. KTO's and KL's are nearly flat far out; Pearson's along responses
#: that are seldom rejected.
ENOUGH, SLOW = 0.75, {"kto": 1.0, "kl": 1.0, "pearson": 2.0}
#: Prompts of these runs: full supports, so that every divergence is finite.
PROMPTS = [p for p, name in enumerate(UNPAIRED) if name != "never_rejected"]
#: Minibatch training: draws per prompt and class, and examples of each class in a batch.
MINIBATCH_DRAWS, BATCH = 60, 150
#: Parts of the schedule's steps that average the noise of batches out, to a twentieth of SAMPLED: DPO has the most.
AVERAGED, NOISY = 1.5, {"dpo": 2.0}


def fitted(reference: Reference, name: str) -> list[Measurement]:
    """One loss with its constants fitted: V7's policy, and the divergence that held-out draws read off it."""
    part, classes = reference.part(PROMPTS), draw(reference).part(PROMPTS)
    schedule = reference.schedule.longer(SLOW.get(name, ENOUGH))
    trained, rewards = train_fitted(part, classes, name, FITTED_BETA[name], f"{name} fitted", schedule=schedule)
    p, q, rng = classes.chosen_law, classes.rejected_law, generator(reference.seed, "held out", name)
    values, stderr = read_off(name, rewards, p, q, rng)
    errors = values - [find_loss(name).divergence(*laws) for laws in zip(p, q, strict=True)]
    n = HELD_OUT * len(errors)
    rows = [measurement(CLAIM_OF_LOSS.get(name, "V5"), "held_out", {"name": name}, float(np.mean(errors)), stderr, n)]
    if name == "kto":
        return [*rows, _kto_support(classes, trained)]
    target = aligned_policies(part, classes, name, FITTED_BETA[name])
    reached = conditional(trained.policy)
    return [*rows, *law_rows("V7", {"name": name, "constant": "fitted"}, part.on_catalogue, reached, target)]


def _kto_support(classes: Classes, trained: Trained) -> Measurement:
    """Least conditional mass that KTO leaves on {R > 1}; the split inside is not determined."""
    law = conditional(trained.policy)
    mass = [law[p][aligned_support("kto", classes.chosen[p], classes.rejected[p])].sum() for p in range(len(PROMPTS))]
    return measurement("V7", "trained_kto_support", {}, float(np.min(mass)), n=len(mass))


def fixed(reference: Reference, name: str) -> list[Measurement]:
    """One loss with its constant at 0: V7's constrained optimum over responses and off."""
    part, classes = reference.part(PROMPTS), draw(reference).part(PROMPTS)
    trained = part.train(expectation(part, classes, name, 1.0), f"{name} fixed", schedule=part.schedule.longer(ENOUGH))
    target = fixed_constant_policies(part, classes, name)
    return law_rows("V7", {"name": name, "constant": "fixed"}, np.exp(part.log_law), trained.policy, target)


def minibatched(reference: Reference, name: str) -> list[Measurement]:
    """One loss on shuffled minibatches at kl_beta = 1, every example once per epoch: the same optimum, a harder way."""
    part, classes = reference.part(PROMPTS), draw(reference, MINIBATCH_DRAWS, "minibatch", at_least=1).part(PROMPTS)
    averaging = reference.schedule.slower(0.5).longer(NOISY.get(name, AVERAGED))
    trained = part.train(_shuffled(part, classes, name), f"{name} minibatches", schedule=averaging)
    if name in ("dpo", "kldo"):  # each epoch pairs anew: DPO's pairs are independent, and its optimum is V4's
        reached, target = conditional(trained.policy), aligned_policies(part, classes, name, 1.0)
    else:
        reached = trained.policy
        target = constrained_policies(part, classes, RDRO_ALPHA if name == "rdro" else None)
    distance = total_variation(reached, target)
    return [
        measurement("V7", "minibatch_tv", {"name": name}, float(distance.mean()), n=distance.size),
        measurement("V7", "minibatch_worst", {"name": name}, float(distance.max()), n=distance.size),
    ]


def _shuffled(reference: Reference, classes: Classes, name: str) -> Callable[[int, Tensor], Tensor]:
    """Minibatches of BATCH chosen and BATCH rejected examples; the order of an epoch depends on (seed, epoch) alone."""
    P, A = classes.chosen.shape
    counts = [np.rint(law * MINIBATCH_DRAWS).astype(int) for law in (classes.chosen, classes.rejected)]
    examples = [np.repeat(np.arange(P * A), count.ravel()) for count in counts]
    per_epoch = len(examples[0]) // BATCH
    ref, moving = reference.logs[:, :-1].ravel(), MovingMeans(torch.ones(P, device=reference.device))

    def batch(step: int) -> list[Tensor]:
        epoch, place = divmod(step, per_epoch)
        orders = _one_epoch(examples, (P, A), generator(reference.seed, "epoch", name, epoch), in_pairs=name == "dpo")
        window = slice(place * BATCH, (place + 1) * BATCH)
        return [torch.as_tensor(order[window], device=reference.device) for order in orders]

    def objective(step: int, logs: Tensor) -> Tensor:
        flat = logs[:, :-1].reshape(-1)
        one, two = batch(step)
        sides = flat[one], flat[two], ref[one], ref[two]
        if name == "dpo":
            return pairs.dpo(*sides, kl_beta=1.0)
        prompts = one // A, two // A
        if name == "kldo":
            moving.update((sides[1] - sides[3]).detach(), prompts[1])
            return unpaired.kldo(
                *sides, kl_beta=1.0, chosen_prompt=prompts[0], rejected_prompt=prompts[1], moving_mean=moving.value
            )
        return call(name, sides, {}, {}, 1.0, prompts)

    return objective


def _one_epoch(
    examples: Sequence[Array], shape: tuple[int, int], rng: np.random.Generator, *, in_pairs: bool
) -> list[Array]:
    """Both classes in the order of one epoch; `in_pairs`: of one prompt each, shuffled in it, and then the pairs."""
    if not in_pairs:
        return [side[rng.permutation(len(side))] for side in examples]
    orders = [_within_prompts(side, *shape, rng) for side in examples]
    pairs = rng.permutation(len(orders[0]))
    return [side[order[pairs]] for side, order in zip(examples, orders, strict=True)]


@dataclass(eq=False)
class MovingMeans:
    """Running means of e^r per prompt (P,): what KLDO's gradient divides by, against the bias of small batches (V9)."""

    value: Tensor
    rate: float = 0.05

    def update(self, rewards: Tensor, prompt: Tensor) -> None:
        """Take a batch of rejected rewards (B,) in; prompts that it does not hold keep their means."""
        total = torch.zeros_like(self.value).index_add(0, prompt, rewards.exp())
        count = torch.zeros_like(self.value).index_add(0, prompt, torch.ones_like(rewards))
        rate = torch.where(count > 0, self.rate, 0.0)
        self.value = (1.0 - rate) * self.value + rate * total / count.clamp(min=1.0)


def _within_prompts(side: Array, P: int, A: int, rng: np.random.Generator) -> Array:
    """An order of examples that is random inside each prompt and keeps the prompts' places: pairs stay in a prompt."""
    return np.concatenate([rng.permutation(np.flatnonzero(side // A == p)) for p in range(P)])


_TV = ("V7.mean_tv", "V7.worst_tv", "V7.slope", "V7.untrained_tv")
#: The longest first, as in `llm_validation.runs.table`.
_FITTED = sorted(FITTED_BETA, key=lambda name: -SLOW.get(name, ENOUGH))
RUNS = (
    *(Run(f"{name}_minibatch", partial(minibatched, name=name), ("V7.minibatch_tv",), prompts=UNPAIRED_PROMPTS,
          at={"name": name}, also=("V7.minibatch_worst",)) for name in MINIBATCHED),
    *(Run(f"{name}_fixed", partial(fixed, name=name), _TV, prompts=UNPAIRED_PROMPTS,
          at={"name": name, "constant": "fixed"}) for name in FIXED),
    *(Run(f"{name}_fitted", partial(fitted, name=name), prompts=UNPAIRED_PROMPTS,
          at={"name": name, "constant": "fitted"},
          claims=(CLAIM_OF_LOSS.get(name, "V5"), *(("V7.trained_kto_support",) if name == "kto" else _TV)))
      for name in _FITTED),
)  # fmt: skip
