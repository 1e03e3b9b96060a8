"""The command that says what preferences and a model allow, and which method to use, with reasons.

    python -m llm_validation advise --model PATH_OR_NAME --data FILE --out REPORT --minutes 5

REPORT, a new folder, gets report.html and report.json: what is in the data, which losses have an optimum on them, where
the model stands, what a pilot of every method moved on held-out examples, divergences, whose preferences they are,
cost, and a recommendation with a command to paste.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_validation.advise.findings import Finding, counts, existence
from llm_validation.advise.optima import Optimum, optima
from llm_validation.advise.pilot import NoTime, Pilot, PilotPlan, batch_of, run_pilot
from llm_validation.advise.recommend import Advice, recommend
from llm_validation.advise.report import Section, as_html, as_json, number
from llm_validation.advise.sections import cost, cut, displacement, divergence_lines, reference_lines, table_of_optima
from llm_validation.advise.selection import selection
from llm_validation.advise.whose import users_of, whose
from llm_validation.commands.align_methods import context_of
from llm_validation.generation.scorers import Scorer, ScorerError
from llm_validation.model.folders import check_new, replacing
from llm_validation.model.model import device, load
from llm_validation.model.sharding import decoder_layers
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Example, Preferences, read_preferences
from llm_validation.preferences.objectives import OF_PAIRS
from llm_validation.preferences.policy_gradient import rewards_of
from llm_validation.preferences.sequences import completion_forward, log_probabilities
from llm_validation.preferences.trace import NothingToHoldOut
from llm_validation.preferences.train import trainable
from llm_validation.rewards.sources import Texts, scorer_of
from llm_validation.training.parts import check_part
from simulate.numbers import Parser, a_name, a_path, carried_out, count, positive, seed, share
from theory.proximal.feedback import Index
from theory.validate import Array

#: What the pilot trains by default, of a model of more blocks than this.
TOP, DEEP = "top:1", 4
#: Share of the minutes that is used: a run that was begun in time may be slower than those before it.
USED = 0.92
#: Share of the time that is left to price Best-of-N by a reward.
FOR_REWARD = 0.35
#: Methods that the pilot knows, and those of them that need several responses to a prompt with labels or scores.
PILOTED, OF_LISTS = [*trainable(), "rlhf"], {"rlhf"}
#: Characters of a response that name it.
NAMED = 30


def advise_main(arguments: list[str], started: float | None = None) -> int:
    """Command line, whose minutes count from `started`, a reading of time.monotonic(); 2 for unusable input, else 0."""
    started = time.monotonic() if started is None else started
    options = _parser().parse_args(arguments)
    act = lambda: _advise(options, started + USED * 60.0 * options.minutes)
    return carried_out("advise", act, (ValueError, OSError, FloatingPointError))


def _parser() -> argparse.ArgumentParser:
    preset = PilotPlan(())
    parser = Parser(prog="python -m llm_validation advise", description="What preferences and a model allow.")
    parser.add_argument("--model", type=a_name, required=True, help="a causal language model by name or path")
    parser.add_argument("--data", required=True, type=a_path, metavar="FILE", help="pairs, rankings, labels or scores")
    parser.add_argument("--out", required=True, type=a_path, metavar="REPORT", help="a new folder for the report")
    parser.add_argument("--minutes", type=positive, default=5.0, help="time for all of it; once it is over nothing is "
                        "begun, and what was begun is measured (%(default)s)")  # fmt: skip
    parser.add_argument("--bt-beta", type=positive, nargs="+", default=[], metavar="β", help="how sharply users "
                        "choose, for the audit of responses that were compared often")  # fmt: skip
    parser.add_argument("--methods", nargs="+", choices=PILOTED, metavar="METHOD", help="those of the pilot; all")
    parser.add_argument("--rates", type=positive, nargs="+", default=list(preset.rates), metavar="RATE",
                        help="peak learning rates of the pilot, in turn")  # fmt: skip
    parser.add_argument("--train", metavar="PART", help=f"all, top:K or lora:R; {TOP} of a model of more "
                        f"than {DEEP} blocks, else all")  # fmt: skip
    parser.add_argument("--epochs", type=count, default=preset.epochs, help="passes of the pilot (%(default)s)")
    parser.add_argument("--batch", type=count, default=preset.batch, help="pairs, or examples, a step (%(default)s)")
    parser.add_argument("--held-out", type=share, default=preset.held, metavar="SHARE", help="of prompts (%(default)s)")
    parser.add_argument(
        "--answers", type=count, default=preset.answers, help="answers of the model's own (%(default)s)"
    )
    parser.add_argument("--answer-tokens", type=count, default=preset.tokens, help="most tokens of one (%(default)s)")
    parser.add_argument("--reward", type=a_name, help="by which Best-of-N is priced: a folder or name of a reward "
                        "model, or MODULE:FUNCTION of prompts and responses, as in generate")  # fmt: skip
    parser.add_argument("--context", type=count, help="longest text in tokens; by default what the model says")
    parser.add_argument("--seed", type=seed, default=0)
    return parser


@dataclass(frozen=True, eq=False)
class _Case:
    """What was read: the options, a model with its text boundaries, the preferences, who gave them, when to end."""

    options: argparse.Namespace
    model: Any
    texts: TextBoundaries
    data: Preferences
    users: Index | None
    reward: Callable[[], Scorer] | None
    context: int
    deadline: float

    def said(self, tokens: Sequence[int]) -> str:
        """Tokens as a text."""
        text: str = self.texts.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def name(self, example: Example) -> str:
        """A response in one line."""
        said = " ".join(self.said(example.completion).split())
        return said if len(said) <= NAMED else said[: NAMED - 1] + "…"


def _read(options: argparse.Namespace, deadline: float) -> _Case:
    check_new(options.out)
    if options.train is not None:
        check_part(options.train)
    for name in ("methods", "rates"):
        given = getattr(options, name) or []
        if twice := [value for value in given if given.count(value) > 1]:
            raise ValueError(f"--{name} has {twice[0]} twice: a pilot of it is made once")
    loaded = load(options.model)
    context = context_of(options, loaded.model)
    texts = TextBoundaries.of(loaded.tokenizer, loaded.model)
    data = read_preferences(options.data, texts, context)
    known = Texts.of(loaded.tokenizer, options.data, data.examples)
    reward = scorer_of(options.reward, known) if options.reward else None
    if reward:
        with _of_the_reward(options):  # a function that fails does so before the pilot, not after it
            rewards_of(reward(), data.examples[:2])
    users = users_of(options.data, data)
    return _Case(options, loaded.to(device()).model, texts, data, users, reward, context, deadline)


def _advise(options: argparse.Namespace, deadline: float) -> None:
    case = _read(options, deadline)
    data, known = case.data, optima(case.data, batch_of(case.data, case.options.batch))
    asked = whose(data, case.users, options.bt_beta, case.name, lambda some: _law(case.model, some))
    try:
        pilot, why = _pilot(case), ""
    except (NothingToHoldOut, NoTime) as error:
        pilot, why = None, f"not done: {error}"
    sections = [
        Section("The data", (*counts(data), *cut(data, case.context, pilot))),
        Section("Does each loss have an optimum here?", tuple(existence(data)), table_of_optima(known)),
        *_of_the_model(case, pilot or why, known, Section("Whose preferences?", tuple(asked))),
    ]
    about = {"model": str(options.model), "data": str(options.data), "minutes": options.minutes, "seed": options.seed}
    with replacing(options.out) as partial:
        (partial / "report.html").write_text(as_html(sections, about), encoding="utf-8")
        (partial / "report.json").write_text(as_json(sections, about), encoding="utf-8")
    for finding in sections[-1].findings:
        print(f"- {finding.text}" + (f": {number(finding)}" if finding.value is not None else ""))
    print(sections[-1].command or "no command", f"\n{options.out / 'report.html'}", sep="\n")


def _of_the_model(case: _Case, pilot: Pilot | str, known: Sequence[Optimum], asked: Section) -> list[Section]:
    """The sections that a pilot fills; without one, where the reference stands, and why there is none."""
    data, options = case.data, case.options
    if isinstance(pilot, str):
        left = Section("Displacement, measured", (Finding("left_out", pilot, None),))
        if time.monotonic() > case.deadline:
            return [asked, left]
        sides = [(name, side, _logs(case.model, data, side)) for name, side in _named(data)]
        return [Section("The reference", tuple(reference_lines(sides, data.paired))), asked, left]
    advice = recommend(pilot, known, str(options.model), str(options.data), options.context)
    own = (*_named(pilot.held), ("own", pilot.own))
    sides = [(name, side, logs) for (name, side), logs in zip(own, pilot.reference, strict=True)]
    moved, by_method = displacement(pilot)
    apart, by_loss = divergence_lines(pilot)
    return [
        Section("The reference", tuple(reference_lines(sides, data.paired, pilot.groups, pilot.begun))),
        Section("Displacement, measured", tuple(moved), by_method),
        Section("Divergences of chosen and rejected", tuple(apart), by_loss),
        asked,
        Section("Cost", tuple(cost(pilot, advice, _priced(case, pilot, advice)))),
        Section("Recommendation", advice.reasons, command=advice.command),
    ]


def _priced(case: _Case, pilot: Pilot, advice: Advice) -> list[Finding] | None:
    """Best-of-N by the user's reward; None without one."""
    if case.reward is None or advice.best is None:
        return None
    if time.monotonic() > case.deadline:
        return [Finding("best_of_n", "Best-of-N was not priced: the time was over", None, claim="B3")]
    with _of_the_reward(case.options):
        return selection(case.model, pilot, advice.best, case.reward, case.texts.ends)


