"""The command that says what somebody else's loss does differently from ours.

    python -m llm_validation conform my_trainer:my_loss dpo --kl-beta 0.1

`my_loss` is a function of four log-probabilities in a module that Python can import from where one stands; with
--mismatched of six, the last two the policy's and the reference's of prompts with completions of other prompts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from llm_validation.conformance import check_loss
from llm_validation.losses.options import given_options
from llm_validation.losses.table import LOSSES
from llm_validation.rewards.sources import function_at
from simulate.numbers import Parser, carried_out, positive

ALIKE = (
    "no difference in value or gradient, of log-probabilities as they are given; what a model computes them with "
    "(weights in bfloat16, torch.autocast, masks) is not seen here"
)


def conform_main(arguments: Sequence[str]) -> int:
    """Exit status 0 where nothing differs, 1 where something does, 2 for input that cannot be used."""
    options = _parser().parse_args(arguments)
    return carried_out("conform", lambda: _conform(options))


def _conform(options: argparse.Namespace) -> int:
    own = given_options(options)
    found = check_loss(
        function_at(options.function), options.loss, tokens=options.tokens, mismatched=options.mismatched, **own
    )
    entry = LOSSES[options.loss]
    point = "; reference point over mismatched pairs" * options.mismatched
    print(f"{options.function} beside {options.loss} ({entry.source}; {entry.reduction}{point})")
    for sentence in found or [ALIKE]:
        print(f"- {sentence}")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m llm_validation conform", description="What a loss does differently from ours.")
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="of four log-probabilities, torch tensors (B,)")
    parser.add_argument("loss", choices=list(LOSSES), metavar="LOSS", help=", ".join(LOSSES))
    parser.add_argument("--kl-beta", type=positive, metavar="β", help="that the function has")
    parser.add_argument("--alpha", type=float, metavar="α", help="that the function has, of PRO and RDRO")
    parser.add_argument("--generator", help="of FDO")
    parser.add_argument("--tokens", action="store_true", help="the function also takes the numbers of tokens of both")
    parser.add_argument("--mismatched", action="store_true", help="the function also takes the policy's and the "
                        "reference's log-probabilities of mismatched pairs, over which ours then estimates its "
                        "reference point, as align does by --shift mismatched; of kto, bco and fdo")  # fmt: skip
    return parser
