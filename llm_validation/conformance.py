"""What somebody else's loss does differently from ours: a suite for trainers, of four log-probabilities and a name.

    python -m llm_validation conform my_trainer:my_loss dpo --kl-beta 0.1

The function is called with float64 tensors (policy chosen, policy rejected, reference chosen, reference rejected), (B,)
each in nats, and its values and gradients are compared with ours on a few small batches. Where they differ, the fewest
known changes of ours that explain every value and every gradient are searched: how the batch is reduced, tokens, beta,
sign, detached terms, the reference, label smoothing, offsets, classes' weights, a likelihood that is added. Clamps are
searched on rays, far from the batches. A loss that is computed in bfloat16 or float16 is said to be, and judged in
float64; how a model computed the log-probabilities is not seen. With `--mismatched` the function is given two more, the
policy's and the reference's log-probabilities of mismatched pairs, over which TRL's KTO estimates its reference point,
and ours does; without, a point that is bound to a number is named as an offset, a mean over the batch as what it is.

Examples
--------
>>> from torch.nn.functional import logsigmoid
>>> def summed(chosen, rejected, chosen_reference, rejected_reference):
...     return -logsigmoid(0.1 * (chosen - rejected - chosen_reference + rejected_reference)).sum()
>>> check_loss(summed, "dpo")
['the loss is the sum over its batch; ours is a mean over pairs']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from llm_validation.losses.changes import WEIGHTS, Change, changes_of, mismatched_ratios
from llm_validation.losses.parts import log1mexp
from llm_validation.losses.probes import Case, InFull, Loss, OurLoss, Sides, cases, our_loss, ray
from llm_validation.losses.unpaired import kto_reference_point
from theory.validate import Array

#: Of a value or a gradient, relative to the largest in its case: functions in float32 agree to this.
TOLERANCE = 2e-5
#: Of changes with a number beside two others those are searched that trainers of KTO make together.
KTO = ("weights", {"reduction", "offset"})
#: Of a gradient far out, relative to the largest where log-ratios are small: 1 − σ in float32 is known no better there.
FLOAT32 = 1e-6


def check_loss(
    function: Loss, name: str, *, tokens: bool = False, mismatched: bool = False, **options: Any
) -> list[str]:
    """What `function` does differently from our loss of that name, a sentence each; an empty list where nothing does.

    Parameters
    ----------
    function : callable
        Of (policy_chosen, policy_rejected, reference_chosen, reference_rejected), float64 tensors (B,) in nats; an
        unpaired loss gets two classes of unlike size. Its value is a number, or (B,) of which the mean is judged.
    name : str
        A loss of `LOSSES`. `pro_binary` and `pro_scalar` are judged on pairs with scores ½ and −½.
    tokens : bool
        The function also takes the numbers of tokens of chosen and rejected, (B,) each.
    mismatched : bool
        Of kto, bco and fdo: the function also takes, last, the policy's and the reference's log-probabilities of
        prompts with completions of other prompts, (M,) each, and ours has the reference point of these,
        `kto_reference_point`, in place of 0.
    **options
        Of ours: kl_beta, alpha, generator, hyper … as the function has them.

    Returns
    -------
    list of str
        Differences, the fewest that explain all values and gradients; where none do, what is known of the function.

    Raises
    ------
    ValueError
        An unknown loss or option, or a function that raises, or does not return a real tensor.

    Examples
    --------
    >>> from llm_validation.losses import kto
    >>> check_loss(kto, "kto")
    []
    >>> check_loss(lambda pc, pr, rc, rr: kto(pc, pr, rc, 0 * rr), "kto")
    ['the reference of rejected is missing']
    >>> def unclamped(pc, pr, rc, rr, policy, reference):
    ...     shift = 0.1 * (policy - reference).mean().detach()
    ...     return kto(pc, pr, rc, rr, kl_beta=0.1, chosen_shift=shift, rejected_shift=shift)
    >>> check_loss(unclamped, "kto", kl_beta=0.1, mismatched=True)
    ['rewards are taken less their mean over the mismatched pairs; ours less that, but at least 0']
    """
    ours, suite, full = our_loss(name, options, mismatched), cases(name, mismatched), InFull(function)
    theirs = [_judged(full, case, tokens) for case in suite]
    found, shape = full.said(), tuple(theirs[-1][0].shape)
    if any(one.ndim for one, _ in theirs):
        found.append(f"the loss is not reduced, it returns shape {shape}; its mean is judged")
    if not any(gradient.any() for _, gradient in theirs):
        return [*found, "no gradient reaches the policy: the loss is detached, or a constant"]
    aim = [np.append(gradient, float(value.mean())) for value, gradient in theirs]
    if (odd := next((numbers for numbers in aim if not np.isfinite(numbers).all()), None)) is not None:
        what = "its gradient is" if np.isfinite(odd[-1]) else "the loss is"
        return [*found, f"{what} not finite on a small batch, where ours is"]
    explained = _Search(ours, suite, aim).explain(changes_of(ours, tokens))
    if explained is None:
        return [*found, *_unexplained(full, ours, suite, aim, tokens)]
    return [*found, *explained.sentences(ours), *_clamps(full, ours, explained, tokens)]


def _judged(function: Loss, case: Case, tokens: bool) -> tuple[Tensor, Array]:
    """Value and gradient in the policy's log-probabilities. ValueError says what the function did instead."""
    own, leaves = case.with_gradients()
    try:
        value = function(*own.sides, *(own.tokens if tokens else ()), *own.mismatched)
    except Exception as error:  # whatever a stranger's function raises is said in one sentence
        shapes = ", ".join(str(tuple(side.shape)) for side in (*own.sides, *own.mismatched))
        raise ValueError(f"the function raised {type(error).__name__} for sides of shape {shapes}: {error}") from error
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(f"the function must return a tensor of real numbers, got {type(value).__name__}")
    if not value.requires_grad:
        return value, np.zeros(sum(side.numel() for side in leaves))
    gradient = torch.autograd.grad(value.mean(), leaves, allow_unused=True, materialize_grads=True)
    return value.detach(), torch.cat(gradient).numpy()


