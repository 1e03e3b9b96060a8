"""Toy preferences for tests: a tokenizer of forty words, a small model, pairs that are easy to tell apart, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from llm_validation.commands import generate
from llm_validation.model.model import build
from llm_validation.preferences.data import Example, Preferences

WORDS, CONTEXT = 40, 32


def word_tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({"<end>": 0, "<pad>": 1, **{f"w{i}": i for i in range(2, WORDS)}}, "<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<pad>")


def model() -> torch.nn.Module:
    return build("smoke", WORDS, CONTEXT, seed=0).eval()


def preferences(pairs: int = 10, seed: int = 0) -> Preferences:
    """Pairs that are easy to tell apart: chosen words are below 20, rejected ones above; lengths differ."""
    rng = np.random.default_rng(seed)

    def words(low: int, high: int, longest: int) -> tuple[int, ...]:
        return tuple(rng.integers(low, high, rng.integers(1, longest + 1)).tolist())

    prompts = [words(2, WORDS, 9) for _ in range(pairs)]
    chosen = [Example(x, (*words(2, 20, 8), 0), i + 1) for i, x in enumerate(prompts)]
    rejected = [Example(x, (*words(20, WORDS, 8), 0), i + 1) for i, x in enumerate(prompts)]
    return Preferences("toy", tuple(chosen), tuple(rejected), paired=True)


def naive(net: torch.nn.Module, example: Example) -> torch.Tensor:
    """One row, no padding, the model's own logits, a loop over the completion: the oracle."""
    tokens = torch.tensor([example.prompt + example.completion])
    logs = torch.log_softmax(net(input_ids=tokens).logits[0], -1)
    first = len(example.prompt)
    return sum((logs[first + k - 1, token] for k, token in enumerate(example.completion)), torch.zeros(()))


#: Twenty pairs of records; chosen words are below 20, rejected ones above.
PAIRS = [{"prompt": f"w{i} w{i + 1}", "chosen": f" w{i % 9 + 2}", "rejected": f" w{i % 9 + 22} w30"}
         for i in range(2, 22)]  # fmt: skip
PAIR = {"prompt": "w2 w3", "chosen": " w4", "rejected": " w5 w6"}
GOOD, BAD = ({"prompt": "w2", "completion": " w7", "label": label} for label in (True, False))


def written(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
    return path


def killed_at(number: int, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command `generate`, killed when it comes to a batch."""
    real = generate._run

    def killed(options, writes, batch, fresh, own):
        if own == number:
            raise KeyboardInterrupt
        return real(options, writes, batch, fresh, own)

    with monkeypatch.context() as patched:
        patched.setattr(generate, "_run", killed)
        with pytest.raises(KeyboardInterrupt):
            generate.generate_main(words)
