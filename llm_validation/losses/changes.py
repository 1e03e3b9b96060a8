"""What a trainer may do to a loss of ours, as changes that can be made to it; `llm_validation.conformance` reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llm_validation.losses.probes import CLASSES, Case, OurLoss, Sides
from llm_validation.losses.table import LOSSES

#: Classes and the weights of their examples.
WEIGHTS = {"chosen": "chosen_weight", "rejected": "rejected_weight"}


@dataclass(frozen=True)
class Change:
    """What a trainer may do to our loss.

    axis   only one change of an axis holds at a time;  says  the sentence, with {} for a number that is fitted
    sides  (case, the four log-probabilities, kl_beta, number) → four log-probabilities
    options (case, number) → keyword arguments of the loss; times_chosen_weight multiplies what its examples weigh
    term    (case, the four log-probabilities, number) → what is added to the loss
    bounds of the number, which is searched on a line; None: there is none
    """

    axis: str
    says: str
    sides: Callable[[Case, Sides, float, float], Sides] | None = None
    options: Callable[[Case, float], dict[str, Any]] | None = None
    term: Callable[[Case, Sides, float], Tensor] | None = None
    bounds: tuple[float, float] | None = None
    number: float = 0.0


def _replaced(position: int, make: Callable[[Sides], Tensor]) -> Callable[[Case, Sides, float, float], Sides]:
    return lambda case, s, beta, number: tuple(make(s) if i == position else side for i, side in enumerate(s))


def _per_token(case: Case, sides: Sides) -> Sides:
    return tuple(side / count for side, count in zip(sides, case.tokens * 2, strict=True))


def _offset(name: str) -> Callable[[Case, Sides, float, float], Sides]:
    both = name in CLASSES
    return lambda case, s, beta, δ: (*s[:2], s[2] + δ / beta, s[3] + δ / beta if both else s[3])


def _times(weight: str) -> Callable[[Case, float], dict[str, Any]]:
    return lambda case, x: {f"times_{weight}": x}


def _around_mean(clamped: bool, detached: bool = True, crossed: bool = False) -> Callable[..., Sides]:
    """Rewards less their mean over the batch; crossed: those of a class less the mean of the other."""

    def sides(case: Case, s: Sides, beta: float, number: float) -> Sides:
        ratios = [s[0] - s[2], s[1] - s[3]]
        means = [side.mean() for side in reversed(ratios)] if crossed else [torch.cat(ratios).mean()] * 2
        means = [mean.detach() for mean in means] if detached else means
        means = [mean.clamp(min=0.0) for mean in means] if clamped else means
        return (*s[:2], s[2] + means[0], s[3] + means[1])

    return sides


def mismatched_ratios(case: Case) -> Tensor:
    """log π − log π_ref of mismatched pairs."""
    policy, reference = case.mismatched
    return policy - reference


def _less(point: Callable[[Tensor], Tensor], *, times_beta: bool = True) -> Callable[..., Sides]:
    """Rewards less kl_beta times, or plainly, what is made of the log-ratios of mismatched pairs."""

    def sides(case: Case, s: Sides, beta: float, number: float) -> Sides:
        taken = point(mismatched_ratios(case)) / (1.0 if times_beta else beta)
        return (*s[:2], s[2] + taken, s[3] + taken)

    return sides


def _reference_changes() -> list[Change]:
    zero = torch.zeros_like
    return [
        Change("reference", "there is no reference: the log-probabilities themselves are the rewards",
               lambda case, s, b, x: (*s[:2], zero(s[2]), zero(s[3]))),
        Change("reference", "the reference of chosen is missing", _replaced(2, lambda s: zero(s[2]))),
        Change("reference", "the reference of rejected is missing", _replaced(3, lambda s: zero(s[3]))),
        Change("reference", "the reference is added, not taken off", lambda case, s, b, x: (*s[:2], -s[2], -s[3])),
        Change("reference", "policy and reference are exchanged: the sign of the log-ratios is wrong",
               lambda case, s, b, x: (s[2], s[3], s[0], s[1])),
    ]  # fmt: skip


def changes_of(ours: OurLoss, tokens: bool) -> list[Change]:
    """Every change of this loss, those whose number is to be fitted last."""
    name = ours.name
    classes, words = name in CLASSES, LOSSES[name].reduction
    changes = [
        *_reference_changes(),
        Change("detached", "no gradient flows through chosen (detached)", _replaced(0, lambda s: s[0].detach())),
        Change("detached", "no gradient flows through rejected (detached)", _replaced(1, lambda s: s[1].detach())),
        Change("reduction", f"the loss is the sum over its batch; ours is a {words}" if not classes else
               f"each class is summed; ours takes {words}", options=lambda case, x: case.weights(classes, "sum")),
    ]  # fmt: skip
    if ours.kl_beta != 1.0:
        changes.append(Change("beta", "kl_beta is left out of the rewards (it is 1 there)",
                              options=lambda case, x: {"kl_beta": 1.0}))  # fmt: skip
    if classes:
        changes.append(Change("reduction", f"one mean over all examples (pooled); ours takes {words}",
                              options=lambda case, x: case.weights(True, "pooled")))  # fmt: skip
    else:
        said = "the references of chosen and rejected are exchanged"
        if name in ("dpo", "ipo"):  # a difference of two log-ratios cannot tell the two
            changes = [change for change in changes if "added" not in change.says]
            said += ", or added, not taken off"
        changes.append(Change("reference", said, lambda case, s, b, x: (s[0], s[1], s[3], s[2])))
    if tokens:
        changes.append(Change("tokens", "log-probabilities are means over tokens; ours are sums",
                              lambda case, s, b, x: _per_token(case, s)))  # fmt: skip
        changes.append(Change("tokens", "the policy's log-probabilities are means over tokens, the reference's are not",
                              lambda case, s, b, x: (*_per_token(case, s)[:2], *s[2:])))  # fmt: skip
    return [*changes, *_of_one_loss(name), *_fitted(ours), *_likelihoods(tokens)]


def _of_one_loss(name: str) -> list[Change]:
    """Of PRO's everything else, and of KLDO's log."""
    changes: list[Change] = []
    if name.startswith("pro_"):
        changes.append(Change("hyper", "r(H), the reward of everything else, is 0; ours is exact",
                              options=lambda case, x: {"hyper": "zero"}))  # fmt: skip
        changes.append(
            Change(
                "detached",
                "no gradient flows through r(H) (detached)",
                options=lambda case, x: {"detached_hyper": True},
            )
        )
    if name == "kldo":
        changes.append(Change("log", "the log is taken inside the mean: E₋[r] in place of log E₋[e^r]",
                              options=lambda case, x: {"mean_of_logs": True}))  # fmt: skip
    return changes


def _likelihoods(tokens: bool) -> list[Change]:
    """What keeps chosen likely: −log π of them, a multiple of which is added."""
    said = "the loss is ours plus {} times −log π of chosen, a mean over "
    means: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"examples": lambda logs, counts: logs.mean()}
    if tokens:
        means["examples of means over tokens"] = lambda logs, counts: (logs / counts).mean()
        means["tokens"] = lambda logs, counts: logs.sum() / counts.sum()
    return [Change("likelihood", said + what, term=_added(mean), bounds=(0.01, 5.0)) for what, mean in means.items()]


def _added(mean: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Case, Sides, float], Tensor]:
    return lambda case, s, x: -x * mean(s[0], case.tokens[0])


def _estimated(ours: OurLoss) -> list[Change]:
    """The reference point of KTO and BCO estimated from a batch, as trainers do or did; `kto_pair` of TRL the last.

    Over mismatched pairs what else is made of them, among it what early trainers of KTO had: gradient through it.
    """
    known = {
        "their mean over the batch, but at least 0": _around_mean(clamped=True),
        "their mean over the batch": _around_mean(clamped=False),
        "their mean over the batch, but at least 0, and gradient flows through it": _around_mean(True, detached=False),
        "the mean of the other class, but at least 0": _around_mean(True, crossed=True),
    }
    said = "rewards are taken less {}; ours "
    if not ours.mismatched:
        said += "takes an argument, here 0"
        return [Change("offset", said.format(words), sides) for words, sides in known.items()]
    mean = "their mean over the mismatched pairs"
    of_pairs = {
        f"{mean}; ours less that, but at least 0": _less(lambda ratios: ratios.detach().mean()),
        f"{mean}, but at least 0, and gradient flows through it; through ours none":
            _less(lambda ratios: ratios.mean().clamp(min=0.0)),
        "the mean log-ratio of the mismatched pairs, but at least 0; ours less kl_beta times that":
            _less(lambda ratios: ratios.detach().mean().clamp(min=0.0), times_beta=False),
    }  # fmt: skip
    ours_less = f"less {mean}, but at least 0"
    return [
        Change("offset", f"rewards are taken as they are; ours {ours_less}", lambda case, s, b, x: s),
        *(Change("offset", f"rewards are taken less {words}", sides) for words, sides in of_pairs.items()),
        *(Change("offset", said.format(words) + ours_less, sides) for words, sides in known.items()),
    ]


def _fitted(ours: OurLoss) -> list[Change]:
    """Offsets, and changes whose number is searched."""
    name, classes, changes = ours.name, ours.name in CLASSES, []
    changes.append(Change("beta", f"kl_beta is {{}}; ours has {ours.kl_beta:g}", None,
                          lambda case, x: {"kl_beta": x}, bounds=(1e-3, 5.0)))  # fmt: skip
    if ours.alpha is not None:
        changes.append(Change("alpha", f"alpha is {{}}; ours has {ours.alpha:g}", None,
                              lambda case, x: {"alpha": x}, bounds=(-5.0, 10.0)))  # fmt: skip
    for side, weight in WEIGHTS.items() if classes and name != "kldo" else ():
        changes.append(Change("weights", f"{side} weigh {{}} times what they do in ours", None,
                              _times(weight), bounds=(0.02, 5.0)))  # fmt: skip
    changes += _estimated(ours) if classes and name != "kldo" else []
    changes.append(Change("offset", "an offset of {} is taken off the rewards" + ("" if classes else "' difference"),
                          _offset(name), bounds=(-6.0, 6.0)))  # fmt: skip
    return changes