# the search


@dataclass(frozen=True)
class Explanation:
    """a·L + b·L′ + c, L ours with changes and L′ the same with chosen and rejected exchanged."""

    changes: tuple[Change, ...] = ()
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0

    def values(self, ours: OurLoss, case: Case) -> Array:
        """The gradient's entries and then the value."""
        one = _values(ours, case, self.changes, False)
        other = _values(ours, case, self.changes, True) if self.b else np.zeros_like(one)
        return self.a * one + self.b * other + self.c * (np.arange(len(one)) == len(one) - 1)

    def sentences(self, ours: OurLoss) -> list[str]:
        """The differences, one a sentence."""
        found = [change.says.format(f"{change.number:.4g}") for change in self.changes]
        a, b = self.a, self.b
        if abs(b) > TOLERANCE and abs(a) < TOLERANCE:
            found.append("chosen and rejected are exchanged: the sign of the loss's argument is wrong")
        elif abs(b) > TOLERANCE:
            share = b if b > 0 else -b / (1.0 - 2.0 * b)
            found.append(f"labels are smoothed, {'' if b > 0 else 'and the bias taken out again, '}by {share:.4g}")
        elif abs(a + 1.0) < TOLERANCE:
            found.append("the sign of the loss is wrong")
        elif abs(a - ours.kl_beta) < TOLERANCE * abs(a) and a != 1.0:
            found.append("the loss is multiplied by kl_beta")
        elif abs(a * ours.kl_beta - 1.0) < TOLERANCE and a != 1.0:
            found.append("the loss is divided by kl_beta")
        elif abs(a - 1.0) > TOLERANCE:
            found.append(f"the loss is {a:.4g} times ours")
        if self.c:
            found.append(f"the loss is ours plus the constant {self.c:.4g}")
        return found


def _values(ours: OurLoss, case: Case, changes: Sequence[Change], swapped: bool) -> Array:
    """Of ours with the changes: the gradient's entries and then the value."""
    case, leaves = case.with_gradients()
    given: dict[str, Any] = {}
    for change in changes:
        given |= change.options(case, change.number) if change.options else {}
    sides, beta = case.sides, given.get("kl_beta", ours.kl_beta)
    if ours.mismatched and all(change.axis != "offset" for change in changes):
        given |= dict.fromkeys(("chosen_shift", "rejected_shift"), kto_reference_point(mismatched_ratios(case), beta))
    for change in changes:
        sides = change.sides(case, sides, beta, change.number) if change.sides else sides
    if ours.name.startswith("pro_") and any(change.axis == "reference" for change in changes):
        given["reference_hyper"] = [log1mexp(mass) for mass in _masses(ours, case.sides[2:])]  # rewards alone change
    for side, weight in zip(case.sides, WEIGHTS.values(), strict=False):
        if (times := given.pop(f"times_{weight}", None)) is not None:
            given[weight] = times * given.get(weight, torch.full_like(side, 1.0 / side.numel()))
    if given.pop("detached_hyper", False):
        given["policy_hyper"] = [log1mexp(mass).detach() for mass in _masses(ours, sides[:2])]
    if swapped:
        sides = (sides[1], sides[0], sides[3], sides[2])
        chosen, rejected = WEIGHTS.values()
        given |= {a: given[b] for a, b in ((chosen, rejected), (rejected, chosen)) if b in given}
    value = ours(sides, given) + sum(change.term(case, case.sides, change.number) for change in changes if change.term)
    if not value.requires_grad:
        return np.append(np.zeros(sum(side.numel() for side in leaves)), value.item())
    gradient = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    return np.append(torch.cat(gradient).numpy(), value.item())


