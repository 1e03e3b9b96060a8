"""The command that measures a model that others trained, SmolLM2-135M-Instruct where no other is named.

    python -m llm_validation real                       all of it; run it again to go on
    python -m llm_validation real --minutes 9           start nothing new after nine minutes
    python -m llm_validation real rdro "dpo one pair"   these runs
    python -m llm_validation real --first-part          two prompts, one seed, five methods: some minutes
    python -m llm_validation real --ratings FILE        other people's ratings as responses; where cells are missing
                                                        the rated pairs count, unless --missing says otherwise

Rows go to llm_validation/results/smollm2 (or --results DIR), job by job; finished jobs are skipped. In the end every
check that has rows is printed with its verdict.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch

from llm_validation.catalogue.measured import chat_tokens, item_answers, measured, own_answers
from llm_validation.catalogue.reference import Reference
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.trunk import trainer_of
from llm_validation.claims.table import REAL_CHECKS
from llm_validation.model.content import content_digest
from llm_validation.model.fetch import WHEELS, CannotFetch
from llm_validation.model.model import Loaded, device, load
from llm_validation.rewards.pool import Pool, kept_pool
from llm_validation.runs.held_out import real_held_out
from llm_validation.runs.real import RUNS, people
from llm_validation.runs.real_correction import correction
from llm_validation.runs.real_selection import MARKS, seconds, selection
from llm_validation.runs.real_separation import separation
from llm_validation.training.schedule import Schedule
from simulate.numbers import Parser, a_name, a_path, carried_out, count, positive
from simulate.options import add_people_options
from simulate.people.data import People
from simulate.people.population import chosen_people, read_by
from simulate.rows.grid import Execution, Job, in_time, run_jobs
from simulate.rows.measurement import Measurement
from simulate.rows.merge import check_folder
from simulate.rows.pool import judge, pooled
from simulate.rows.reach import HOME
from simulate.rows.store import locked, make_stamp, read_rows, replace_file
from theory.claim import parse_setting

#: Asked in the model's own chat template: questions with short answers.
PROMPTS = (
    "Suggest a name for a small cat. Answer with the name only.",
    "Name one animal. One word only.",
    "Is the sea blue? Answer yes or no.",
    "Name a colour.",
    "Goodbye!",
    "Thank you!",
    "Name one flower. One word only.",
    "Name one city. One word only.",
)
#: Asked before a list of items, one for each bt_beta: the same words would have the same law.
QUESTIONS = (
    "Which of these would you choose?", "Which one of these do you like best?", "Pick one of these, please:",
    "What is your favourite among these?", "If you had to take one of these, which would it be?",
)  # fmt: skip
#: Asked for texts of some length, from which Best-of-N and Speculative Rejection choose.
TELL = (
    "Tell me about your best day at school.", "Write a short story about an old house.",
    "What do you think of rainy weather?", "Describe a dinner with your family.",
    "Write a letter to a friend who has moved away.", "What happened at the football match yesterday?",
    "Tell me about a dream that you had.", "Write a review of a film that you have seen.",
)  # fmt: skip
FIRST_PART = ("pro", "rdro", "kldo", "dpo one pair", "nlhf")
#: What a job's rows depend on.
MODULES = ("llm_validation.runs.real", "llm_validation.catalogue.measured", "llm_validation.catalogue.trunk")
SELECTION = ("llm_validation.runs.real_selection", "llm_validation.rewards.pool", "llm_validation.catalogue.measured")
ALIGNER = ("llm_validation.runs.real_correction", "llm_validation.catalogue.measured", "llm_validation.catalogue.trunk")
#: Runs of the first seed alone: of the model's own texts the prompts are what is many, of held-out prompts the draws.
ONCE = ("held out", "best of n", "seconds")
OWN_MODULES = {
    **dict.fromkeys(ONCE, SELECTION),
    "held out": ("llm_validation.runs.held_out",),
    "aligner": ALIGNER,
    "separation": ("llm_validation.runs.real_separation",),
}
#: Responses in the run of seconds.
TIMED = 64
PACKAGES = ("numpy", "scipy", "torch", "transformers", "tokenizers", "gguf")
BETAS = (1.0, 5.0, 10.0)
ALL = (*RUNS, "people", "aligner", "separation", *ONCE)


@dataclass(frozen=True)
class Size:
    """How much is trained: prompts, responses and their most tokens, seeds, steps and rate, what is trained, runs; and
    how many texts are written to a prompt."""

    prompts: int
    responses: int
    tokens: int
    seeds: int
    schedule: Schedule
    train: str
    pool: int
    runs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RealContext:
    """What the jobs share; a process loads the model, and measures a reference, when a job first asks for it.

    content  digest of the model, "" of one that is pinned by its name
    """

    base: str
    size: Size
    folder: Path
    crowd: People
    about: dict[str, str | int]
    betas: tuple[float, ...]
    content: str = ""

    @property
    def _own(self) -> str:
        """What the names of files of this model's texts begin with."""
        return f"{self.content}-" if self.content else ""

    def own(self, seed: int) -> Reference:
        """The reference of the model's own answers of a seed; the answers are kept in the folder."""
        size = self.size
        path = self.folder / "answers" / f"{self._own}{size.prompts}x{size.responses}-{size.tokens}-{seed}.json"
        if not path.exists():
            found = own_answers(loaded(self.base), PROMPTS[: size.prompts], size.responses, size.tokens, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, json.dumps({"prompts": found.prompts, "responses": found.responses}) + "\n")
        return _reference(self.base, _read_encoded(path), seed, size.schedule, size.train)

    def items(self, seed: int) -> Reference:
        """The reference of the people's items."""
        encoded = item_answers(loaded(self.base), QUESTIONS[: len(self.betas)], self.crowd.rated.items)
        return _reference(self.base, encoded, seed, self.size.schedule, self.size.train)

    def pool(self, prompt: int) -> Pool:
        """Texts in answer to one of `TELL`; they are kept in the folder."""
        model, n = loaded(self.base), self.size.pool
        path = self.folder / "texts" / f"{self._own}{n}x{MARKS[-1]}-{prompt}.npz"
        return kept_pool(path, model.model, chat_tokens(model.tokenizer, TELL[prompt]), n, MARKS, 1000 + prompt)

    def jobs(self) -> list[Job]:
        """All jobs, a seed after another."""
        return [
            Job(
                name, seed, partial(self.run, name, seed), OWN_MODULES.get(name, MODULES),
                read_by(self.crowd, self.about, self.betas) if name == "people" else "",
            )
            for seed in range(self.size.seeds)
            for name in self.size.runs
            if seed == 0 or name not in ONCE
        ]  # fmt: skip

    def run(self, name: str, seed: int) -> Iterable[Measurement]:
        """One run of one seed."""
        if os.environ.get("OMP_NUM_THREADS") == "1":
            torch.set_num_threads(1)
        if name == "people":
            return people(self.items(seed), self.crowd, self.about, self.betas)
        if name == "aligner":
            return correction(self.own(seed), loaded(self.base).tokenizer)
        if name == "held out":
            return real_held_out(loaded(self.base), self.size.schedule, seed)
        if name == "separation":
            return separation(loaded(self.base), self.size.schedule, seed)
        if name == "best of n":
            return selection([self.pool(prompt) for prompt in range(len(TELL))], loaded(self.base).tokenizer, seed)
        if name == "seconds":
            model = loaded(self.base)
            return seconds(model, chat_tokens(model.tokenizer, TELL[0]), min(TIMED, self.size.pool), seed)
        return RUNS[name](self.own(seed))


