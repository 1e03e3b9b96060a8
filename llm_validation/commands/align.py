"""The command that aligns a model of the user's own on preferences of the user's own.

    python -m llm_validation align --method dpo --model PATH_OR_NAME --data FILE.jsonl --out FOLDER

FILE holds pairs {"prompt", "chosen", "rejected"} or examples {"prompt", "completion", "label"}, texts or messages
(.jsonl, .json, .csv, .parquet; `llm_validation.preferences.files`). FOLDER gets
the trained model with its tokenizer (safetensors) and `alignment.json`: the settings, every step's loss, tokens/s.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from llm_validation.losses.options import check_options
from llm_validation.model.folders import replacing, write
from llm_validation.model.model import device, load
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Preferences, read_preferences
from llm_validation.preferences.train import PreferenceRun, PreferenceTraining, train_on_preferences, trainable
from llm_validation.training.loop import TrainingDiverged
from simulate.numbers import Parser, count, positive, seed

RECORD = "alignment.json"


def align_main(arguments: list[str]) -> int:
    """Command line; exit status 0, 1 if training diverged (nothing is written), 2 for input that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        _align(options)
    except TrainingDiverged as error:
        print(f"align: {error}; nothing was written. Try a lower --rate", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"align: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    preset = PreferenceTraining(seed=0)
    parser = Parser(prog="python -m llm_validation align", description="Train a causal language model on preferences.")
    parser.add_argument("--method", required=True, choices=trainable())
    parser.add_argument("--model", required=True, help="a causal language model by name or path")
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="jsonl of pairs or labelled examples")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="a new folder for the trained model")
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
    parser.add_argument("--seed", type=seed, default=0, help="order of the batches (%(default)s)")
    return parser


def _align(options: argparse.Namespace) -> None:
    if options.out.exists():
        raise ValueError(f"{options.out} exists already: name a folder that does not")
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
    given = {name: getattr(options, name) for name in ("kl_beta", "alpha", "generator")}
    loss_options = {name: value for name, value in given.items() if value is not None}
    check_options(options.method, loss_options, anyway=options.anyway)
    loaded = load(options.model)
    context = _context(options, loaded.model)
    data = read_preferences(options.data, TextBoundaries.of(loaded.tokenizer, loaded.model), context)
    run = _train(loaded.model.to(device()), data, options.method, config, loss_options, context)  # type: ignore[arg-type]
    record = {
        "method": options.method,
        "model": options.model,
        "data": str(options.data),
        "chosen": len(data.chosen),
        "rejected": len(data.rejected),
        "context": context,
        "options": loss_options,
        **asdict(config),
        "layout": run.layout,
        "tokens_per_second": run.tokens_per_second,
        "seconds": run.seconds,
        "reference_seconds": run.reference_seconds,
        "loss": run.loss.tolist(),
        "grad_norm": run.grad_norm.tolist(),
    }
    with replacing(options.out) as partial:
        write(loaded.model, loaded.tokenizer, partial)
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    print(
        f"{options.method}: loss {run.loss[0]:.4f} at the first step, {run.loss[-1]:.4f} at the last of "
        f"{len(run.loss)}; {run.tokens_per_second:.0f} tokens/s; {options.out}"
    )


def _train(
    model: Any, data: Preferences, method: str, config: PreferenceTraining, options: dict[str, Any], context: int
) -> PreferenceRun:
    """Train with a progress bar on stderr."""
    with tqdm(desc=method, unit="step", disable=None) as bar:

        def on_step(step: int, steps: int, loss: float) -> None:
            bar.total = steps
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        return train_on_preferences(model, data, method, config, options=options, context=context, on_step=on_step)


def _context(options: argparse.Namespace, model: torch.nn.Module) -> int:
    """--context, checked against what the model says; ValueError if neither says anything."""
    limit: int | None = getattr(model.config, "max_position_embeddings", None)
    context: int | None = limit if options.context is None else options.context
    if context is None:
        raise ValueError(f"{options.model} does not say how long its context is: give --context")
    if limit is not None and context > limit:
        raise ValueError(f"--context {context} is more than the {limit} positions of {options.model}")
    return context