def _masses(ours: OurLoss, sides: Sides) -> list[Tensor]:
    """Log-masses of what is labelled; r(H) of PRO-B leaves out one response, that of the others a pair."""
    return list(sides) if ours.name == "pro_binary" else [torch.logaddexp(*sides)]


@dataclass(eq=False)
class _Search:
    """What explains `aim`, the values of somebody's loss on the cases of `suite`."""

    ours: OurLoss
    suite: Sequence[Case]
    aim: Sequence[Array]
    known: dict[tuple[tuple[Change, ...], bool], list[Array]] = field(default_factory=dict)

    def explain(self, every: Sequence[Change]) -> Explanation | None:
        """The fewest changes, a factor or a constant counting as one each; numbers are fitted where need be."""
        fixed, fitted = ([change for change in every if (change.bounds is None) is plain] for plain in (True, False))
        for cost in range(4):
            for count in range(cost, -1, -1):
                for changes in _together(fixed, count):
                    if (found := self._line(changes, cost - count)) is not None:
                        return found
            for count in range(cost):
                for others, change in product(_together(fixed, count), fitted):
                    axes = {other.axis for other in others}
                    if change.axis in axes or (count > 1 and (change.axis, axes) != KTO):
                        continue
                    if (found := self._fit(others, change, cost - count - 1)) is not None:
                        return found
        return None

    def _of(self, changes: tuple[Change, ...], swapped: bool) -> list[Array]:
        if (changes, swapped) not in self.known:
            self.known[changes, swapped] = [_values(self.ours, case, changes, swapped) for case in self.suite]
        return self.known[changes, swapped]

    def _line(self, changes: tuple[Change, ...], parts: int) -> Explanation | None:
        """With so many of factor, smoothing and constant."""
        if parts == 0:
            return self._if_right(Explanation(changes))
        last = [np.arange(len(x)) == len(x) - 1 for x in self.aim]
        columns = np.stack([np.concatenate(x) for x in (self._of(changes, False), self._of(changes, True), last)], 1)
        if not np.isfinite(columns).all():
            return None
        for start, directions in _LINES.get(parts, ()):
            step = np.linalg.lstsq(columns @ directions.T, np.concatenate(self.aim) - columns @ start, rcond=None)[0]
            a, b, c = (float(x) for x in start + step @ directions)
            if abs(a) + abs(b) > 1e-9 and (right := self._if_right(Explanation(changes, a, b, c))) is not None:
                return right
        return None

    def _fit(self, others: tuple[Change, ...], change: Change, parts: int) -> Explanation | None:
        """With the number of `change` searched on a line, and a factor if there are parts left.

        Beside another change a factor is searched only with a class's weight: the two are both classes' weights.
        """
        if parts > 1 or (parts and others and change.axis != "weights") or change.bounds is None:
            return None
        (low, high), few = change.bounds, self.suite[:2]
        aim = np.concatenate(self.aim[:2])

        def explained(number: float) -> Explanation:
            changes = (*others, replace(change, number=number))
            one = np.concatenate([_values(self.ours, case, changes, False) for case in few])
            return Explanation(changes, float(one @ aim / max(one @ one, 1e-300)) if parts else 1.0)

        def error(number: float) -> float:
            found = explained(number)
            got = np.concatenate([found.values(self.ours, case) for case in few])
            return float(np.linalg.norm(got - aim)) if np.isfinite(got).all() else 1e300

        grid = np.linspace(low, high, 13)
        errors = [error(x) for x in grid]
        best = int(np.argmin(errors))
        near = (grid[max(best - 1, 0)], grid[min(best + 1, 12)])
        found = minimize_scalar(error, bounds=near, method="bounded", options={"xatol": 1e-10})
        return self._if_right(explained(float(found.x)))

    def _if_right(self, found: Explanation) -> Explanation | None:
        """The explanation, if all values and gradients agree with it."""
        return found if all(map(agree, self.aim, (found.values(self.ours, case) for case in self.suite))) else None