@lru_cache(maxsize=1)
def loaded(base: str) -> Loaded:
    """The model on this machine's device, once per process."""
    found = load(base).to(device())
    found.model.requires_grad_(False)
    return found


@lru_cache(maxsize=1)
def _reference(base: str, encoded: Encoded, seed: int, schedule: Schedule, train: str) -> Reference:
    """A measured reference; the last one is kept, and with it the states of its trunk."""
    return measured(loaded(base), encoded, seed=seed, schedule=schedule, trainer=trainer_of(train))


def _read_encoded(path: Path) -> Encoded:
    kept = json.loads(path.read_text(encoding="utf-8"))
    responses = tuple(tuple(tuple(tokens) for tokens in own) for own in kept["responses"])
    return Encoded(tuple(tuple(tokens) for tokens in kept["prompts"]), responses)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m llm_validation real", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", choices=[*ALL, []], metavar="RUN",
                        help=f"{', '.join(ALL)}; all of them by default")  # fmt: skip
    parser.add_argument(
        "--model", type=a_name, default="smollm2", help="name, folder or .gguf file of a causal language model"
    )
    parser.add_argument("--train", help="top:K blocks, lora:R or all; top:1 by default, all on a GPU")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help=f"at most {len(PROMPTS)} (%(default)s)")
    parser.add_argument("--responses", type=int, default=6, help="the model's own answers to each prompt, at least 5 "
                        "(%(default)s)")  # fmt: skip
    parser.add_argument("--tokens", type=count, default=5, help="most tokens of an answer, its end included "
                        "(%(default)s)")  # fmt: skip
    parser.add_argument("--pool", type=int, default=256, help="texts of 64 tokens to each of eight prompts, from which "
                        "Best-of-N and Speculative Rejection choose; at least 16 (%(default)s)")  # fmt: skip
    parser.add_argument("--seeds", type=count, help="3 by default, 5 on a GPU")
    parser.add_argument("--steps", type=count, default=120, help="optimiser steps of a training; run pro takes three "
                        "times as many, aligner twice, held out a third (%(default)s)")  # fmt: skip
    parser.add_argument("--rate", type=positive, default=3e-4, help="largest learning rate; two thirds of it for the "
                        "runs of PRO (%(default)s)")  # fmt: skip
    parser.add_argument("--jobs", type=count, default=1, help="jobs at a time, in processes of 1.5 GB each")
    parser.add_argument("--minutes", type=positive, help="start no job after so many minutes")
    parser.add_argument("--results", type=a_path, help="folder for rows")
    parser.add_argument("--commit", help="the commit to note where there is no git")
    parser.add_argument("--first-part", action="store_true", help="two prompts, one seed, five methods, three "
                        "quarters of the steps at a third of the rate; where the model cannot be had this is said, and "
                        "is no error")  # fmt: skip
    add_people_options(parser)
    return parser


