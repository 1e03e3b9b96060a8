"""Print the claims and what they predict.

python -m theory             every claim, its checks and their predictions
python -m theory D4 D8       those claims
python -m theory --quiet     one line per claim (every prediction is still computed)
"""

from __future__ import annotations

import argparse
import sys

from theory.claim import Claim, setting_key
from theory.claims import CLAIMS, find_claim


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m theory", description="Print claims and predictions.")
    parser.add_argument("claims", nargs="*", metavar="ID", help="claim ids; all by default")
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu", help="theory is the same in all")
    parser.add_argument("--quiet", action="store_true", help="one line per claim")
    options = parser.parse_args(arguments)
    try:
        claims = [find_claim(claim_id) for claim_id in options.claims] if options.claims else list(CLAIMS)
    except ValueError as error:
        print(f"theory: {error}", file=sys.stderr)
        return 2
    for claim in claims:
        print(describe(claim, brief=options.quiet))
    return 0


def describe(claim: Claim, brief: bool) -> str:
    """A claim as text: statement and source, then every check with its predictions."""
    predictions = {check.name: [(setting_key(s), check.predict(s)) for s in check.settings] for check in claim.checks}
    count = sum(map(len, predictions.values()))
    lines = [f"{claim.id:4s} {count:3d} predictions  {claim.statement}"]
    if brief:
        return lines[0]
    lines.append(f"     {claim.source}")
    for check in claim.checks:
        lines.append(f"     {claim.id}.{check.name} ({check.kind}): {check.quantity}")
        lines += [f"         {key:44s} {value:.9g}" for key, value in predictions[check.name]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
