"""Two ratios on SmolLM2-135M-Instruct, one thread each, by CPU seconds: nothing else on the machine moves them much.

    python tests/benchmarks/bench_real.py [--rows 64] [--tokens 64] [--repeats 3] [--model smollm2] [--csv FILE]

- the decoding engine's tokens per second over those of `model.generate`, the same number of rows (target: 3)
- a training step on a catalogue over its matrix products alone, the same shapes, measured in the same run (target: 2)

With the peak of resident memory (target: below 6 GiB). Each is the median over repetitions, the two sides in turn.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llm_validation.catalogue.head import REFRESH
from llm_validation.catalogue.measured import chat_tokens, item_answers
from llm_validation.catalogue.train import Task, minimise_tasks
from llm_validation.catalogue.trunk import Top, TopBlocks, TopPolicy
from llm_validation.commands.real import QUESTIONS
from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.model.model import Loaded, load
from llm_validation.training.schedule import Schedule

#: Steps that a training is longer than another: with them comes one sum over the unlikely rows of the head.
STEPS = REFRESH
#: Responses to each of five questions.
ITEMS = ("a blue boat", "an old map", "apple pie", "the red bicycle", "green tea", "a warm winter coat")


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process, for one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def decoding(loaded: Loaded, rows: int, tokens: int, repeats: int) -> tuple[list[float], list[float]]:
    """Tokens per CPU second of the engine and of `generate`, repetition by repetition."""
    model: Any = loaded.model
    prompt = chat_tokens(loaded.tokenizer, "Tell me about your best day at school.")
    texts = torch.tensor([prompt] * rows)

    def ours(seed: int) -> object:
        return best_of_n(model, [prompt], rows, lambda b: [0.0] * len(b.responses), Sampling(tokens, ()), seed=seed)

    def theirs() -> object:
        return model.generate(
            texts, attention_mask=torch.ones_like(texts), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            max_new_tokens=tokens, min_new_tokens=tokens, pad_token_id=0,
        )  # fmt: skip

    best_of_n(model, [prompt], rows, lambda b: [0.0] * len(b.responses), Sampling(2, ()), seed=0)  # warms up
    found = [(cpu_seconds(lambda: ours(seed)), cpu_seconds(theirs)) for seed in range(repeats)]  # noqa: B023
    return [rows * tokens / a for a, _ in found], [rows * tokens / b for _, b in found]


def products(nodes: int, positions: int, rows: int, config: Any) -> float:
    """CPU seconds of the matrix products of one step of `top:1`: forward, and both gradients where weights are trained.

    Queries, outputs and the MLP at the nodes, keys and values at all positions; the head's rows forward, and once more
    for the gradient in the states.
    """
    H, F = config.hidden_size, config.intermediate_size
    kv = config.num_key_value_heads * (H // config.num_attention_heads)
    shapes = [(nodes, H, H)] * 2 + [(positions, H, kv)] * 2 + [(nodes, H, F)] * 2 + [(nodes, F, H)]
    matrices = [(torch.randn(n, i), torch.randn(i, o), torch.randn(n, o)) for n, i, o in shapes]
    states, head = torch.randn(nodes, H), torch.randn(H, rows)

    def step() -> None:
        for x, w, g in matrices:
            x @ w, g @ w.T, x.T @ g
        (states @ head) @ head.T

    step()
    return statistics.median(cpu_seconds(step) for _ in range(5))


class Training:
    """Steps of `top:1` on a catalogue."""

    def __init__(self, loaded: Loaded) -> None:
        self.model: Any = loaded.model
        trie, base, top = item_answers(loaded, QUESTIONS, ITEMS).trie(), self.model.base_model, Top(1)
        self.blocks = TopBlocks(base, 1, top.trunk(self.model, trie), int(trie.node[:, 1].min()))
        self.reader: Any = TopPolicy(self.blocks, self.model.get_output_embeddings().weight, trie)
        rows = torch.arange(trie.tokens.numel()).view(trie.tokens.shape)
        schedule = Schedule(steps=1, rate=1e-5, record=10 * STEPS)
        self.task = Task(self.model, replace(trie, tokens=rows), lambda _, logs: logs[:, 0].sum(), schedule)

    def seconds(self, steps: int) -> float:
        task = replace(self.task, schedule=replace(self.task.schedule, steps=steps))
        self.reader.others.step = 0
        return cpu_seconds(lambda: minimise_tasks(self.reader, [self.reader], [task]))

    def step(self) -> tuple[float, float]:
        """CPU seconds of a step, and of its matrix products."""
        own = (self.seconds(1 + STEPS) - self.seconds(1)) / STEPS
        likely, _, rest = self.reader.others.parts
        trie = self.task.trie
        shared_out = len(likely) + len(rest) // REFRESH
        return own, products(len(trie.node), trie.tokens.numel(), shared_out, self.model.config)


def ratio(name: str, over: list[float], under: list[float], target: float) -> dict[str, float | str]:
    """The median ratio, repetition by repetition, printed beside both medians."""
    found = [a / b for a, b in zip(over, under, strict=True)]
    one, two, middle = (statistics.median(values) for values in (over, under, found))
    print(f"{name}: {one:.4g} over {two:.4g} is {middle:.2f} ({min(found):.2f} to {max(found):.2f}), target {target:g}",
          flush=True)  # fmt: skip
    return {"what": name, "over": round(one, 4), "under": round(two, 4), "ratio": round(middle, 3),
            "ratio_low": round(min(found), 3), "ratio_high": round(max(found), 3), "target": target}  # fmt: skip


def main() -> None:
    """Print both ratios and the peak of memory, and add them to a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="a table to add to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load(options.model)
    model: Any = loaded.model
    model.requires_grad_(False)
    training = Training(loaded)
    steps, bare = zip(*(training.step() for _ in range(options.repeats)), strict=True)
    table = [ratio("CPU seconds of a training step and of its matrix products", list(steps), list(bare), 2.0)]
    ours, theirs = decoding(loaded, options.rows, options.tokens, options.repeats)
    table.append(ratio(f"tokens/s of the engine and of generate, {options.rows} rows", ours, theirs, 3.0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB, target 6")
    if options.csv:
        about = {"model": options.model, "torch": torch.__version__, "threads": 1, "tokens": options.tokens}
        about |= {"repeats": options.repeats, "peak_gib": round(peak, 2), "load": round(os.getloadavg()[0], 1)}
        lines = pd.DataFrame([row | about for row in table])
        lines.to_csv(options.csv, mode="a", header=not options.csv.exists(), index=False)


if __name__ == "__main__":
    main()
