"""Input checks shared by the whole of `theory/`: name the offending entry or pass the array on.

Nothing here repairs its input. A table that does not sum to one, a win rate that is not complementary, a
reference without full support is a question to the caller, not something to renormalise, clip or drop.

Shapes: V user types, A alternatives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: Most alternatives, decisions or rounds that a table is made for: beyond it memory or patience ends first.
LARGEST_TABLE = 10**5
#: Slack allowed in `sum = 1` and `P + P' = 1`: rounding of a sum of up to about 10⁶ float64 terms.
SUM_TOLERANCE = 1e-9
#: Rows of a large matrix that are read against its columns at a time.
STRIP = 64
#: Sizes that float64 can square, multiply by each other and sum without an overflow.
LARGEST = 1e150


def as_numbers(name: str, values: ArrayLike) -> Array:
    """`values` as a float64 array of any shape; ValueError names it where that would lose something or guess.

    A mask, an imaginary part, text, truth values, objects and ragged lists are refused, not converted.
    """
    if type(values) is np.ndarray and values.dtype == np.float64:
        return values
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array, whose mask would be lost: fill it or leave those entries out")
    try:
        array = np.asarray(values)
    except OverflowError:
        raise ValueError(f"{name} holds a whole number beyond float64") from None
    except ValueError:
        raise ValueError(f"{name} must be an array of numbers: its rows differ in length") from None
    except (TypeError, RuntimeError) as error:  # a tensor that has a gradient, is on a GPU or of bfloat16
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from None
    if array.dtype.kind not in "fiu":
        kinds = {"c": "complex numbers", "b": "truth values", "U": "text", "S": "text", "O": "objects"}
        raise ValueError(f"{name} must hold real numbers, got {kinds.get(array.dtype.kind, str(array.dtype))}")
    return array.astype(np.float64, copy=False)


def as_indices(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Whole numbers of any shape; ValueError names what holds anything else, or rows that differ in length."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be an array of whole numbers: its rows differ in length") from None
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be read as an array of whole numbers: {error}") from None
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold integers, got {array.dtype}")
    return array.astype(np.int64)


def as_number(name: str, value: float) -> float:
    """One real number as a float, infinite or NaN allowed; ValueError names an array, text, a complex number."""
    if type(value) is int:  # as large as float64 is, where an array of integers would not hold it
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{name} is a whole number beyond float64") from None
    array = as_numbers(name, value)
    if array.ndim:
        raise ValueError(f"{name} must be one number, got shape {array.shape}")
    return float(array)


def check_finite(name: str, value: float) -> float:
    """One finite number; ValueError names it otherwise."""
    number = as_number(name, value)
    if not np.isfinite(number):
        raise ValueError(f"{name} = {value} must be a finite number")
    return number


def check_nonnegative(name: str, value: float) -> float:
    """A number ≥ 0, `inf` included; ValueError names it otherwise."""
    number = as_number(name, value)
    if not number >= 0:
        raise ValueError(f"{name} = {value} must be >= 0")
    return number


def check_whole(name: str, value: float, least: int = 1, most: float = np.inf) -> int:
    """A whole number in [`least`, `most`] as an int; ValueError names it otherwise."""
    number = as_number(name, value)
    if not (number.is_integer() and number >= least):
        raise ValueError(f"{name} = {value} must be a whole number >= {least}")
    if number > most:
        raise ValueError(f"{name} = {value} must be at most {most:.0f}")
    return int(value)


def check_between(name: str, value: float, low: float = 0.0, high: float = 1.0, ends: str = "[]") -> float:
    """A number from `low` to `high`, an end included where `ends` has a square bracket; ValueError otherwise."""
    number = as_number(name, value)
    if not low <= number <= high or (number == low and ends[0] == "(") or (number == high and ends[1] == ")"):
        raise ValueError(f"{name} = {value} must be in {ends[0]}{low:g}, {high:g}{ends[1]}")
    return number


def check_share(name: str, value: float) -> float:
    """A number strictly between 0 and 1; ValueError names it otherwise."""
    return check_between(name, value, ends="()")


def check_flag(name: str, value: bool) -> bool:
    """True or False, and nothing that merely counts as one; ValueError names it otherwise."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {type(value).__name__}")
    return bool(value)


