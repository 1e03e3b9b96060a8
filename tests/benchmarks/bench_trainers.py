"""Training on preferences against the trainers of TRL: DPO and KTO, tokens per second, in one run.

TRL is no dependency of the package: without it there is nothing to compare, which is said. Install it beside the
project's environment, in a folder of this name (dill, which
comes with it, takes modules elsewhere for the user's own and tries to pickle them):

    .venv/bin/pip install --no-deps --target build/trl/site-packages \\
        trl==1.16.0 datasets pyarrow dill multiprocess xxhash
    OMP_NUM_THREADS=1 PYTHONPATH=build/trl/site-packages .venv/bin/python tests/benchmarks/bench_trainers.py

Both sides get the same model, texts, batch size, epochs, optimiser (fused AdamW, no decay, clip 1) and precision, pad
to the longest of a batch, compute reference log-probabilities beforehand, and neither checkpoints gradients, logs,
evaluates or saves. KTO has z₀ from mismatched completions on both sides. Repetitions alternate between the two, the
first warms up, the median counts; each repetition starts from the same weights. First the losses of several steps
on one batch are compared, step by step, and a difference above 1e-5 makes the exit status 1. Where the definitions
are not the same: KTO of TRL is the mean over examples and ours the sum of two class means, so ours is twice theirs
where the classes are alike, and half of it is compared; mismatched completions are drawn differently, so steps count up
to the first one where TRL's z₀ or ours is positive. `--csv FILE` adds rows to a table.

Tokens are those of prompts and completions, ends included, without padding or mismatched completions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without the package installed, too

from llm_validation.model.model import build, device
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Preferences, read_preferences
from llm_validation.preferences.train import PreferenceTraining, train_on_preferences

try:
    import trl
    from datasets import Dataset, disable_progress_bars
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
except ImportError as error:
    print(f"skipped, {error}: this benchmark compares with TRL, which is not installed here.\n{__doc__}")
    sys.exit(0)

RATE, END = 1e-4, "<end>"
#: Steps whose losses are compared, and how far they may be apart.
STEPS, SAME = 5, 1e-5


def tokenizer(words: int) -> PreTrainedTokenizerFast:
    """One token a word, w2 … : prompt and completion have the same tokens apart and together."""
    vocabulary = {END: 0, "<pad>": 1, **{f"w{i}": i for i in range(2, words)}}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, pad_token="<pad>")


def texts(count: int, prompt: int, completion: int, words: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """Pairs whose parts have from half of `prompt`, `completion` words to all of them."""

    def text(longest: int) -> str:
        size = rng.integers(longest // 2, longest + 1)
        return "".join(f" w{i}" for i in rng.integers(2, words, size))

    return [
        {"prompt": text(prompt).strip(), "chosen": text(completion), "rejected": text(completion)} for _ in range(count)
    ]


def unpaired(pairs: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The same completions as examples. Good and bad ones alternate, so that batches have as many of each; a pair's
    two are half the file apart, so that TRL's mismatched completions belong to other prompts."""
    half = len(pairs) // 2
    return [
        {"prompt": pairs[i]["prompt"], "completion": pairs[i][field], "label": field == "chosen"}
        for k in range(len(pairs))
        for i, field in ((k, "chosen"), ((k + half) % len(pairs), "rejected"))
    ]


