"""The command that aligns a model of the user's own on preferences of the user's own.

    python -m llm_validation align --method dpo --model PATH_OR_NAME --data FILE.jsonl --out FOLDER

--method is a loss of the table (`llm_validation.losses`), or

    nlhf      the equilibrium on the win rates of listed responses (`llm_validation.preferences.listed`)
    rlhf      a reward model of the pairs, then the policy (`llm_validation.preferences.policy_gradient`)
    aligner   a model that corrects answers, for `correct` (`llm_validation.aligner.texts`)

FILE holds pairs, rankings, or examples with labels or scores, texts or messages (.jsonl, .json, .csv, .parquet;
`llm_validation.preferences.files`), for the Aligner answers and corrections. FOLDER gets the trained model with its
tokenizer (safetensors), `alignment.json` (the settings, every step's loss, tokens/s),
`trace.csv` (what moved on held-out prompts: log-ratios of chosen, rejected and the model's own answers, margins,
gradient norms, KL) and `report.txt`, which is printed at the end too. A run that is killed goes on where it was kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from llm_validation.aligner.texts import Template, corrections_objective, read_corrections
from llm_validation.commands.align_methods import (
    Reward,
    add_options,
    check_own,
    check_reward,
    context_of,
    corrector_said,
    forget_rewards,
    own_settings,
    reward_for,
    sampled,
)
from llm_validation.losses.options import check_options, given_options
from llm_validation.losses.table import LOSSES
from llm_validation.model.content import digest_on_disk
from llm_validation.model.folders import check_new, replacing, tidy, write
from llm_validation.model.model import Loaded, device, load
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Preferences, read_preferences
from llm_validation.preferences.files import check_there
from llm_validation.preferences.objectives import check_feedback, check_settings
from llm_validation.preferences.policy_gradient import Sampled, check_room, train_rlhf
from llm_validation.preferences.report import report
from llm_validation.preferences.resume import Checkpoint, digest
from llm_validation.preferences.trace import Mean, Moved, Watch, split
from llm_validation.preferences.train import PreferenceRun, PreferenceTraining, train_on_preferences, trainable
from llm_validation.rewards.sources import reward_content
from llm_validation.training.loop import TrainingDiverged
from llm_validation.training.parts import check_part, choose_part
from simulate.numbers import Parser, a_name, a_path, carried_out, count, positive, seed, share
from simulate.rows.store import alone

METHODS = [*trainable(), "rlhf", "aligner"]
RECORD, TRACE, REPORT = "alignment.json", "trace.csv", "report.txt"


def align_main(arguments: list[str]) -> int:
    """Command line; exit status 0, 1 if training diverged (nothing is written), 2 for input that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        return carried_out("align", lambda: _align(options))
    except (TrainingDiverged, FloatingPointError) as error:  # a step, or an answer of the model's own after it
        print(f"align: {error}; nothing was written. Try a lower --rate", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    preset = PreferenceTraining(seed=0)
    parser = Parser(prog="python -m llm_validation align", description="Train a causal language model on preferences.")
    parser.add_argument("--method", required=True, choices=METHODS)
    parser.add_argument("--model", type=a_name, required=True, help="a causal language model by name or path")
    parser.add_argument("--data", required=True, type=a_path, metavar="FILE", help="pairs, rankings, labels or scores")
    parser.add_argument(
        "--out", required=True, type=a_path, metavar="FOLDER", help="a new folder for the trained model"
    )
    parser.add_argument("--kl-beta", type=positive, metavar="β", help="weight of the log-ratio in the reward")
    parser.add_argument("--alpha", type=float, metavar="α", help="of PRO and RDRO")
    parser.add_argument("--generator", help="of FDO")
    parser.add_argument("--epochs", type=count, default=preset.epochs)
    parser.add_argument("--batch", type=count, default=preset.batch, help="pairs, or examples, per step (%(default)s)")
    parser.add_argument("--rate", type=positive, default=preset.rate, help="peak learning rate (%(default)s)")
    parser.add_argument("--shift", choices=("zero", "mismatched", "running_mean"), help="constant of kto, bco, fdo")
    parser.add_argument("--context", type=count, help="longest text in tokens; by default what the model says")
    parser.add_argument(
        "--portion", type=count, help="pairs, or examples, run at a time; the step is the whole batch's"
    )
    parser.add_argument("--class-weights", type=positive, nargs=2, metavar=("CHOSEN", "REJECTED"),
                        help="weights of the two classes; 1 and 1 by default")  # fmt: skip
    parser.add_argument("--anyway", action="store_true", help="train below a loss's threshold")
    parser.add_argument("--no-sharing", action="store_true", help="do not run a pair's prompt once for both")
    parser.add_argument(
        "--train", default="all", metavar="PART", help="all, top:K (the last K blocks) or lora:R (peft)"
    )
    parser.add_argument("--held-out", type=share, default=0.1, metavar="SHARE",
                        help="prompts held out, to be measured on; 0: on what is trained on (%(default)s)")  # fmt: skip
    parser.add_argument("--trace-every", type=count, metavar="STEPS", help="steps between measurements; a tenth of all")
    parser.add_argument("--answers", type=count, default=32, help="answers of the model's own at each (%(default)s)")
    parser.add_argument("--answer-tokens", type=count, default=32, help="most tokens of one (%(default)s)")
    parser.add_argument("--keep-every", type=count, default=50, metavar="STEPS",
                        help="steps after which the run is kept, to go on after a kill (%(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="order of the batches (%(default)s)")
    add_options(parser)
    return parser


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be done, all of it checked: the data, what is held out of them, settings of training and loss."""

    method: str
    train: Preferences
    held: Preferences
    watch: Watch
    config: PreferenceTraining
    options: dict[str, Any]
    context: int
    checkpoint: Checkpoint
    template: Template | None
    sampled: Sampled | None
    warm_up: int


def _align(options: argparse.Namespace) -> None:
    _finish(options.out)
    check_new(options.out)
    config = PreferenceTraining(
        seed=options.seed,
        epochs=options.epochs,
        batch=options.batch,
        rate=options.rate,
        shift=options.shift,
        share=not options.no_sharing,
        portion=options.portion,
        class_weights=tuple(options.class_weights or ()) or None,
        anyway=options.anyway,
    )
    loss_options = given_options(options)
    check_options(options.method, loss_options, anyway=options.anyway)
    check_part(options.train)
    check_own(options)
    if options.method in LOSSES:
        check_settings(options.method, LOSSES[options.method].function, loss_options, config)
    check_there(options.data)
    loaded = load(options.model)
    job = _job(options, loaded, config, loss_options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(options.out):
        said = _trained(options, loaded, job)
    for sentence in said:
        print(sentence)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Have the folder for oneself. ValueError if another process trains it."""
    lock = out.with_name(f".{out.name}.lock")
    with alone(lock, f"another process trains {out}: wait for it, or choose another --out"):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _finish(out: Path) -> None:
    """Remove what a run that was killed after it wrote its folder had kept beside it, and can no longer go on from."""
    if (out / RECORD).is_file() and any(out.with_name(f".{out.name}.{kept}").exists() for kept in ("lock", "run")):
        with _locked(out):
            _forget(out)


def _forget(out: Path) -> None:
    """Remove what is kept for after a kill."""
    shutil.rmtree(_kept(out), ignore_errors=True)
    forget_rewards(out)


def _kept(out: Path) -> Path:
    """Where a run goes on from."""
    return out.absolute().with_name(f".{out.name}.run")


def _trained(options: argparse.Namespace, loaded: Loaded, job: _Job) -> list[str]:
    """Train from the last checkpoint, write the folder, and what to say of it."""
    for folder in (options.out, job.checkpoint.folder):
        tidy(folder)
    if done := job.checkpoint.check():
        print(f"align: goes on after step {done}, kept in {job.checkpoint.folder}", file=sys.stderr)
    model: Any = loaded.to(device()).model
    reward = reward_for(options, loaded, job.train, job.held) if job.sampled else None
    merge = choose_part(model, options.train, options.seed)
    run, more = _train(model, job, reward)
    merge()
    said = [*report(run.trace, job.method, job.options, job.train, job.held), *more]
    with replacing(options.out) as partial:
        write(loaded.model, loaded.tokenizer, partial)
        (partial / RECORD).write_text(json.dumps(_record(options, job, run), indent=1) + "\n", encoding="utf-8")
        trace_table(run).to_csv(partial / TRACE, index=False)
        (partial / REPORT).write_text("\n".join(said) + "\n", encoding="utf-8")
        if job.template:
            job.template.write(partial)
        if reward:
            reward.move(partial)
    _forget(options.out)
    first = (
        f"{options.method}: loss {run.loss[0]:.4f} at the first step, {run.loss[-1]:.4f} at the last of "
        f"{len(run.loss)}; {run.tokens_per_second:.0f} tokens/s; {options.out}"
    )
    return [first, *(f"- {sentence}" for sentence in said)]


def _job(options: argparse.Namespace, loaded: Loaded, config: PreferenceTraining, loss: dict[str, Any]) -> _Job:
    context = context_of(options, loaded.model)
    boundaries = TextBoundaries.of(loaded.tokenizer, loaded.model)
    template = Template.of(boundaries, options.template) if options.method == "aligner" else None
    if template and loss:
        raise ValueError(f"aligner has no option {min(loss)!r}: it is trained on cross-entropy")
    if template:
        data = read_corrections(options.data, boundaries, template, context)
    else:
        data = read_preferences(options.data, boundaries, context)
    check_reward(options, data)
    check_feedback(options.method, data)
    sampling = sampled(options, boundaries.ends, loss) if options.method == "rlhf" else None
    if sampling and not sampling.listed:
        check_room(data, sampling, context)
    train, held = split(data, options.held_out, options.seed) if options.held_out else (data, data)
    watch = Watch(held, boundaries.ends, options.trace_every, options.answers, options.answer_tokens)
    settings = {
        "model": str(options.model), "content": digest_on_disk(options.model), "data": digest(data),
        "method": options.method, "options": loss,
        "context": context, "train": options.train, "held_out": options.held_out, **asdict(config),
        **{name: getattr(watch, name) for name in ("every", "answers", "tokens")}, **own_settings(options),
        **({"reward_content": reward_content(options.reward)} if options.reward else {}),
    }  # fmt: skip
    checkpoint = Checkpoint(_kept(options.out), settings, options.keep_every)
    warm_up = 10 if options.warm_up is None else options.warm_up
    return _Job(options.method, train, held, watch, config, loss, context, checkpoint, template, sampling, warm_up)


def _record(options: argparse.Namespace, job: _Job, run: PreferenceRun) -> dict[str, Any]:
    return {
        "method": options.method,
        "model": options.model,
        "data": str(options.data),
        "chosen": len(job.train.chosen),
        "rejected": len(job.train.rejected),
        "held_out_chosen": len(job.held.chosen),
        "held_out_rejected": len(job.held.rejected),
        "held_out": options.held_out,
        "train": options.train,
        "context": job.context,
        "options": job.options,
        **own_settings(options),
        **asdict(job.config),
        "layout": run.layout,
        "tokens_per_second": run.tokens_per_second,
        "seconds": run.seconds,
        "reference_seconds": run.reference_seconds,
        "loss": run.loss.tolist(),
        "grad_norm": run.grad_norm.tolist(),
    }


def trace_table(run: PreferenceRun) -> pd.DataFrame:
    """A row per step: loss and gradient norm of the step; what was measured before it, with standard errors.

    The last row, after the last step, has no loss; cells where nothing was measured are empty.
    """
    rows: list[dict[str, float]] = [{"step": step} for step in range(len(run.loss) + 1)]
    for row, loss, norm in zip(rows, run.loss, run.grad_norm, strict=False):
        row |= {"loss": float(loss), "grad_norm": float(norm)}
    for moved in run.trace:
        for name, mean in _means(moved):
            rows[moved.step] |= {name: mean.value, f"{name}_se": mean.stderr, f"{name}_n": mean.n}
    return pd.DataFrame(rows)


def _means(moved: Moved) -> Sequence[tuple[str, Mean]]:
    named = ((field.name, getattr(moved, field.name)) for field in fields(moved))
    return [(name, value) for name, value in named if isinstance(value, Mean)]


def _train(model: Any, job: _Job, reward: Reward | None) -> tuple[PreferenceRun, list[str]]:
    """Train with a progress bar on stderr; the run, and what the report is to say besides."""
    with tqdm(desc=job.method, unit="step", disable=None) as bar:

        def on_step(step: int, steps: int, loss: float) -> None:
            bar.total = steps
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        kept: Any = {
            "context": job.context, "on_step": on_step, "watch": job.watch, "checkpoint": job.checkpoint
        }  # fmt: skip
        if reward and job.sampled:
            run, earned = train_rlhf(model, job.train, reward.scorer, job.config, job.sampled, **kept)
            return run, reward.said(earned, job.held, "training" if job.held is job.train else "held-out")
        if job.template:
            objective = corrections_objective(job.train, job.warm_up)
            said = [corrector_said(job.template)]
            return train_on_preferences(model, job.train, objective, job.config, **kept), said
        return train_on_preferences(model, job.train, job.method, job.config, options=job.options, **kept), []