def check_word(name: str, value: str, words: tuple[str, ...]) -> str:
    """One of `words`; ValueError names it otherwise."""
    if not (isinstance(value, str) and value in words):
        raise ValueError(f"{name} = {value!r} must be one of {', '.join(map(repr, words))}")
    return value


def as_vector(name: str, values: ArrayLike, size: int | None = None) -> Array:
    """`values` as a float64 vector, all finite, of length `size` where one is stated; ValueError otherwise."""
    array = as_numbers(name, values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty vector, got shape {array.shape}")
    if size is not None and array.size != size:
        raise ValueError(f"{name} must have {size} entries, got {array.size}")
    finite = np.isfinite(array)
    if not finite.all():
        bad = int(finite.argmin())
        raise ValueError(f"{name}[{bad}] = {array[bad]} is not finite")
    return array


def check_distribution(name: str, probabilities: ArrayLike, size: int | None = None) -> Array:
    """A probability vector: finite, no negative entry, sum one within `SUM_TOLERANCE`."""
    array = as_vector(name, probabilities, size)
    if array.min() < 0:
        bad = int((array < 0).argmax())
        raise ValueError(f"{name}[{bad}] = {array[bad]} is negative")
    with np.errstate(over="ignore"):
        total = float(array.sum())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise ValueError(f"{name} sums to {total!r}, not to 1")
    return array


def check_laws(p: ArrayLike, q: ArrayLike) -> tuple[Array, Array]:
    """Two probability tables (A,) over the same outcomes; ValueError names p or q, the entry, and what is wrong."""
    p = check_distribution("p", p)
    return p, check_distribution("q", q, p.size)


def check_support(name: str, probabilities: Array, why: str) -> Array:
    """The same probabilities, of which none is 0; ValueError names the first that is and says why it may not be."""
    bad = np.flatnonzero(probabilities == 0)
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] = 0: {why}")
    return probabilities


def check_square(name: str, matrix: ArrayLike) -> Array:
    """A finite square float64 matrix; ValueError names the first entry that is not finite."""
    array = as_numbers(name, matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size == 0:
        raise ValueError(f"{name} must be a non-empty square matrix, got shape {array.shape}")
    if not np.isfinite(array.sum()) and not np.isfinite(array).all():  # one pass unless something is wrong
        x, y = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{name}[{x}, {y}] = {array[x, y]} is not finite")
    return array


def check_win_rates(win_rates: ArrayLike) -> Array:
    """Win rates P (A, A): entries in [0, 1] and P(x≻y) + P(y≻x) = 1, so that the diagonal is ½.

    Extremes first: a right matrix costs a few passes, which matters where the solver needs a few products.
    """
    P = check_square("win_rates", win_rates)
    if P.min() < 0 or P.max() > 1:
        x, y = np.argwhere((P < 0) | (P > 1))[0]
        raise ValueError(f"win_rates[{x}, {y}] = {P[x, y]} is outside [0, 1]")
    if _complement_error(P) > SUM_TOLERANCE:
        x, y = np.unravel_index(int(np.abs(P + P.T - 1.0).argmax()), P.shape)
        raise ValueError(
            f"win_rates[{x}, {y}] + win_rates[{y}, {x}] = {float(P[x, y] + P[y, x])!r}, not 1 (P(x≻y) + P(y≻x) = 1)"
        )
    return P


def _complement_error(P: Array) -> float:
    """max |P + Pᵀ − 1|, by strips of rows: the whole of Pᵀ read at once costs four times as much at A = 2000."""
    strips = (P[x : x + STRIP, x:] + P[x:, x : x + STRIP].T for x in range(0, len(P), STRIP))
    return max(max(float(both.max()) - 1.0, 1.0 - float(both.min())) for both in strips)


def check_pair_weights(pair_weights: ArrayLike, size: int) -> Array:
    """Pair law (A, A): the probability that a comparison is between x and y; symmetric, nonnegative, sum one.

    Each unordered pair {x, y}, x ≠ y, stands at [x, y] and at [y, x] with half of its probability, so that a
    product law is the outer product μ μᵀ. The diagonal holds pairs of identical alternatives.
    """
    Q = check_square("pair_weights", pair_weights)
    if Q.shape[0] != size:
        raise ValueError(f"pair_weights must be {size} x {size}, got {Q.shape[0]} x {Q.shape[1]}")
    if (Q < 0).any():
        x, y = np.argwhere(Q < 0)[0]
        raise ValueError(f"pair_weights[{x}, {y}] = {Q[x, y]} is negative")
    asymmetry = np.abs(Q - Q.T)
    if asymmetry.max() > SUM_TOLERANCE * max(1.0, float(Q.max())):
        x, y = np.unravel_index(int(asymmetry.argmax()), Q.shape)
        raise ValueError(f"pair_weights[{x}, {y}] = {Q[x, y]} differs from pair_weights[{y}, {x}] = {Q[y, x]}")
    total = float(Q.sum())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise ValueError(f"pair_weights sums to {total!r}, not to 1")
    return Q


def check_bt_beta(bt_beta: float) -> float:
    """The users' Bradley–Terry temperature: a finite number > 0."""
    return check_positive("bt_beta", bt_beta)


def check_positive(name: str, value: float) -> float:
    """A finite number > 0; ValueError names it otherwise."""
    number = as_number(name, value)
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name} = {value} must be a finite number > 0")
    return number


