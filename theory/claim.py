"""What a claim is, what can be measured of it, and the rule that turns a measured number into a verdict.

A `Claim` is one statement of one paper (or of ours). What can be measured of it are its `Check`s: a quantity, the
settings it is predicted at, the prediction, and how close is close enough, all written before anything runs.
`simulate/` and `llm_validation/` produce one row per check, setting and seed; `paper/` joins rows with the
predictions here and prints the verdicts. A missing value is never a pass.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from scipy.special import stdtrit

Kind = Literal["equality", "upper bound", "lower bound", "rate", "ordering", "invariant", "cited"]
Verdict = Literal["agrees", "disagrees", "inconclusive", "not run", "cited"]
Value = float | int | str
Setting = Mapping[str, Value]

#: Confidence of every interval, two-sided. An equality that can agree has t·stderr ≤ r, so that a right prediction is
#: called wrong beyond r + t·stderr ≥ 2·t·stderr only: at five standard errors and more, not at 2.6.
CONFIDENCE = 0.99


@dataclass(frozen=True, eq=False)
class Check:
    """One measurable quantity of a claim. Written by `equal`, `rate`, `at_most`, `at_least` and `greater`.

    name         short word, unique within the claim; rows are keyed by `claim.name`
    quantity     what is measured, one phrase in the field's terms
    kind         how it is judged, see `verdict`
    settings     the grid it is predicted at, dictionaries of keyword arguments of `theory`
    theory       the prediction: a function of a setting, or the number that is predicted at all of them
    resolution   how far an estimate may be off, and how large its standard error may be, for the check to mean
                 anything: in the quantity's own unit, or relative to the prediction if `relative`
    because      where the resolution comes from
    measured     names of a setting that only the measurement takes (a number of users, a method)
    seeds        how many times the seeds of a profile simulation takes, where one seed is too noisy for the resolution:
                 a number, or `by` an axis of the settings along which the noise differs
    scale        where 0 is predicted, the size of what the quantity is a difference of: a prediction that is 5 % off
                 would show as 0.05·scale (see `notices`); 0 where no such size is known
    trained      is it measured on models that are trained? What a seed of theirs ends with is a draw, however exactly
                 it is measured
    shared       do seeds measure on the same draws (prompts, people)? Their errors then do not average out
    """

    name: str
    quantity: str
    kind: Kind
    settings: tuple[Setting, ...]
    theory: Callable[..., float] | float
    resolution: float
    because: str
    relative: bool = False
    measured: tuple[str, ...] = ()
    scale: float = 0.0
    seeds: int | Callable[[Setting], int] = 1
    trained: bool = False
    shared: bool = False

    def predict(self, setting: Setting) -> float:
        """The predicted value at one setting.

        ValueError for a name that neither the prediction nor the measurement takes, or for one that is missing.
        """
        taken = {name: value for name, value in setting.items() if name not in self.measured}
        if not callable(self.theory):
            known = {name for known in self.settings for name in known}
            unknown = [name for name in taken if name not in known]
            if unknown:
                raise ValueError(
                    f"{self.name} has no setting {unknown[0]!r}; it has {', '.join(sorted(known)) or 'none'}"
                )
            return float(self.theory)
        try:
            inspect.signature(self.theory).bind(**taken)
        except TypeError as error:
            raise ValueError(f"{self.name} at {setting_key(setting) or 'no setting'}: {error}") from None
        return float(self.theory(**taken))

    def seeds_at(self, setting: Setting) -> int:
        """How many times simulation takes the profile's seeds at one setting."""
        return self.seeds(setting) if callable(self.seeds) else self.seeds

    def tolerance(self, predicted: float) -> float:
        """The resolution in the unit of the quantity."""
        return self.resolution * (abs(predicted) if self.relative else 1.0)

    def excess(self, predicted: float, estimate: float) -> float:
        """By how much an estimate is on the wrong side of the prediction, or off it; NaN where that has no meaning."""
        off = estimate - predicted
        return {"upper bound": off, "lower bound": -off, "ordering": -off}.get(self.kind, abs(off))


def _check(
    kind: Kind,
    name: str,
    quantity: str,
    theory: Callable[..., float] | float,
    *,
    at: tuple[Setting, ...] = ({},),
    within: float = 0.0,
    relative: float | None = None,
    because: str,
    measured: tuple[str, ...] = (),
    scale: float = 0.0,
    seeds: int | Callable[[Setting], int] = 1,
    shared: bool = False,
) -> Check:
    """A check of one kind. `within` is the resolution in the quantity's unit, `relative` one relative to the
    prediction.

    at, measured, because, scale, seeds, shared  `Check.settings`, `Check.measured`, `Check.because` and so on
    """
    resolution = within if relative is None else relative
    is_relative = relative is not None
    return Check(
        name, quantity, kind, at, theory, resolution, because, is_relative, measured, scale, seeds, shared=shared
    )


#: A check whose estimate should equal the prediction; a slope that should; one that a bound holds from above or from
#: below; a paired difference that should exceed the prediction; what our own code counts and must count so, no claim
#: about the world; a part of a claim that nothing here measures.
equal = partial(_check, "equality")
rate = partial(_check, "rate")
at_most = partial(_check, "upper bound")
at_least = partial(_check, "lower bound")
greater = partial(_check, "ordering")
invariant = partial(_check, "invariant")
cited = partial(_check, "cited")


