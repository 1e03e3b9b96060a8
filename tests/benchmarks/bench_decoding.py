"""Decoding on a CPU: tokens per second of this engine, `model.generate` and llama.cpp, side by side in one run.

llama.cpp is no dependency of the package; without it its lines are left out. Install a binding that brings it built
(xllamacpp) in a folder of its own, and run from the repository root:

    .venv/bin/pip install --no-deps --target build/llama xllamacpp
    OMP_NUM_THREADS=1 PYTHONPATH=build/llama .venv/bin/python tests/benchmarks/bench_decoding.py [--csv FILE]

All sides get the same weights (`smollm2`, or --model), prompts and lengths, one thread, and draw from the whole
distribution with no end token; a time holds prompt and sampling. Repetitions alternate, the first warms up, the median
counts, and `low` and `high` are the extremes. For llama.cpp the weights are written to .gguf files in float32 and
Q8_0; first it must write the same greedy text as `generate` from the float32 file, else the exit status is 1. Its
requests are handed in at once and written side by side, a slot each.

`share` is that of the tokens per second that the machine's rates of the same run allow: the slower of the copy rate
(every weight is read once a step) and the matrix rate (2 FLOP a weight and token); above 1 for weights narrower than
float32. int8 is torch's dynamic quantisation of every linear map, activations included; `tokens_kept` is the share
of tokens that these weights also draw, at the same quantile after the same text in one pass: what the engine promises
is all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs without the package installed, too

from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.quantiles import sample
from llm_validation.generation.scorers import no_score
from llm_validation.generation.uniforms import uniforms
from llm_validation.model.fetch import fetched
from llm_validation.model.model import load
from llm_validation.training.device import DeviceRates, decoding_bound, matrix_parameters, measure_rates
from tests.oracles.gguf_file import write_model

try:
    import xllamacpp
except ImportError:
    xllamacpp = None

TEXT = "The history of the sea is the history of"


def ours(model: Any, prompt: list[int], rows: int, length: int) -> int:
    """Tokens written by this engine."""
    return best_of_n(model, [prompt], rows, no_score, Sampling(length, ()), seed=0).spent.generated


def generate(model: Any, prompt: list[int], rows: int, length: int) -> int:
    """Tokens written by transformers."""
    table = torch.tensor([prompt] * rows)
    written = model.generate(
        table,
        attention_mask=torch.ones_like(table),
        max_new_tokens=length,
        min_new_tokens=length,
        do_sample=True,
        top_k=0,
        pad_token_id=0,
    )
    return rows * (written.shape[1] - len(prompt))


class Llama:
    """llama.cpp with one thread on a .gguf file, with a slot for each of `rows` texts."""

    def __init__(self, path: Path, rows: int, context: int) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.n_parallel, params.n_ctx, params.verbosity = rows, rows * context, 0
        self.server, self.rows = xllamacpp.Server(params), rows

    def complete(self, prompt: list[int], length: int, temperature: float) -> Any:
        """One completion as llama.cpp answers it."""
        request = {"prompt": prompt, "n_predict": length, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        return self.server.handle_completions(request | {"min_p": 0.0, "ignore_eos": True, "cache_prompt": False})

    def write(self, prompt: list[int], length: int) -> int:
        """Tokens written side by side."""
        with ThreadPoolExecutor(self.rows) as pool:
            answers = list(pool.map(lambda _: self.complete(prompt, length, 1.0), range(self.rows)))
        return sum(answer["usage"]["completion_tokens"] for answer in answers)


def narrow(model: Any, loaded: Callable[[], Any]) -> dict[str, Any]:
    """The model with narrower weights."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated", DeprecationWarning)  # still there
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)  # likewise
        int8 = torch.ao.quantization.quantize_dynamic(loaded(), {torch.nn.Linear}, dtype=torch.qint8)
    return {"int8": int8, "bfloat16": loaded().to(torch.bfloat16)}