def check_reciprocal(name: str, value: float) -> float:
    """A finite number > 0 that can be divided by: its square and its reciprocal's are in the range of float64."""
    number = check_positive(name, value)
    if not 1.0 / LARGEST < number < LARGEST:
        raise ValueError(f"{name} = {value} must lie between {1.0 / LARGEST:g} and {LARGEST:g}")
    return number


def check_squares(name: str, values: Array) -> Array:
    """The same values, whose squares and sums are in the range of float64; ValueError names the largest otherwise."""
    largest = np.abs(values).max(initial=0.0)
    if not largest < LARGEST:
        raise ValueError(f"{name} has an entry of size {largest:g}, more than float64 can square ({LARGEST:g})")
    return values


def scaled_rewards(kl_beta: float, log_ratio: Array) -> Array:
    """kl_beta·log(π/π_ref), for a finite kl_beta > 0; ValueError where the rewards come near the end of float64."""
    with np.errstate(over="ignore"):
        rewards = check_positive("kl_beta", kl_beta) * log_ratio
    if not np.abs(rewards).max() < LARGEST:
        raise ValueError(f"kl_beta = {kl_beta} makes rewards of {np.abs(rewards).max():.3g}, too large for float64")
    return rewards


def check_tau(tau: float) -> float:
    """A KL budget in nats: a number ≥ 0, `inf` for no constraint."""
    number = as_number("tau", tau)
    if np.isnan(number) or number < 0:
        raise ValueError(f"tau = {tau} must be >= 0 (inf for no constraint)")
    return number


def resolve_log_reference(reference: ArrayLike | None, log_reference: ArrayLike | None, size: int) -> Array | None:
    """Log-probabilities (A,) of the reference policy, from whichever of the two forms was given; None if neither.

    Full support is required: an alternative of reference probability zero lies at infinite KL from every policy
    that uses it. Where probabilities underflow (e^{-2/η} at η = 1e-9), give `log_reference`, nats, whose
    exponentials sum to one.
    """
    if reference is not None and log_reference is not None:
        raise ValueError("give reference or log_reference, not both")
    if log_reference is not None:
        logs = as_vector("log_reference", log_reference, size)
        total = float(np.logaddexp.reduce(logs))
        if abs(total) > SUM_TOLERANCE:
            raise ValueError(f"exp(log_reference) sums to exp({total!r}), not to 1")
        return logs
    if reference is None:
        return None
    probabilities = check_distribution("reference", reference, size)
    return np.log(check_support("reference", probabilities, "the reference policy needs full support"))


def require_reference(reference: ArrayLike | None, log_reference: ArrayLike | None, size: int, purpose: str) -> Array:
    """As `resolve_log_reference`, but a missing reference is an error that says what it is needed for."""
    logs = resolve_log_reference(reference, log_reference, size)
    if logs is None:
        raise ValueError(f"{purpose} needs reference or log_reference")
    return logs


def check_multiplicity(multiplicity: ArrayLike | None, size: int, rule: str) -> None:
    """ValueError if some alternative stands for several identical ones: `rule` counts alternatives."""
    if multiplicity is None:
        return
    counts = as_vector("multiplicity", multiplicity, size)
    bad = np.flatnonzero(counts != 1)
    if bad.size:
        raise ValueError(
            f"multiplicity[{bad[0]}] = {counts[bad[0]]:g}: {rule} counts alternatives and cannot run on an instance "
            "whose identical alternatives are collapsed into classes"
        )