@contextmanager
def _of_the_reward(options: argparse.Namespace) -> Iterator[None]:
    """What is wrong with its scores is said of it."""
    try:
        yield
    except ScorerError as error:
        raise ValueError(f"--reward {options.reward}: {error}") from error


def _named(data: Preferences) -> tuple[tuple[str, Sequence[Example]], ...]:
    return ("chosen", data.chosen), ("rejected", data.rejected)


def _pilot(case: _Case) -> Pilot:
    options, data = case.options, case.data
    methods = options.methods or [m for m in PILOTED if m not in (OF_LISTS if data.paired else OF_PAIRS)]
    part = options.train or (TOP if len(decoder_layers(case.model)) > DEEP else "all")
    plan = PilotPlan(
        tuple(methods), tuple(options.rates), part, options.epochs, options.batch, options.held_out, options.answers,
        options.answer_tokens, options.seed,
    )  # fmt: skip
    left = case.deadline - time.monotonic()
    until = case.deadline - (left * FOR_REWARD if case.reward else 0.0)
    return run_pilot(case.model, data, plan, case.texts.ends, case.context, until,
                     lambda what: print(f"advise: {what}", file=sys.stderr))  # fmt: skip


def _logs(model: Any, data: Preferences, examples: Sequence[Example]) -> Array:
    model.eval()
    forward = completion_forward(model, data.chosen, data.rejected, share=False)
    found: Array = log_probabilities(model, forward, examples, 8).double().cpu().numpy()
    return found


def _law(model: Any, responses: Sequence[Example]) -> Array:
    """What the model gives the responses of a prompt, in proportion."""
    logs = _logs(model, Preferences("responses", tuple(responses), tuple(responses), paired=False), responses)
    masses = np.exp(logs - logs.max())
    return np.asarray(masses / masses.sum())
