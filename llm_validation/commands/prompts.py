"""Prompts of a file, and a model that is to answer them: what `generate` and `correct` have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_validation.generation.engine import Sampling
from llm_validation.generation.stops import StopStrings, stop_tokens
from llm_validation.model.model import device, load
from llm_validation.model.text_boundaries import Message, TextBoundaries, Tokens, is_conversation
from llm_validation.preferences.files import check_there, in_short, is_object, kind_of, records_of, unit_of
from llm_validation.text.corpus import read_text

#: Ends of the names of files that are not plain text.
TABLES = {".jsonl", ".json", ".csv", ".parquet"}


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
                return self.read(prompt, place)
            turns = [{"role": "user", "content": prompt}]
        assert not isinstance(turns, str)
        try:
            text = self.texts.chat(turns)[0]
        except ValueError as error:
            raise ValueError(f"{place} {error}") from error
        return self.read(text, place, templated=True)

    def read(self, text: str, place: str, *, templated: bool = False) -> Tokens:
        """A text in tokens, or one that the chat template wrote.

        ValueError, naming `place`, for one that leaves no room for what is to be written.
        """
        tokens, more = self.texts.prompt(text, place, templated=templated), self.sampling.max_new_tokens
        context = getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        if context is not None and len(tokens) + more > context:
            raise ValueError(f"{place} has {len(tokens)} tokens, and with {more} more they are beyond the context of "
                             f"{context}")  # fmt: skip
        return tokens

    def text(self, tokens: Sequence[int]) -> str:
        """A response as text, without its end."""
        text: str = self.texts.tokenizer.decode(list(tokens), skip_special_tokens=True)
        stop = self.sampling.stop
        return stop.cut(text) if isinstance(stop, StopStrings) else text


def writer(name: str, tokens: int, temperature: float, *, top_p: float = 1.0, stop: Sequence[str] = ()) -> Writer:
    """A model by name or path. ValueError where there is none."""
    loaded = load(name).to(device())
    texts = TextBoundaries.of(loaded.tokenizer, loaded.model)
    ends, strings = stop_tokens(loaded.tokenizer, stop)
    stops = StopStrings(loaded.tokenizer, strings) if strings else None
    return Writer(loaded.model, texts, Sampling(tokens, (*texts.ends, *ends), temperature, top_p, stops))


def read_prompts(path: Path) -> list[tuple[int, str | list[Message]]]:
    """(line, prompt) of a text file, a prompt a line, or of a table or JSON objects (`TABLES`), the field "prompt": a
    text or messages.

    FileNotFoundError; ValueError, naming file and line: no prompt, an object without that field, JSON objects in what
    is read as text.
    """
    check_there(path, "prompts")
    found: list[tuple[int, str | list[Message]]]
    if kind_of(path) in TABLES:
        unit = unit_of(path)
        found = [(line, _prompt(record, f"{path}, {unit} {line}")) for line, record in records_of(path)]
    else:
        lines = re.split("\r\n|\r|\n", read_text(path))  # not splitlines: a prompt may hold U+2028 or a form feed
        found = [(line, text) for line, text in enumerate(lines, start=1) if text.strip()]
        if found and all(is_object(str(text)) for _, text in found):
            raise ValueError(f"{path} holds JSON objects, and its name says text: call it .jsonl")
    if not found:
        raise ValueError(f"{path} holds no prompt")
    return found


def _prompt(record: Mapping[str, Any], place: str) -> str | list[Message]:
    prompt = record.get("prompt")
    if prompt and isinstance(prompt, str):
        return prompt
    if is_conversation(prompt):
        return list(prompt)
    raise ValueError(f"{place}: no text or messages in field 'prompt'{instead(record, 'prompt')}")


def instead(record: Mapping[str, Any], field: str) -> str:
    """What is there in place of a text in a field."""
    if field in record:
        return f", but {in_short(record[field])}"
    return f"; it has {', '.join(map(repr, record)) or 'no field'}"
