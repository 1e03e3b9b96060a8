"""Prompts of a file, and a model that is to answer them: what `generate` and `correct` have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_validation.generation.engine import Sampling
from llm_validation.generation.stops import StopStrings
from llm_validation.model.model import device, load
from llm_validation.model.text_boundaries import Message, TextBoundaries, Tokens
from llm_validation.preferences.files import records_of


@dataclass(frozen=True)
class Writer:
    """A model on this machine's device, where its texts begin and end, and how it writes."""

    model: Any
    texts: TextBoundaries
    sampling: Sampling

    def asked(self, prompt: str | list[Message], raw: bool, place: str) -> Tokens:
        """A prompt in tokens: messages, and a text unless `raw`, by the chat template where there is one."""
        turns = prompt
        if isinstance(prompt, str):
            if raw or not getattr(self.texts.tokenizer, "chat_template", None):
                return self.texts.prompt(prompt, place)
            turns = [{"role": "user", "content": prompt}]
        assert not isinstance(turns, str)
        return self.texts.prompt(self.texts.chat(turns)[0], place)

    def text(self, tokens: Sequence[int]) -> str:
        """A response as text, without its end."""
        text: str = self.texts.tokenizer.decode(list(tokens), skip_special_tokens=True)
        stop = self.sampling.stop
        return stop.cut(text) if isinstance(stop, StopStrings) else text


def writer(name: str, tokens: int, temperature: float, *, top_p: float = 1.0, stop: Sequence[str] = ()) -> Writer:
    """A model by name or path. ValueError where there is none."""
    loaded = load(name)
    model: Any = loaded.model
    model, texts = model.to(device()), TextBoundaries.of(loaded.tokenizer, loaded.model)
    stops = StopStrings(loaded.tokenizer, tuple(stop)) if stop else None
    return Writer(model, texts, Sampling(tokens, texts.ends, temperature, top_p, stops))


def read_prompts(path: Path) -> list[tuple[int, str | list[Message]]]:
    """(line, prompt) of a text file, a prompt a line, or of .jsonl, the field "prompt": a text or messages.

    ValueError, naming file and line: no prompt, or an object without that field.
    """
    if ".jsonl" not in path.suffixes:
        lines = list(enumerate(path.read_text(encoding="utf-8").splitlines(), start=1))
        found: list[tuple[int, str | list[Message]]] = [(number, line) for number, line in lines if line.strip()]
    else:
        found = []
        for number, record in records_of(path):
            prompt = record.get("prompt")
            if not isinstance(prompt, str | list) or not prompt:
                there = ", ".join(map(repr, record)) or "no field"
                raise ValueError(f"{path}, line {number}: no text or messages in field 'prompt'; the line has {there}")
            found.append((number, prompt))
    if not found:
        raise ValueError(f"{path} holds no prompt")
    return found
