"""Compliance–refusal data against preference data, and the tables on which the divergence claims are stated.

Prompts have a hidden class, safe or harmful. Both kinds of data prefer a good answer on safe prompts and a refusal on
harmful ones, and both reject the harmful answer. They differ in what they reject on safe prompts:

    compliance–refusal (CR)   a refusal              preference   a weaker answer

so, D_f of joint laws with a common prompt law being the mean over prompts,

    D_CR − D_pref = Σ_{x safe} P(x)·[D_f(D⁺_x‖refusal_x) − D_f(D⁺_x‖weak_x)],

positive iff refusals are farther from good answers than weak answers are. Ours (the paper has an inequality under
assumptions on the tables: Haldar, Wang, Song, Lin, Xing, arXiv 2502.00657, section 5). Prompts P, responses A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from theory.divergences.by_generator import resolve
from theory.divergences.generators import Elementwise, Generator, Infinite, divergence_of_masses
from theory.validate import Array, as_numbers, check_between, check_distribution, check_whole

Kind = Literal["cr", "preference"]


@dataclass(frozen=True, eq=False)
class SafetyData:
    """The tables of a data set with a hidden class of prompts.

    prompts     (P,) law of the prompt, the same in D⁺ and D⁻
    safe        (P,) boolean
    preferred   (P, A) law of the preferred response per prompt
    rejected    (P, A) law of the rejected response on harmful prompts (rows of safe prompts are not used)
    refusal     (P, A) law of refusals (rows of harmful prompts are not used)
    weak        (P, A) law of weaker answers (likewise)
    """

    prompts: Array
    safe: NDArray[np.bool_]
    preferred: Array
    rejected: Array
    refusal: Array
    weak: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompts", check_distribution("prompts", self.prompts))
        object.__setattr__(self, "safe", np.asarray(self.safe))
        P = self.prompts.size
        if self.safe.shape != (P,) or self.safe.dtype != np.bool_:
            raise ValueError(f"safe must be ({P},) booleans, got {self.safe.dtype} {self.safe.shape}")
        for name in ("preferred", "rejected", "refusal", "weak"):
            table = as_numbers(name, getattr(self, name))
            object.__setattr__(self, name, table)
            if table.ndim != 2 or table.shape[0] != P or table.shape != self.preferred.shape:
                raise ValueError(f"{name} must be (prompts, responses) like preferred, got {table.shape}")
            for x, row in enumerate(table):
                check_distribution(f"{name}[{x}]", row)

    def dispreferred(self, kind: Kind) -> Array:
        """(P, A) law of the rejected response per prompt under a kind of data."""
        on_safe = {"cr": self.refusal, "preference": self.weak}
        if kind not in on_safe:
            raise ValueError(f"kind = {kind!r} must be 'cr' or 'preference'")
        return np.where(self.safe[:, None], on_safe[kind], self.rejected)

    def joint(self, kind: Kind) -> tuple[Array, Array]:
        """D⁺ and D⁻ as joint laws of prompt and response, (P, A) each, sum one."""
        return self.prompts[:, None] * self.preferred, self.prompts[:, None] * self.dispreferred(kind)


def data_gap(data: SafetyData, generator: str | Generator | Elementwise) -> float:
    """D_CR − D_pref, prompt by prompt over safe prompts: what compliance–refusal data separate more.

    Infinite (`theory.divergences.generators.Infinite`, `outcome` the index of the response) where one side is;
    ValueError where both are.
    """
    made = resolve(generator)
    total = 0.0
    infinite: Infinite | None = None
    for x in np.flatnonzero(data.safe & (data.prompts > 0)):
        sides = [divergence_of_masses(data.preferred[x], table[x], made) for table in (data.refusal, data.weak)]
        signed = [value if sign > 0 else -value for value, sign in zip(sides, (1, -1), strict=True)]
        for value in signed:
            if not isinstance(value, Infinite):
                total += float(data.prompts[x]) * value
            elif infinite is None or infinite == value:
                infinite = value
            else:
                raise ValueError(f"D_CR and D_pref are both infinite for {made.name}: their difference is undefined")
    return infinite if infinite is not None else total


def example_pair(n_outcomes: int, separation: float) -> tuple[Array, Array]:
    """Two tables (A,) with log R = separation·cos(2.4i) + const: D⁺, D⁻ ∝ (1 + i mod 3)·exp(±½·separation·cos(2.4i)).

    Irregular, full support (ValueError where float64 has none); separation 0 gives D⁺ = D⁻.
    """
    i = np.arange(check_whole("n_outcomes", n_outcomes))
    with np.errstate(over="ignore", invalid="ignore"):
        tables = [(1.0 + i % 3) * np.exp(sign * 0.5 * separation * np.cos(2.4 * i)) for sign in (1.0, -1.0)]
        laws = tables[0] / tables[0].sum(), tables[1] / tables[1].sum()
    if not all((law > 0.0).all() for law in laws):
        raise ValueError(f"separation = {separation}: a probability of the table is beyond float64")
    return laws


def example_reference(n_outcomes: int) -> Array:
    """A reference (A,) unlike either table: ∝ 2 + sin(1.7i)."""
    weights = 2.0 + np.sin(1.7 * np.arange(check_whole("n_outcomes", n_outcomes)))
    return weights / weights.sum()


def example_prompts(n_prompts: int, n_outcomes: int, *, shared: bool = False) -> tuple[Array, Array, Array]:
    """Joint laws D⁺, D⁻ (P, A) and a reference (P, A) whose prompts differ; shared: D⁺ and D⁻ share the prompt law."""
    pairs = [example_pair(n_outcomes, 0.8 + 1.2 * x) for x in range(n_prompts)]
    laws = np.stack([1.0 + np.arange(n_prompts), 2.0 + np.arange(n_prompts)[::-1]]).astype(np.float64)
    laws /= laws.sum(axis=1, keepdims=True)
    p = laws[0][:, None] * np.array([pair[0] for pair in pairs])
    q = laws[0 if shared else 1][:, None] * np.array([pair[1] for pair in pairs])
    reference = np.array([np.roll(example_reference(n_outcomes), x) for x in range(n_prompts)])
    return p, q, reference


def example_safety(overlap: float) -> SafetyData:
    """Two safe and two harmful prompts; responses: three answers, best first, then two refusals.

    overlap  share of a refusing source's mass on safe prompts that is a good answer after all; 0: refusals and answers
             are disjoint, towards 1 refusals are closer to good answers than weak answers are
    """
    check_between("overlap", overlap)
    good = np.array([[0.70, 0.22, 0.08, 0.0, 0.0], [0.55, 0.35, 0.10, 0.0, 0.0]])
    weak = np.array([[0.25, 0.35, 0.40, 0.0, 0.0], [0.20, 0.30, 0.50, 0.0, 0.0]])
    refusing = np.array([[0.0, 0.0, 0.0, 0.80, 0.20], [0.0, 0.0, 0.0, 0.65, 0.35]])
    complying = np.array([[0.40, 0.40, 0.18, 0.01, 0.01], [0.30, 0.40, 0.28, 0.01, 0.01]])
    twice = np.vstack([(1.0 - overlap) * refusing + overlap * good] * 2)
    return SafetyData(
        prompts=np.array([0.35, 0.15, 0.30, 0.20]),
        safe=np.array([True, True, False, False]),
        preferred=np.vstack([good, 0.98 * refusing + 0.02 * weak]),
        rejected=np.vstack([complying, complying]),
        refusal=twice,
        weak=np.vstack([weak, weak]),
    )
