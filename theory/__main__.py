"""Print the claims: what they state and predict, and where each is proved, measured and drawn.

python -m theory                     every claim, its checks and their predictions
python -m theory P7 proximal         those of ids, in either case, and of topics
python -m theory D4 --bt-beta 7      every check whose prediction takes bt_beta, at that value in place of its grid
python -m theory --quiet             one line per claim (every prediction is still computed)
"""

from __future__ import annotations

import argparse
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from theory.claim import Check, Claim, Setting, Value, parse_value, setting_key
from theory.claims import CLAIMS, find_claims
from theory.solution import CertificateError
from theory.validate import check_between, check_nonnegative, check_positive
from theory.whereabouts import whereabouts

#: Settings that mean nothing beyond these, whichever formula takes them; other bounds depend on the formula.
DOMAINS: dict[str, Callable[[str, float], float]] = {
    **dict.fromkeys(("bound", "bt_beta", "factor", "kl_beta", "scale", "weight"), check_positive),
    **dict.fromkeys(("eta", "own", "tau"), check_nonnegative), "win_rate": check_between,
}  # fmt: skip
#: Words of which there are more than those that a grid names; their formulas refuse the others.
OPEN = {"generator", "name"}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    # ids are left to `_settings`, in their order among the options: argparse cannot tell them from values of settings
    parser = argparse.ArgumentParser(
        prog="python -m theory", usage="%(prog)s [-h] [--profile PROFILE] [--quiet] [--SETTING VALUE ...] [ID ...]",
        description="Print claims and predictions. ID: claim ids or topics; all by default.",
        epilog="Any setting of a prediction can be given as an option: --bt-beta 7.",
    )  # fmt: skip
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu", help="theory is the same in all")
    parser.add_argument("--quiet", action="store_true", help="one line per claim")
    options, rest = parser.parse_known_args(arguments)
    try:
        words, chosen = _settings(rest)
        claims = find_claims(words) or list(CLAIMS)
        _require_known(claims, chosen)
        print("\n".join(describe(claim, options.quiet, chosen) for claim in claims), flush=True)
    except BrokenPipeError:  # the reader has seen enough: see theory.command
        raise
    except (ValueError, OSError) as error:
        print(f"theory: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    return 0


def describe(claim: Claim, brief: bool, chosen: Setting | None = None) -> str:
    """A claim as text: statement and where it lives, then every check with its predictions.

    chosen: values of settings in place of a check's grid; checks whose prediction takes none of them are left out.
    """
    predictions = {check: _predictions(check, chosen or {}) for check in claim.checks}
    count = sum(map(len, predictions.values()))
    if brief:
        return f"{claim.id:4s} {count:3d} predictions  {claim.title}: {claim.statement}"
    lines = [f"{claim.id:4s} {count:3d} predictions  {claim.title}", f"     {claim.statement}"]
    for word, found in whereabouts(claim).items():
        lines += [f"     {word if k == 0 else '':11s}{line}" for k, line in enumerate(found)]
    for check, values in predictions.items():
        if values:
            lines.append(f"     {claim.id}.{check.name} ({check.kind}): {check.quantity}")
            lines += [f"         {key:44s} {value:.9g}" for key, value in values]
    return "\n".join(lines) + "\n"


def _predictions(check: Check, chosen: Setting) -> list[tuple[str, float]]:
    """(setting, prediction) at each of the check's settings, with the values chosen in place of theirs, once each."""
    if not chosen:
        return [(setting_key(setting), _predicted(check, setting)) for setting in check.settings]
    settings: dict[str, Setting] = {}
    for setting in check.settings:
        # what only some of a check's settings name means nothing to the others, as RDRO's alpha to DDRO
        names = set(setting) | (_taken(check).keys() - {name for s in check.settings for name in s})
        own = {name: value for name, value in chosen.items() if name in names and name in _taken(check)}
        if own:
            settings[setting_key({**setting, **own})] = {**setting, **own}
    return [(key, _predicted(check, setting)) for key, setting in settings.items()]


def _predicted(check: Check, setting: Setting) -> float:
    """The prediction; ValueError where there is none: outside of an example, or beyond the range of numbers."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)  # it is NaN, which is said below
            value = check.predict(setting)
    except KeyError as error:
        raise ValueError(f"{check.name} predicts nothing at {setting_key(setting)}: there is no {error}") from None
    except ArithmeticError:  # whose own words are "math range error", or "float division by zero"
        raise ValueError(
            f"{check.name} predicts nothing at {setting_key(setting)}: a number there is beyond the range of float64"
        ) from None
    except (LookupError, MemoryError, CertificateError, ValueError) as error:
        raise ValueError(f"{check.name} predicts nothing at {setting_key(setting)}: {error}") from None
    if math.isnan(value):
        raise ValueError(f"{check.name} predicts nothing at {setting_key(setting)}: not a number")
    return value


def _taken(check: Check) -> dict[str, object]:
    """Names of settings that the prediction takes → their types, as they are written."""
    taken = inspect.signature(check.theory).parameters if callable(check.theory) else {}
    return {name: taken[name].annotation for name in taken if taken[name].kind is not inspect.Parameter.KEYWORD_ONLY}


def _require_known(claims: Sequence[Claim], chosen: Mapping[str, Value]) -> None:
    """ValueError for a setting that no prediction of these claims takes, and for a value that is not of the kind that a
    prediction takes: a whole number, a number in its domain, one of the words of its grid."""
    checks = [check for claim in claims for check in claim.checks]
    known = {name for check in checks for name in _taken(check)}
    for name, value in chosen.items():
        option = f"--{name.replace('_', '-')}"
        if name not in known:
            raise ValueError(f"no prediction takes {option}; the settings are {', '.join(sorted(known)) or 'none'}")
        if value != value:
            raise ValueError(f"{option} {value} must be a number")
        takers = [check for check in checks if name in _taken(check)]
        kinds = {_kind(check, name) for check in takers}
        words = sorted({word for check in takers for s in check.settings if isinstance(word := s.get(name), str)})
        if isinstance(value, str) and (value in words or "Value" in kinds or name in OPEN):
            continue
        if "int" in kinds and not (type(value) is int and value >= 0):
            raise ValueError(f"{option} {value} must be {' or '.join(['a whole number >= 0', *words])}")
        if isinstance(value, str) and "float" in kinds:
            raise ValueError(f"{option} {value} must be {' or '.join(['a number', *words])}")
        if kinds == {"str"}:
            raise ValueError(f"{option} {value} must be one of {', '.join(words)}")
        if name in DOMAINS and not isinstance(value, str):
            DOMAINS[name](name, value)


def _kind(check: Check, name: str) -> str:
    """`int`, `float`, `str` or `Value` (a number, or numbers as text): what a setting's annotation or its grid says."""
    annotation = str(_taken(check)[name]).split(" ")[0]
    words = any(isinstance(setting.get(name), str) for setting in check.settings)
    return annotation if annotation in ("int", "float", "str", "Value") else "str" if words else "float"


def _settings(words: Sequence[str]) -> tuple[list[str], dict[str, Value]]:
    """What argparse left, as (claim ids, values by the names of settings)."""
    ids: list[str] = []
    chosen: dict[str, Value] = {}
    rest = [word for word in words if word != "--"]
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            ids.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            if not rest:
                raise ValueError(f"{word} needs a value")
            value = rest.pop(0)
        key = name.replace("-", "_")
        if key in chosen:
            raise ValueError(f"--{name} is given twice")
        chosen[key] = parse_value(value)
    return ids, chosen


if __name__ == "__main__":
    sys.exit(main())
