"""Train language models and measure the claims on them; write rows.

    python -m llm_validation                               every run, profile cpu
    python -m llm_validation P9 r4 best_of_n               the runs that show these claims; topics too
    python -m llm_validation --profile gpu --minutes 9     one GPU, in slices: run it again to go on
    python -m llm_validation --size micro mini             models of other sizes, each in a folder of its own
    python -m llm_validation D17 --ratings FILE            real people's ratings as responses
    python -m llm_validation --model PATH_OR_NAME          another base model
    python -m llm_validation --corpus FILE… --minutes 9    pretrain on text
    torchrun --nproc-per-node 2 -m llm_validation …        several processes: the same rows
    torchrun --nproc-per-node 2 -m llm_validation --shard  the model divided among them

commands (each says more with --help):
    python -m llm_validation advise …                      what your preferences and your model allow
    python -m llm_validation align …                       one loss on a file of your preferences
    python -m llm_validation audit FILE --bt-beta 5        users behind comparisons: interval, which pair to ask next
    python -m llm_validation compare A B                   which verdicts differ between two folders of rows
    python -m llm_validation conform MODULE:FUNCTION LOSS  what another loss does differently from ours
    python -m llm_validation correct …                     an Aligner on a model or on a file of answers
    python -m llm_validation generate …                    Best-of-N and Speculative Rejection on a model of yours
    python -m llm_validation merge INTO PART…              bring the rows of slices together
    python -m llm_validation real                          a model that others trained, and real people

A plan is printed first: what is to be done, and how long that took where it was recorded. Rows go to
llm_validation/results/PROFILE, or PROFILE-SIZE at another size than the profile's own (or --results DIR). Finished jobs
are skipped: a run that was stopped goes on where it stopped and ends with the same rows.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time

from llm_validation.pretraining.config import PRESETS
from simulate.numbers import Parser, a_name, a_path, carried_out, count, positive, unless_interrupted
from simulate.options import add_people_options
from simulate.profiles import PROFILES
from simulate.rows.backends import add_on

#: Commands of their own: the module and the function of its words. Loaded when they are called.
COMMANDS = {
    "advise": ("llm_validation.commands.advise", "advise_main"),
    "align": ("llm_validation.commands.align", "align_main"),
    "audit": ("simulate.people.audit", "audit_main"),
    "compare": ("llm_validation.commands.compare", "compare_main"),
    "conform": ("llm_validation.commands.conform", "conform_main"),
    "correct": ("llm_validation.commands.correct", "correct_main"),
    "generate": ("llm_validation.commands.generate", "generate_main"),
    "merge": ("simulate.rows.merge", "merge_main"),
    "real": ("llm_validation.commands.real", "real_main"),
}
#: Those whose minutes count from the start of the process: loading takes part of them.
TIMED = {"advise", "real"}
#: Those of another stage, which are told after which one they were typed.
SHARED = {"audit", "merge"}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0, or 2 for input that cannot be used."""
    words, started = sys.argv[1:] if arguments is None else arguments, time.monotonic()
    if words[:1] and words[0] in COMMANDS:
        module, name = COMMANDS[words[0]]
        command = getattr(importlib.import_module(module), name)
        more = [started] if words[0] in TIMED else ["llm_validation"] if words[0] in SHARED else []
        return int(command(words[1:], *more))
    options = _parser().parse_args(words)
    from llm_validation.grid.run import run_sizes

    return carried_out("llm_validation", lambda: run_sizes(options, started))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m llm_validation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("claims", nargs="*", metavar="ID", help="claims or topics; all that a model is to show")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="cpu")
    parser.add_argument("--size", nargs="+", choices=list(PRESETS), metavar="SIZE", help="sizes of the model, one "
                        f"after another: {', '.join(PRESETS)}; the profile's own by default, of profile gpu small "
                        "and base")  # fmt: skip
    parser.add_argument("--results", type=a_path, help="folder for rows (a folder for each of several sizes in it)")
    parser.add_argument("--minutes", type=positive, help="start no job that would not end in so many minutes")
    parser.add_argument("--commit", help="the commit to note where there is no git")
    parser.add_argument("--jobs", type=count, default=os.cpu_count() or 1, help="jobs at a time, in processes")
    parser.add_argument("--seeds", type=count, help="number of seeds; the profile says how many by default")
    parser.add_argument("--plan", action="store_true", help="print the plan and stop")
    parser.add_argument("--recompute", action=argparse.BooleanOptionalAction, help="compute rows of other code again; "
                        "the default, but for profile gpu")  # fmt: skip
    parser.add_argument("--stack-seeds", action=argparse.BooleanOptionalAction, help="train the seeds of a run as one "
                        "stack; the default on a GPU")  # fmt: skip
    parser.add_argument("--shard", action="store_true", help="divide the model among the processes of a launcher")
    add_on(parser)
    base = parser.add_argument_group("base model")
    base.add_argument(
        "--model", type=a_name, help="a causal language model by name or path, in place of a pretrained one"
    )
    base.add_argument(
        "--corpus", nargs="+", type=a_path, metavar="FILE", help="text to pretrain on: plain, .gz, .jsonl"
    )
    base.add_argument("--pretrain-steps", type=count, help="optimiser steps, in place of the size's own")
    base.add_argument("--field", default="text", help="field of a .jsonl corpus")
    add_people_options(parser)
    return parser


if __name__ == "__main__":
    status = unless_interrupted("llm_validation", main)
    if "accelerate" not in sys.modules:  # nothing that may be one of several processes was called
        sys.exit(status)
    from llm_validation.grid.processes import end

    end(status)
