"""How measured numbers are printed: no digit that the error does not carry, and shares with an interval.

Examples
--------
>>> plus_minus(12.3456, 0.4567), plus_minus(-0.00123, 0.0456), plus_minus(123456.7, 2345.6)
('12.35 ± 0.46', '-0.001 ± 0.046', '123500 ± 2300')
>>> exact(300.0), exact(2.3333333)
('300', '2.333')
>>> share_of(1.0, (0.912, 1.0))
'1.00 [0.91, 1.00]'
"""

from __future__ import annotations

import math

from scipy.stats import beta

from llm_validation.preferences.data import Preferences
from llm_validation.preferences.trace import Mean

#: An interval leaves out so much on either side: it is of 95 %.
TAIL = 0.025


def plus_minus(value: float, error: float, sign: str = "") -> str:
    """Value ± standard error, both up to the error's second digit; without the ± where the error is not known.

    sign   "+" to print that of a positive value too
    """
    if not (math.isfinite(value) and math.isfinite(error)):
        return exact(value, sign)
    if error <= 1e-12 * abs(value):  # rounding of a value that does not vary
        return f"{exact(value, sign)} ± 0"
    place = math.floor(math.log10(float(f"{error:.1e}"))) - 1
    if place < -6 and abs(value) < 1e-4:
        return f"({value / 10.0 ** (place + 1):{sign}.1f} ± {error / 10.0 ** (place + 1):.1f})e{place + 1}"
    return f"{_at(value, place, sign)} ± {_at(error, place)}"


def shown(mean: Mean, sign: str = "") -> str:
    """A mean with its error."""
    return plus_minus(mean.value, mean.stderr, sign)


def exact(value: float, sign: str = "") -> str:
    """A number without an error: counts in full, others in four digits."""
    value = value + 0.0  # no -0
    return f"{value:{sign}.0f}" if value.is_integer() else f"{value:{sign}.4g}"


def share_of(share: float, interval: tuple[float, float]) -> str:
    """A share with its interval of 95 %, up to the first digit of what would be its standard error."""
    low, high = interval
    place = max(-4, min(-2, math.floor(math.log10(max(high - low, 1e-4) / 4.0))))
    return f"{_at(share, place)} [{_at(low, place)}, {_at(high, place)}]"


def interval_of(share: Mean, units: int) -> tuple[float, float]:
    """The 95 % interval of a share, honest at 0 and 1: Clopper–Pearson's, of as many as would give its error.

    units  independent things that it is of, at most so many count
    (Korn and Graubard, Survey Methodology 24, 1998; of independent yes and no it is the binomial one, exactly.)
    """
    p, n = share.value, float(units)
    if share.stderr > 0:
        n = min(n, p * (1.0 - p) / share.stderr**2 + 1.0)
    yes, no = p * n, (1.0 - p) * n
    low = float(beta.ppf(TAIL, yes, no + 1.0)) if yes > 0 else 0.0
    high = float(beta.ppf(1.0 - TAIL, yes + 1.0, no)) if no > 0 else 1.0
    return low, high


def accuracy_of(share: Mean, held: Preferences) -> str:
    """A share of held-out examples with its interval of 95 %; those of one prompt count as one."""
    return f"{share_of(share.value, interval_of(share, len({e.question for e in held.examples})))} (95 %)"


def _at(value: float, place: int, sign: str = "") -> str:
    """Rounded to a power of ten."""
    rounded = round(value, -place)
    return f"{rounded + 0.0:{sign}.{max(0, -place)}f}"