#: parts → where a line in (a, b, c) begins, and its directions: factor; smoothing; constant; factor and constant.
_LINES = {
    1: (
        (np.zeros(3), np.array([[1.0, 0.0, 0.0]])),
        (np.array([1.0, 0.0, 0.0]), np.array([[-1.0, 1.0, 0.0]])),
        (np.array([1.0, 0.0, 0.0]), np.array([[0.0, 0.0, 1.0]])),
    ),
    2: ((np.zeros(3), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])),),
}


def agree(one: Array, other: Array, floor: float = 0.0) -> bool:
    """The gradients to `TOLERANCE` of the largest, or `floor`, and the values to that of themselves or of 1."""
    gradients, values = np.abs(one - other)[:-1], abs(one[-1] - other[-1])
    room = max(floor, TOLERANCE * max(np.abs(one[:-1]).max(), np.abs(other[:-1]).max()))
    return bool(gradients.max() <= room and values <= TOLERANCE * max(1.0, abs(other[-1])))


def _together(changes: Sequence[Change], count: int) -> Iterator[tuple[Change, ...]]:
    """So many changes of different axes."""
    for chosen in combinations(changes, count):
        if len({change.axis for change in chosen}) == count:
            yield chosen


# far from the batches, and where nothing explains


def _clamps(function: Loss, ours: OurLoss, explained: Explanation, tokens: bool) -> list[str]:
    """Where, on a ray, the function leaves what explained it: one sentence a side and direction."""
    found = []
    near = np.abs(explained.values(ours, ray(ours.name, 0, 0.1, ours.mismatched))[:-1]).max()
    for side, what in enumerate(("chosen", "rejected")):
        for sign in (1.0, -1.0):

            def same(size: float, side: int = side, sign: float = sign) -> bool:
                case = ray(ours.name, side, sign * size, ours.mismatched)
                want = explained.values(ours, case)
                value, gradient = _judged(function, case, tokens)
                floor = FLOAT32 * near if value.dtype == torch.float32 else 0.0
                return not np.isfinite(want).all() or agree(np.append(gradient, float(value.mean())), want, floor)

            if (limit := _first_failure(same)) is None:
                continue
            beyond = ray(ours.name, side, sign * limit * 1.01, ours.mismatched)
            value, gradient = _judged(function, beyond, tokens)
            entry = gradient[2 * side]  # chosen are two
            after = "the loss is not finite" if not np.isfinite(float(value.mean())) else (
                "no gradient flows" if entry == 0.0 else "value or gradient are others")  # fmt: skip
            found.append(
                f"a clamp: beyond a log-ratio of {sign * limit:+.4g} nats of {what} {after}; ours has no clamp"
            )
    return found


def _first_failure(same: Callable[[float], bool]) -> float | None:
    """The first size at which it is no longer so, to four digits; None if it is so all along, or never."""
    low = 0.01
    if not same(low):
        return None
    for high in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0):
        if not same(high):
            for _ in range(20):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if same(middle) else (low, middle)
            return high
        low = high
    return None


def _unexplained(function: Loss, ours: OurLoss, suite: Sequence[Case], aim: Sequence[Array], tokens: bool) -> list[str]:
    """What can be said of a function that no changes of ours explain."""
    if clamps := _clamps(function, ours, Explanation(), tokens):
        return clamps
    want = _values(ours, suite[1], (), False)
    found = [
        f"no known change of ours explains it: the loss is {aim[1][-1]:.6g} on a batch where ours is {want[-1]:.6g}"
    ]
    leaves = suite[1].with_gradients()[1]
    sizes = np.cumsum([0, *(side.numel() for side in leaves)])
    for position, what in enumerate(("chosen", "rejected", "mismatched pairs")[: len(leaves)]):
        theirs, own = (x[sizes[position] : sizes[position + 1]].sum() for x in (aim[1], want))
        if abs(theirs - own) > TOLERANCE * abs(own):
            found.append(f"its gradient in the policy of {what} adds up to {theirs:.4g}, that of ours to {own:.4g}")
    for position, what in ((2, "chosen"), (3, "rejected")):
        sides = tuple(s + 0.1 if i == position else s for i, s in enumerate(suite[1].sides))
        value, gradient = _judged(function, replace(suite[1], sides=sides), tokens)
        if agree(np.append(gradient, float(value.mean())), aim[1]):
            found.append(f"the reference of {what} has no effect")
    return found