@torch.inference_mode()
def tokens_kept(model: Any, other: Any, prompt: list[int], rows: int, length: int) -> float:
    """Share of the tokens of `model` that `other` draws too, at the same quantiles after the same texts."""
    written = best_of_n(model, [prompt], rows, no_score, Sampling(length, ()), seed=0).tokens
    texts = torch.as_tensor(np.hstack([np.tile(prompt, (rows, 1)), written.reshape(rows, length)]))
    logits = other(texts[:, :-1]).logits[:, len(prompt) - 1 :]
    drawn = [sample(logits[:, t], 1.0, torch.as_tensor(uniforms(0, [0], t, rows)[0])).numpy() for t in range(length)]
    return float(np.mean(np.stack(drawn, axis=1) == written.reshape(rows, length)))


def compare(sides: dict[str, Callable[[], int]], repeats: int) -> dict[str, list[float]]:
    """Tokens per second of each side, repetitions alternating; the first is left out."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, work in sides.items():
            start = time.perf_counter()
            tokens = work()
            if repeat:
                rates[name].append(tokens / (time.perf_counter() - start))
    return rates


def bound(model: Any, rows: int, cached: int, rates: DeviceRates) -> float:
    """Tokens per second that the copy rate and the matrix rate allow."""
    return min(decoding_bound(model, rows, rows * cached, rates), rates.flops / (2.0 * matrix_parameters(model)))


def main() -> int:
    """Print the table; 1 if llama.cpp does not hold the same model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--length", type=int, nargs="+", default=[32, 8], help="tokens, for each batch")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load(fetched(options.model))
    model, tokenizer = loaded.model.eval(), loaded.tokenizer
    prompt = tokenizer(TEXT)["input_ids"]
    others = narrow(model, lambda: load(fetched(options.model)).model.eval())
    kept = {name: tokens_kept(model, other, prompt, 16, 16) for name, other in (("float32", model), *others.items())}
    rows_of_table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        if xllamacpp is not None:
            files = {"llama.cpp float32": Path(folder) / "f32.gguf", "llama.cpp Q8_0": Path(folder) / "q8.gguf"}
            base = model.config.rope_parameters["rope_theta"]
            for path, kind in zip(files.values(), (None, gguf.GGMLQuantizationType.Q8_0), strict=True):
                write_model(path, model, tokenizer, base, kind)
            if not same_text(model, tokenizer, files["llama.cpp float32"], prompt):
                print("llama.cpp does not write the greedy text of the same weights: nothing is compared")
                return 1
        for batch, length in zip(options.batch, options.length, strict=True):
            sides = {
                "ours float32": partial(ours, model, prompt, batch, length),
                "generate float32": partial(generate, model, prompt, batch, length),
                **{f"ours {name}": partial(ours, other, prompt, batch, length) for name, other in others.items()},
            }
            for name, path in files.items():
                sides[name] = partial(Llama(path, batch, len(prompt) + length + 16).write, prompt, length)
            rates = measure_rates(torch.device("cpu"))
            allowed = bound(model, batch, len(prompt) + length, rates)
            rows_of_table += table(compare(sides, options.repeats), batch, allowed, rates, kept)
    frame = pd.DataFrame(rows_of_table)
    print(frame.to_string(index=False))
    if options.csv:
        frame.to_csv(options.csv, index=False, float_format="%.4g")
    return 0


def same_text(model: Any, tokenizer: Any, path: Path, prompt: list[int]) -> bool:
    """Whether llama.cpp goes on with the same twelve most probable tokens."""
    written = model.generate(torch.tensor([prompt]), do_sample=False, min_new_tokens=12, max_new_tokens=12)
    text = Llama(path, 1, len(prompt) + 32).complete(prompt, 12, 0.0)["choices"][0]["text"]
    return bool(text == tokenizer.decode(written[0, len(prompt) :]))


def table(
    speeds: dict[str, list[float]], batch: int, allowed: float, rates: DeviceRates, kept: dict[str, float]
) -> list[dict[str, Any]]:
    """A row per side."""
    base = statistics.median(speeds["ours float32"])
    return [
        {
            "side": name,
            "batch": batch,
            "tokens_per_second": statistics.median(values),
            "low": min(values),
            "high": max(values),
            "to_ours": statistics.median(values) / base,
            "share": statistics.median(values) / allowed,
            "tokens_kept": kept.get(name.removeprefix("ours "), np.nan),
            "matrix_gflops": rates.flops / 1e9,
            "copy_gbytes": rates.copy / 1e9,
            "load": os.getloadavg()[0],
        }
        for name, values in speeds.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
