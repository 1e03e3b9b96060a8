"""Small batches at which two losses are compared; ours and somebody's as functions of four log-probabilities."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from llm_validation.losses.table import LOSSES, find_loss
from simulate.montecarlo import generator

Sides = tuple[Tensor, ...]
Loss = Callable[..., Tensor]
#: Methods that name a type of fewer digits than float32, and all such types.
NARROW = {"bfloat16": torch.bfloat16, "half": torch.float16}
#: Losses of two classes, which may differ in size.
CLASSES = tuple(name for name, entry in LOSSES.items() if entry.feedback == "unpaired")
#: Those of them whose rewards are taken less a reference point.
SHIFTED = tuple(name for name in CLASSES if "chosen_shift" in inspect.signature(LOSSES[name].function).parameters)
#: Sizes of the batches: pairs, and chosen and rejected of two classes. Unlike sizes tell a sum from a mean.
PAIRS, UNLIKE = (1, 3, 5, 8), ((3, 5), (1, 2), (6, 4), (2, 7))


@dataclass(frozen=True, eq=False)
class Case:
    """Four log-probabilities, nats, and the tokens of chosen and of rejected.

    mismatched  log-probabilities of prompts with completions of other prompts, the policy's and the reference's, as
                many as chosen and rejected together; none: the loss is not given them
    """

    sides: Sides
    tokens: tuple[Tensor, Tensor]
    mismatched: Sides = ()

    def with_gradients(self) -> tuple[Case, Sides]:
        """A copy, and what in it is of the policy, of which gradients are asked."""
        sides = tuple(side.clone().requires_grad_(i < 2) for i, side in enumerate(self.sides))
        mismatched = tuple(side.clone().requires_grad_(i < 1) for i, side in enumerate(self.mismatched))
        return replace(self, sides=sides, mismatched=mismatched), (*sides[:2], *mismatched[:1])

    def weights(self, classes: bool, reduction: str) -> dict[str, Tensor]:
        """Masses in place of the batch mean: "sum", or "pooled", one mean over both classes."""
        if not classes:
            return {"weight": torch.ones_like(self.sides[0])}
        mass = 1.0 if reduction == "sum" else 1.0 / (self.sides[0].numel() + self.sides[1].numel())
        sides = zip(("chosen_weight", "rejected_weight"), self.sides, strict=False)
        return {name: torch.full_like(side, mass) for name, side in sides}


def cases(name: str, mismatched: bool = False) -> list[Case]:
    """Batches with small log-ratios, so that no clamp is near, and mass enough for what PRO calls everything else.

    Mean log-ratios of mismatched pairs are of either sign, in turn.
    """
    sizes = UNLIKE if name in CLASSES else [(n, n) for n in PAIRS]
    found = []
    for number, both in enumerate(sizes):
        rng = generator(0, "probes", number)
        policy, ratios = ([rng.uniform(low, high, n) for n in both] for low, high in ((-3.0, -1.1), (-0.4, 0.9)))
        reference = [p - r for p, r in zip(policy, ratios, strict=True)]
        tokens = [torch.as_tensor(rng.integers(2, 9, n), dtype=torch.float64) for n in both]
        sides = tuple(torch.as_tensor(side) for side in (*policy, *reference))
        other: Sides = ()
        if mismatched:
            logs, ratio = rng.uniform(-3.0, -1.1, sum(both)), rng.uniform(-0.2, 0.2, sum(both)) + (-1.0) ** number * 0.5
            other = torch.as_tensor(logs), torch.as_tensor(logs - ratio)
        found.append(Case(sides, (tokens[0], tokens[1]), other))
    return found


def ray(name: str, side: int, log_ratio: float, mismatched: bool = False) -> Case:
    """Two pairs, or classes of two and three; the first log-ratio of chosen (side 0) or rejected (1) is as given."""
    both = (2, 3) if name in CLASSES else (2, 2)
    policy = [torch.linspace(-1.5, -1.2, n, dtype=torch.float64) for n in both]
    reference = [side - 0.1 for side in policy]
    moved = reference if log_ratio > 0 else policy  # downwards either way: a probability is at most one
    fixed = policy if log_ratio > 0 else reference
    moved[side][0] = fixed[side][0] - abs(log_ratio)
    other = torch.linspace(-1.5, -1.2, sum(both), dtype=torch.float64)
    return Case((*policy, *reference), (torch.ones(both[0]), torch.ones(both[1])),
                (other, other - 0.1) if mismatched else ())  # fmt: skip


@dataclass(frozen=True)
class OurLoss:
    """A loss of the table as a function of four log-probabilities. PRO-B and PRO-S see scores ½ and −½.

    mismatched  whether its reference point is that of mismatched pairs, `kto_reference_point`, and not 0
    """

    name: str
    options: Mapping[str, Any]
    kl_beta: float
    alpha: float | None
    mismatched: bool = False

    def __call__(self, sides: Sides, given: Mapping[str, Any]) -> Tensor:
        """The loss with `given` in place of its own options; `mean_of_logs` is a fault of KLDO."""
        options = {**self.options, **given}
        if self.name in ("ddro", "rdro"):
            beta = options.pop("kl_beta", 1.0)
            sides = tuple(beta * side for side in sides)
        function, hyper = LOSSES[self.name].function, {k: v for k, v in options.items() if k.endswith("_hyper")}
        if self.name == "pro_binary":
            half = torch.full_like(sides[0], 0.5)
            options |= {key: torch.cat(value) for key, value in hyper.items()}
            if "weight" in options:
                options["weight"] = torch.cat([options["weight"]] * 2)
            return function(torch.cat(sides[:2]), torch.cat(sides[2:]), torch.cat([half, -half]), **options)
        options |= {key: value[0] for key, value in hyper.items()}
        if self.name == "pro_scalar":
            scores = torch.tensor([0.5, -0.5], dtype=sides[0].dtype).expand(len(sides[0]), 2)
            return function(torch.stack(sides[:2], 1), torch.stack(sides[2:], 1), scores, **options)
        if options.pop("mean_of_logs", False):
            rewards = [options["kl_beta"] * (p - q) for p, q in zip(sides[:2], sides[2:], strict=True)]
            return -rewards[0].mean() + rewards[1].mean()
        return function(*sides, **options)


def our_loss(name: str, options: Mapping[str, Any], mismatched: bool = False) -> OurLoss:
    """A loss of the table with options of its own. ValueError names what there is not."""
    parameters = inspect.signature(find_loss(name).function).parameters
    known = {key: p.default for key, p in parameters.items() if p.kind == p.KEYWORD_ONLY}
    if unknown := sorted(options.keys() - known.keys()):
        raise ValueError(f"{name} takes no {unknown[0]!r}; it takes {', '.join(known)}")
    if mismatched and "chosen_shift" not in known:
        raise ValueError(f"{name} has no reference point, which mismatched pairs are for: {', '.join(SHIFTED)} have")
    if mismatched and (twice := sorted(options.keys() & {"chosen_shift", "rejected_shift"})):
        raise ValueError(f"{twice[0]} is given, and mismatched pairs are for estimating it")
    own = {**known, **options}
    given = dict(options) | ({"kl_beta": own["kl_beta"]} if "kl_beta" in own else {})
    return OurLoss(name, given, float(own.get("kl_beta", 1.0)), float(own["alpha"]) if "alpha" in own else None,
                   mismatched)  # fmt: skip


@dataclass(eq=False)
class InFull:
    """Somebody's loss in the digits of its input, also where it asks for a type of fewer: rounding hides what differs.

    asked  the types of fewer digits than float32 that it has asked for
    """

    function: Loss
    asked: set[torch.dtype] = field(default_factory=set)

    def __call__(self, *sides: Tensor) -> Tensor:
        with _Widened(self.asked):
            return self.function(*sides)

    def said(self) -> list[str]:
        """A sentence on each of those types."""
        return [
            f"it is computed in {str(dtype).removeprefix('torch.')}, in which −100 nats are known to ± "
            f"{32.0 * torch.finfo(dtype).eps:.2g}; all else that differs is told from the same loss in float64"
            for dtype in sorted(self.asked, key=str)
        ]


class _Widened(TorchFunctionMode):
    """While it is entered, float64 for whoever asks for a type of fewer digits than float32."""

    def __init__(self, asked: set[torch.dtype]) -> None:
        super().__init__()
        self.asked = asked

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (narrow := NARROW.get(getattr(func, "__name__", ""))) is not None:
            func, args = torch.Tensor.to, (args[0], narrow)
        return func(*map(self._wide, args), **{key: self._wide(value) for key, value in (kwargs or {}).items()})

    def _wide(self, value: Any) -> Any:
        if not (isinstance(value, torch.dtype) and value in NARROW.values()):
            return value
        self.asked.add(value)
        return torch.float64