def size_of(options: argparse.Namespace) -> Size:
    """What the options ask for. ValueError names what there is not."""
    on_gpu = device().type == "cuda"
    if not 1 <= options.prompts <= len(PROMPTS):
        raise ValueError(f"--prompts {options.prompts} must be between 1 and {len(PROMPTS)}")
    if options.responses < 5:
        raise ValueError(f"--responses {options.responses} must be at least 5: four are paired, others are not")
    if options.pool < 16:
        raise ValueError(f"--pool {options.pool} must be at least 16")
    schedule = Schedule(steps=options.steps, rate=options.rate, record=max(1, options.steps // 10))
    train = options.train or ("all" if on_gpu else "top:1")
    trainer_of(train)
    if options.first_part:
        if options.runs or options.seeds or options.prompts != len(PROMPTS):
            raise ValueError("--first-part says which runs, prompts and seeds: leave out what you say of them")
        # by the rate of all prompts RDRO still swings about its optimum at the end: .03 nats, where .02 are asked; by a
        # third of it three quarters of the steps leave at most .0022
        gentle = schedule.slower(1.0 / 3.0).longer(0.75)
        return Size(2, options.responses, options.tokens, 1, gentle, train, options.pool, FIRST_PART)
    seeds = options.seeds or (5 if on_gpu else 3)
    return Size(
        options.prompts,
        options.responses,
        options.tokens,
        seeds,
        schedule,
        train,
        options.pool,
        tuple(options.runs) or ALL,
    )


def measure(options: argparse.Namespace, started: float) -> int:
    """Run what is left, and print what there is; how many jobs are left. ValueError or OSError for bad input."""
    size = size_of(options)
    if options.ratings and not options.missing:
        options.missing = "pairs"  # its rows say so
    crowd, about = chosen_people(options)
    betas = tuple(options.bt_beta or BETAS)
    if len(betas) > len(QUESTIONS):
        raise ValueError(f"--bt-beta has {len(betas)} values, and there are {len(QUESTIONS)} questions")
    loaded(options.model)  # what cannot be loaded is said before any work
    name = "smollm2-first" if options.first_part else "smollm2"
    folder = options.results or HOME / "llm_validation" / "results" / name
    config: dict[str, object] = {"base": str(options.model), "size": "given", "betas": betas, **_plain(size)}
    content = "" if options.model in WHEELS else content_digest(options.model)
    if content:
        config["content"] = content
    where = torch.cuda.get_device_name() if device().type == "cuda" else None
    stamp = make_stamp("real", config, packages=PACKAGES, device=where, commit=options.commit)
    check_folder(folder, stamp, recompute=True)
    context = RealContext(options.model, size, folder, crowd, about, betas, content)
    deadline = None if options.minutes is None else started + 60.0 * options.minutes
    with locked(folder):
        how = Execution(1 if device().type == "cuda" else options.jobs, may_start=in_time(deadline))
        left = run_jobs(context.jobs(), folder, stamp, how, label="real")
    for line in verdicts(folder):
        print(line)
    print(f"rows in {folder}, {time.monotonic() - started:.0f} s{f'; {left} jobs are left' if left else ''}")
    return left


def _plain(size: Size) -> dict[str, object]:
    """What rows depend on, whichever of the runs are asked for."""
    return {**{name: value for name, value in vars(size).items() if name not in ("runs", "seeds")},
            "schedule": vars(size.schedule)}  # fmt: skip


def verdicts(folder: Path) -> list[str]:
    """Every check with rows, in a line: estimate, prediction, verdict."""
    rows, lines = read_rows(folder), []
    for claim, checks in REAL_CHECKS.items():
        for check in checks:
            own = [row for row in rows if (row.claim, row.check) == (claim, check.name)]
            for key in sorted({row.setting for row in own}):
                here = [row for row in own if row.setting == key]
                predicted = check.predict(parse_setting(key))
                estimate = pooled(check, predicted, here).estimate
                said = judge(check, here)
                seeds = f"{len(here)} seed{'s' if len(here) > 1 else ''}"
                lines.append(f"{claim}.{check.name} {key}: {estimate:.4g} (theory {predicted:.4g}, {seeds}) {said}")
    return lines


def real_main(arguments: Sequence[str], started: float | None = None) -> int:
    """The command line; returns the exit status: 2 for bad input, which is said on standard error.

    started  a reading of time.monotonic() from which its minutes count
    """
    options = _parser().parse_args(arguments)
    begun = time.monotonic() if started is None else started
    return carried_out("real", lambda: _measured(options, begun))


def _measured(options: argparse.Namespace, started: float) -> None:
    try:
        measure(options, started)
    except CannotFetch as error:
        if not options.first_part:
            raise
        said = "the model that others trained cannot be had here: its recorded rows stand for it"
        print(f"real: {error}", said, sep="\n", file=sys.stderr)
