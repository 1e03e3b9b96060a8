"""Calls the public functions of theory and the pure ones of simulate with arguments of every kind, good and bad.

Run from the repository root:  python tests/benchmarks/fuzz_api.py [--calls 100000] [--seed 0] [--only NAME …]

A call is a finding if it
  raises anything but a ValueError or TypeError that names an argument (CertificateError: where documented),
  returns NaN, warns, or takes longer than `--limit` seconds.
Arguments come from the names of the parameters: a law for `policy`, a win-rate table for `win_rates`, a number between
1e-12 and 1e12 for `bt_beta`; one in six is replaced by something from `NASTY`. The same seed gives the same calls.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import math
import re
import resource
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from theory.bradley_terry import Population
from theory.solution import CertificateError

TOPICS = [
    "policy",
    "social_choice",
    "distortion",
    "proximal",
    "divergences",
    "density_ratio",
    "correction",
    "best_of_n",
]
PAGES = ("theory", *(f"theory.{topic}" for topic in TOPICS), "simulate")
#: Not functions of plain values, results of functions, searches that take minutes, and `tilt`, which checks nothing.
LEFT_OUT = {"Solution", "Audit", "Instance", "Estimate", "CLAIMS", "METHODS", "GENERATORS", "LOSSES", "custom",
            "audit", "certify_borda_factor", "adversary", "bootstrap", "generator", "random_population",
            "sample_comparisons", "tilt"}  # fmt: skip
NASTY: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, -1, 0, 1, -0.5, 2, 1e308, -1e308, 1e-308, 5e-324, 1e17, 10**400, True, "0.5", "",
    None, 1j, b"1", [], [[]], [0.5], [0.5, 0.5], [1.0, 0.0], [[0.5]], [[0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]],
    [0.5, math.nan], [math.inf, 0.5], [-0.5, 1.5], ["0.5", "0.5"], [None, 1.0], [1j, 1.0], [[0.5], [0.5, 0.5]],
    {"a": 1.0}, {0.5},
    np.ma.masked_array([0.5, 0.5], [True, False]), np.array([0.5, 0.5], dtype=object), np.zeros((2, 2, 2)),
    np.array(["0.5"]), np.array(0.5), np.array([1, 0], dtype=np.int8), np.array([True, False]), np.float32(0.25),
    np.array([1e308, 1e308]), np.array([1e-320, 1.0]), object(), np.datetime64("2020-01-01"), slice(2), range(2),
)  # fmt: skip

Rng = np.random.Generator
MEMORY = 4 << 30


def law(rng: Rng, A: int) -> np.ndarray:
    """A law: dense, with zeros, with entries down to 1e-300, or all on one."""
    kind = rng.integers(5)
    if kind == 0:
        return np.eye(A)[rng.integers(A)]
    raw = rng.dirichlet(np.full(A, 0.3 if kind == 1 else 1.0))
    if kind == 2:
        raw = raw * (rng.random(A) < 0.6)
    if kind == 3:
        raw = raw * 10.0 ** -rng.integers(0, 300, A).astype(float)
    return raw / raw.sum() if raw.sum() > 0 else np.full(A, 1 / A)


def positive_law(rng: Rng, A: int) -> np.ndarray:
    raw = rng.dirichlet(np.ones(A)) + 10.0 ** -float(rng.integers(1, 30))
    return raw / raw.sum()


def number(rng: Rng) -> float:
    """A positive number of any magnitude, or a round one."""
    if rng.random() < 0.4:
        return float(rng.choice([0.5, 1.0, 2.0, 5.0, 10.0, 0.1]))
    return float(10.0 ** rng.uniform(-12, 12) if rng.random() < 0.3 else 10.0 ** rng.uniform(-2, 2))


def win_rates(rng: Rng, A: int) -> np.ndarray:
    kind = rng.integers(4)
    upper = np.triu(rng.random((A, A)) - 0.5, 1)
    if kind == 1:
        upper = np.triu(rng.integers(-2, 3, (A, A)) / 4, 1)
    if kind == 2:
        upper = upper * 10.0 ** -float(rng.integers(0, 17))
    return 0.5 + upper - upper.T


def pair_weights(rng: Rng, A: int) -> np.ndarray:
    mu = positive_law(rng, A) if rng.random() < 0.7 else law(rng, A)
    return np.outer(mu, mu)


def values(rng: Rng, A: int) -> np.ndarray:
    x = rng.normal(size=A) * 10.0 ** (rng.uniform(-12, 12) if rng.random() < 0.2 else rng.uniform(-1, 1))
    return np.round(x) if rng.random() < 0.2 else x


def indices(rng: Rng, A: int) -> np.ndarray:
    return rng.integers(0, A, int(rng.integers(1, 8)))


def covariance(rng: Rng, A: int) -> np.ndarray:
    root = rng.normal(size=(A, A))
    return root @ root.T + 10.0 ** -float(rng.integers(0, 12)) * np.eye(A)


def shares(rng: Rng, A: int) -> Any:
    return float(rng.random()) if rng.random() < 0.5 else np.sort(rng.random(int(rng.integers(1, 4))))


LAWS = ("policy", "p", "q", "mu", "empirical", "training_policy", "weights", "center")
VALUES = ("values", "rewards", "scores", "r", "log_ratio", "mean1", "mean2", "x", "y", "samples")
#: parameter → what it is drawn from, with A alternatives
DRAWS: dict[str, Callable[[Rng, int], Any]] = {
    **dict.fromkeys(LAWS, law), **dict.fromkeys(VALUES, values),
    **dict.fromkeys(("cov1", "cov2"), covariance),
    **dict.fromkeys(("responses", "originals", "corrections"), indices),
    "reference": positive_law,
    "log_reference": lambda rng, A: np.log(positive_law(rng, A)),
    "win_rates": win_rates, "pair_weights": pair_weights,
    "kernel": lambda rng, A: np.stack([law(rng, A) for _ in range(A)]),
    "utilities": lambda rng, A: rng.random(A), "average_utility": lambda rng, A: rng.random(A),
    "population": lambda rng, A: Population(rng.random((int(rng.integers(1, 4)), A)) ** 3),
    "pairs": lambda rng, A: np.stack([indices(rng, A)[:1], (indices(rng, A)[:1] + 1) % A], axis=1),
    "feedback": lambda rng, A: rng.random(int(rng.integers(1, 8))).round(),
    "multiplicity": lambda rng, A: np.ones(A),
    "n_responses": lambda rng, A: A, "n_answers": lambda rng, A: A,
    "n_alternatives": lambda rng, A: A + 1, "decisions": lambda rng, A: int(rng.integers(1, 4)),
    **dict.fromkeys(("n", "n_p", "n_q"), lambda rng, A: int(10 ** rng.uniform(0, 6))),
    "k": lambda rng, A: int(rng.integers(0, 20)), "clones": lambda rng, A: int(rng.integers(1, 6)),
    "successes": lambda rng, A: int(rng.integers(0, 20)), "trials": lambda rng, A: int(rng.integers(1, 30)),
    "name": lambda rng, A: str(rng.choice(["kldo", "kto", "bco", "dpo", "hellinger", "ddro", "kl", "none"])),
    "generator": lambda rng, A: str(rng.choice(["kl", "reverse_kl", "jensen_shannon", "pearson", "alpha:0.3", "none"])),
    "choice": lambda rng, A: str(rng.choice(["first", "max_entropy"])),
    "infinite": lambda rng, A: str(rng.choice(["raise", "keep"])),
    "closure": lambda rng, A: bool(rng.integers(2)),
    **dict.fromkeys(("epsilon", "gamma", "slack", "ties", "chosen_fraction", "alpha", "threshold"),
                    lambda rng, A: float(rng.random()) if rng.random() < 0.7 else number(rng)),
    "explained_variance": shares, "keep": shares,
    "times": lambda rng, A: np.sort(rng.integers(1, 200, int(rng.integers(1, 4)))),
    "tolerance": lambda rng, A: 1e-9, "tie_tolerance": lambda rng, A: 1e-14,
    "stderr": lambda rng, A: rng.random(A), "max_steps": lambda rng, A: 1000,
}  # fmt: skip
#: Callables, left at their defaults.
DEFAULTS = {"expected", "transform", "noise"}
#: Other words for an argument in a message.
WORDS = (
    "alternative",
    "utilities",
    "outcome",
    "clip level",
    "comparison graph",
    "argument",
    "shape",
    "rows",
    "columns",
)


def functions() -> dict[str, Callable[..., Any]]:
    """Every public function once, by its page and name."""
    found = {}
    for page in PAGES:
        module = import_module(page)
        for name in module.__all__:
            function = getattr(module, name)
            if name not in LEFT_OUT and callable(function) and function not in found.values():
                found[f"{page}.{name}"] = function
    return found


def arguments(function: Callable[..., Any], rng: Rng) -> dict[str, Any]:
    """Arguments by the names of the parameters, one in six of them nasty; optional ones half of the time."""
    A = int(rng.integers(1, 6))
    chosen: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        optional = parameter.default is not inspect.Parameter.empty
        if name in DEFAULTS or (optional and rng.random() < 0.5):
            continue
        chosen[name] = DRAWS[name](rng, A) if name in DRAWS else number(rng)
    if "log_reference" in chosen and "reference" in chosen and rng.random() < 0.9:
        del chosen["log_reference"]
    if rng.random() < 0.5:
        for name in chosen:
            if rng.random() < 1 / 3:
                chosen[name] = NASTY[rng.integers(len(NASTY))]
    return chosen


class Hang(BaseException):
    """A call that took longer than its limit."""


def judge(function: Callable[..., Any], chosen: dict[str, Any], limit: float) -> str | None:
    """What is wrong with the call, None if nothing is."""

    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = function(**chosen)
    except Hang:
        return f"no answer within {limit:g} s"
    except CertificateError as error:
        documented = "CertificateError" in (function.__doc__ or "")
        return None if documented else f"CertificateError, undocumented: {error}"
    except (ValueError, TypeError) as error:
        names = (*inspect.signature(function).parameters, *WORDS)
        if any(re.search(rf"\b{re.escape(name)}\b", str(error)) for name in names):
            return None
        return f"{type(error).__name__} that names no argument: {error}"
    except Warning as warning:
        return f"warning: {warning}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return "returns NaN" if any(math.isnan(x) for x in numbers(result)) else None


def numbers(result: Any) -> Iterator[float]:
    """Every float in a result; the bounds of an Estimate that has none are not among them."""
    if dataclasses.is_dataclass(result):
        for field in dataclasses.fields(result):
            if field.name not in ("low", "high"):
                yield from numbers(getattr(result, field.name))
    elif isinstance(result, tuple | list):
        for part in result:
            yield from numbers(part)
    elif isinstance(result, np.ndarray) and result.dtype.kind == "f":
        yield from result.ravel().tolist()
    elif isinstance(result, float):
        yield result


def fuzz(calls: int, seed: int = 0, only: tuple[str, ...] = (), limit: float = 5.0) -> Counter[tuple[str, str]]:
    """Findings of `calls` calls, spread evenly over the functions: (function, what is wrong) → how often."""
    pool = [(name, function) for name, function in functions().items() if not only or name.split(".")[-1] in only]
    findings: Counter[tuple[str, str]] = Counter()
    for i in range(calls):
        name, function = pool[i % len(pool)]
        chosen = arguments(function, np.random.default_rng([seed, i]))
        wrong = judge(function, chosen, limit)
        if wrong is not None:
            kind = re.sub(r"-?\d[\d.e+-]*", "#", wrong)[:110]
            if not findings[name, kind]:
                print(f"{name}: {wrong[:200]}\n    {chosen}", flush=True)
            findings[name, kind] += 1
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the public functions.")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--limit", type=float, default=5.0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # a table too large is a MemoryError, and a finding
    findings = fuzz(options.calls, options.seed, tuple(options.only), options.limit)
    for (name, kind), count in findings.most_common():
        print(f"{count:6} {name}: {kind}")
    print(f"{options.calls} calls of {len(functions())} functions, {sum(findings.values())} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
