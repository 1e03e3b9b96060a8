"""Not run: no language model has been trained for these claims yet, and this stage says nothing else.

The ledger's LLM column therefore reads `not run` for every claim; no number stands in for a measurement.
"""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Accept the flags that every stage takes, and say that nothing was run."""
    parser = argparse.ArgumentParser(prog="python -m llm_validation")
    parser.add_argument("claims", nargs="*", metavar="ID")
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu")
    parser.parse_args(arguments)
    print("llm_validation: not run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