@dataclass(frozen=True, eq=False)
class Claim:
    """One claim: stable id, short title, keywords, statement in one sentence, source, kind of its main check, topic,
    and its checks.

    title says in at most five words or so what the claim is about, keywords what a reader would search for;
    checks is what theory predicts and simulation measures; what a trained language model should show of a claim is in
    `llm_validation.claims`; not_sharp says why none of them notices that a prediction is 5 % off, where none does
    """

    id: str
    title: str
    keywords: tuple[str, ...]
    statement: str
    source: str
    kind: Kind
    topic: str
    checks: tuple[Check, ...]
    not_sharp: str = ""

    def check(self, name: str) -> Check:
        """The check of that name; KeyError lists the names there are."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(f"{self.id} has no check {name!r}, only {[check.name for check in self.checks]}")


def of_topic(topic: str) -> Callable[..., Claim]:
    """A constructor of one topic's claims: `claim(id, title, keywords, statement, source, kind, *checks)`."""

    def claim(
        id: str,
        title: str,
        keywords: tuple[str, ...],
        statement: str,
        source: str,
        kind: Kind,
        *checks: Check,
        not_sharp: str = "",
    ) -> Claim:
        return Claim(id, title, keywords, statement, source, kind, topic, checks, not_sharp)

    return claim


def grid(**axes: tuple[Value, ...] | Value) -> tuple[Setting, ...]:
    """All combinations of the named axes as settings; a single value is an axis of length one."""
    lists = [axis if isinstance(axis, tuple) else (axis,) for axis in axes.values()]
    return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*lists))


def by(name: str, seeds: Mapping[Value, int], otherwise: int = 1) -> Callable[[Setting], int]:
    """`Check.seeds` by the value of one axis; `otherwise` for other values and for settings without it."""
    return lambda setting: seeds.get(setting.get(name, ""), otherwise)


def setting_key(setting: Setting) -> str:
    """A setting as one line, `bt_beta=10;n=1000`: the form in which rows carry it. Numbers print shortest-exact."""
    for name, value in setting.items():
        if any(mark in f"{name}{value}" for mark in ";=\n"):
            raise ValueError(f"setting {name} = {value!r} may not contain ';', '=' or a line break")
    return ";".join(f"{name}={_format(value)}" for name, value in setting.items())


def parse_setting(key: str) -> dict[str, Value]:
    """Inverse of `setting_key`."""
    entries = (item.split("=", 1) for item in key.split(";") if item)
    return {name: parse_value(text) for name, text in entries}


def _format(value: Value) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


def parse_value(text: str) -> Value:
    """A whole number, a number or a word, as it is written."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def half_width(stderr: float, dof: float = math.inf) -> float:
    """t·stderr, t the quantile of `CONFIDENCE` at the estimate's degrees of freedom: 2.58 at ∞, 9.92 at 2.

    dof  > 0
    """
    return stderr and float(stdtrit(dof, 0.5 + 0.5 * CONFIDENCE)) * stderr


def verdict(check: Check, predicted: float, estimate: float, stderr: float, dof: float = math.inf) -> Verdict:
    """Judge one estimate ± standard error against its prediction: h = t·stderr (`half_width`), r = the resolution.

    equality, rate,  disagrees if |estimate − predicted| > r + h: nothing within r of the prediction is in the interval;
    invariant        else agrees if h ≤ r (the error of an agreeing estimate is at most 2r, whatever its noise),
                     else inconclusive: too noisy to notice the error one fears
    upper bound      agrees if estimate + h ≤ predicted + r; disagrees if estimate − h > predicted + r
    lower bound      the mirror image
    ordering         the estimate is a paired difference that should be positive: agrees if
                     estimate − h > predicted, disagrees if estimate + h ≤ predicted
    cited            nothing measures it: `cited`

    A certified program or a table has stderr 0. NaN (estimate, stderr or prediction) is inconclusive, never a pass.
    dof are the degrees of freedom of stderr, see `simulate.rows.pool`. This is the one place of the rule.
    """
    if check.kind == "cited":
        return "cited"
    if any(math.isnan(number) for number in (predicted, estimate, stderr)):
        return "inconclusive"
    noise, room = half_width(stderr, dof), check.tolerance(predicted)
    if check.kind in ("equality", "rate", "invariant"):
        if estimate != predicted and not abs(estimate - predicted) <= room + noise:
            return "disagrees"
        return "agrees" if noise <= room else "inconclusive"
    if check.kind == "ordering":
        excess = estimate - predicted
        return "agrees" if excess - noise > 0 else "disagrees" if excess + noise <= 0 else "inconclusive"
    excess = estimate - predicted if check.kind == "upper bound" else predicted - estimate
    if math.isnan(excess):  # inf − inf
        return "inconclusive"
    return "agrees" if excess + noise <= room else "disagrees" if excess - noise > room else "inconclusive"


def notices(
    check: Check, predicted: float, estimate: float, stderr: float, dof: float = math.inf, *, change: float
) -> bool | None:
    """Would the check disagree if its prediction were `change` (0.05: five per cent) larger, or smaller?

    A prediction of 0 is moved by change·`Check.scale`. None where that is unknown, or where nothing is measured.
    """
    size = abs(predicted) or check.scale
    if check.kind == "cited" or not 0.0 < size < math.inf or math.isnan(estimate):
        return None
    moved = (predicted + sign * change * size for sign in (1.0, -1.0))
    return any(verdict(check, number, estimate, stderr, dof) == "disagrees" for number in moved)


def combine(verdicts: list[Verdict]) -> Verdict:
    """Of many settings: one disagreement is a disagreement, then anything inconclusive, then anything not run, then
    anything that is only cited."""
    for worst in ("disagrees", "inconclusive", "not run", "cited"):
        if worst in verdicts:
            return worst
    return "agrees" if verdicts else "not run"