class Bench:
    """One method on both sides; a run gives the seconds of set-up and of training, and the losses."""

    def __init__(self, method: str, rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
        self.method, self.rows, self.options = method, rows, options
        self.tokenizer = tokenizer(options.vocabulary)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.jsonl"
            path.write_text("\n".join(map(json.dumps, rows)))
            self.data: Preferences = read_preferences(path, TextBoundaries.of(self.tokenizer), options.context)
        self.tokens = sum(map(len, self.data.examples))

    def model(self) -> Any:
        return build(self.options.size, self.options.vocabulary, self.options.context, seed=0).to(device())

    def ours(self, epochs: int, warmup: float = 0.1, shift: Any = None) -> tuple[float, float, list[float]]:
        config = PreferenceTraining(
            seed=0, epochs=epochs, batch=self.options.batch, rate=RATE, warmup=warmup, shift=shift,
            share=not self.options.no_sharing,
        )  # fmt: skip
        model = self.model()
        _wait()
        started = time.perf_counter()
        run = train_on_preferences(model, self.data, self.method, config)
        _wait()
        # plans, mismatched completions and the check of the layout count as training here
        seconds = time.perf_counter() - started - run.reference_seconds
        return run.reference_seconds, seconds, run.loss.tolist()

    def theirs(self, epochs: int, log: bool = False) -> tuple[float, float, list[dict[str, float]]]:
        Config, Trainer = (DPOConfig, DPOTrainer) if self.method == "dpo" else (KTOConfig, KTOTrainer)
        model, dataset = self.model(), Dataset.from_list(self.rows)
        with tempfile.TemporaryDirectory() as folder:
            config = Config(
                output_dir=folder,
                per_device_train_batch_size=self.options.batch,
                num_train_epochs=epochs,
                learning_rate=RATE,
                lr_scheduler_type="cosine_with_min_lr",  # as ours
                lr_scheduler_kwargs={"min_lr_rate": 0.01},
                optim="adamw_torch_fused",
                weight_decay=0.0,
                max_grad_norm=1.0,
                beta=0.1,
                max_length=None,
                precompute_ref_log_probs=True,
                gradient_checkpointing=False,
                bf16=device().type == "cuda",
                use_cpu=device().type == "cpu",
                dataloader_pin_memory=False,
                logging_strategy="steps" if log else "no",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=0,
            )
            _wait()
            started = time.perf_counter()
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                trainer = Trainer(model=model, args=config, train_dataset=dataset, processing_class=self.tokenizer)
                made = time.perf_counter()
                trainer.train()
                _wait()
                ended = time.perf_counter()
        return made - started, ended - made, [entry for entry in trainer.state.log_history if "loss" in entry]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def largest_difference(method: str, rows: list[dict[str, Any]], options: argparse.Namespace) -> tuple[float, int]:
    """Of the losses of steps on one batch, printed side by side, and how many steps have one definition."""
    bench = Bench(method, rows[: options.batch], options)
    logged = bench.theirs(STEPS, log=True)[2]
    mine, other = np.array(bench.ours(STEPS, warmup=0.0)[2]), np.array([entry["loss"] for entry in logged])
    steps = STEPS
    if method == "kto":
        mine = mine / 2
        unshifted = np.array(bench.ours(STEPS, warmup=0.0, shift="zero")[2]) / 2
        free = (np.abs(mine - unshifted) < 1e-7) & np.array([entry.get("kl", 0.0) == 0.0 for entry in logged])
        steps = STEPS if free.all() else int(free.argmin())
    print(f"{method}: losses of {STEPS} steps on one batch, {steps} of one definition" + "; halved" * (method == "kto"))
    for name, values in (("ours", mine), ("TRL", other)):
        print(f"  {name:5s}" + " ".join(f"{value:.6f}" for value in values))
    return float(np.abs(mine - other)[:steps].max()), steps


def compare(method: str, rows: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, float]:
    """Alternate, take medians, print; the speeds and their ratio."""
    bench, found = Bench(method, rows, options), ([], [])
    for repeat in range(options.repeats + 1):
        for side in (0, 1) if repeat % 2 else (1, 0):
            setup, seconds, _ = (bench.theirs if side else bench.ours)(options.epochs)
            if repeat:
                found[side].append((setup, seconds))
    tokens = bench.tokens * options.epochs
    speed = [[tokens / seconds for _, seconds in runs] for runs in found]
    for name, values, runs in zip(("ours", "TRL"), speed, found, strict=True):
        before = statistics.median(setup for setup, _ in runs)
        print(
            f"  {name:5s} {statistics.median(values):9.0f} tokens/s  ({min(values):.0f} to {max(values):.0f}); "
            f"before training {before:.2f} s"
        )
    pairwise = [a / b for a, b in zip(*speed, strict=True)]
    print(f"  ratio {statistics.median(speed[0]) / statistics.median(speed[1]):9.2f}", end="  ")
    print(f"(repetition by repetition {min(pairwise):.2f} to {max(pairwise):.2f})")
    mine, other = (round(statistics.median(values), 1) for values in speed)
    low, high = (round(value, 3) for value in (min(pairwise), max(pairwise)))
    return {"ours_tokens_per_second": mine, "trl_tokens_per_second": other, "ratio": round(mine / other, 3),
            "ratio_low": low, "ratio_high": high}  # fmt: skip


def main() -> int:
    """Print the comparison for DPO and for KTO; 1 where losses of one definition differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--prompt", type=int, default=64, help="words of the longest prompt")
    parser.add_argument("--completion", type=int, default=64, help="words of the longest completion")
    parser.add_argument("--batch", type=int, default=8, help="pairs (DPO) or examples (KTO) per step")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=("dpo", "kto"), default=["dpo", "kto"])
    parser.add_argument("--no-sharing", action="store_true", help="run the prompt of a pair twice, as TRL does")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table to add to")
    options = parser.parse_args()
    disable_progress_bars()
    logging.set_verbosity_error()
    pairs = texts(
        options.pairs, options.prompt, options.completion, options.vocabulary, np.random.default_rng(20260101)
    )
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} thread(s)"
    precision = "bf16 autocast" if device().type == "cuda" else "float32"
    print(
        f"{options.size}, vocabulary {options.vocabulary}, {options.pairs} pairs, batch {options.batch}, {precision}, "
        f"{where}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    table = []
    for method in options.methods:
        rows = pairs if method == "dpo" else unpaired(pairs)
        off, steps = largest_difference(method, rows, options)
        speeds = compare(method, rows, options)
        table.append({
            "method": method, "trl": trl.__version__, "torch": torch.__version__, "size": options.size,
            "pairs": options.pairs, "prompt": options.prompt, "completion": options.completion, "batch": options.batch,
            "device": where, "steps_compared": steps, "largest_difference": f"{off:.2g}", **speeds,
            "load": round(os.getloadavg()[0], 1),
        })  # fmt: skip
    if options.csv:
        pd.DataFrame(table).to_csv(options.csv, mode="a", header=not options.csv.exists(), index=False)
    apart = [row["method"] for row in table if not float(row["largest_difference"]) <= SAME]
    if apart:
        print(f"losses of {', '.join(apart)} are more than {SAME:g} apart")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
