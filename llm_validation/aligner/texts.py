"""The Aligner on a user's own texts: what a corrector reads, files of corrections, and what it is trained on.

    {"prompt": …, "answer": …, "correction": …}   or pairs, where the chosen one corrects the rejected one

A corrector reads prompt and answer in a template, by default that of Ji et al. (arXiv 2402.02416) in the tokenizer's
chat template, or `{prompt}{answer} >` where there is none; the template is kept beside the trained model. Training is
cross-entropy of the correction given prompt and answer, after a warm-up on the answers themselves:

    warm-up       −E log μ(o | x, o)     a corrector that copies
    corrections   −E log μ(c | x, o)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.model.text_boundaries import Message, TextBoundaries
from llm_validation.preferences.data import Batch, Preferences, epoch_batches, pair_of
from llm_validation.preferences.files import PairOfTexts, check_there, records_of, unit_of
from llm_validation.preferences.objectives import Objective, PreferenceTraining

TEMPLATE_FILE = "aligner.json"
CHAT = "Edit the following Question-Answer pair to make it more helpful and harmless: {prompt} | {answer}"
PLAIN = "{prompt}{answer} >"


@dataclass(frozen=True)
class Template:
    """A text with `{prompt}` and `{answer}`; `chat`: it is a user's message in the tokenizer's chat template."""

    text: str
    chat: bool

    def __post_init__(self) -> None:
        for name in ("{prompt}", "{answer}"):
            if self.text.count(name) != 1:
                raise ValueError(f"a corrector's template must hold {name} once, got {self.text!r}")

    @classmethod
    def of(cls, texts: TextBoundaries, text: str | None = None) -> Template:
        """The given text, or the default, for a tokenizer."""
        chat = bool(getattr(texts.tokenizer, "chat_template", None))
        default = CHAT if chat else PLAIN
        return cls(default if text is None else text, chat)

    @classmethod
    def read(cls, folder: str | Path) -> Template:
        """The template kept beside a corrector. ValueError for a folder without one, or a file that holds none."""
        path = Path(folder) / TEMPLATE_FILE
        if not path.is_file():
            raise ValueError(
                f"{str(folder)!r} holds no corrector of align --method aligner: there is no {TEMPLATE_FILE}"
            )
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no corrector's template: {error}") from None

    def write(self, folder: Path) -> None:
        """Beside a corrector."""
        (folder / TEMPLATE_FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    def render(self, texts: TextBoundaries, prompt: str, answer: str) -> str:
        """What the corrector reads."""
        filled = re.sub(r"\{(prompt|answer)\}", lambda found: prompt if found[1] == "prompt" else answer, self.text)
        return texts.chat([{"role": "user", "content": filled}])[0] if self.chat else filled


def plain(value: Any, field: str, place: str) -> str:
    """A text, or the contents of messages; of one message its content. ValueError names place and field."""
    if isinstance(value, str):
        return value
    turns: Sequence[Message] = value if isinstance(value, list) else []
    if not turns or not all(isinstance(t, Mapping) and isinstance(t.get("content"), str) for t in turns):
        raise ValueError(f"{place}: field {field!r} must be a text or messages")
    return turns[0]["content"] if len(turns) == 1 else "\n".join(f"{t.get('role')}: {t['content']}" for t in turns)


def read_corrections(path: Path, texts: TextBoundaries, template: Template, context: int) -> Preferences:
    """Pairs after one text of the corrector's: chosen is the correction, rejected the answer copied. Several answers to
    one question are told to be that (`Example.asked`).

    FileNotFoundError; ValueError names the line, as `llm_validation.preferences.data.read_preferences` does.
    """
    check_there(path, "corrections")
    pairs, unit = [], unit_of(path)
    for line, record in records_of(path):
        place = f"{path}, {unit} {line}"
        names = ("prompt", "correction", "answer") if "answer" in record else ("prompt", "chosen", "rejected")
        missing = [name for name in names if name not in record]
        if missing:
            raise ValueError(f"{place}: no field {missing[0]!r}; it has {', '.join(map(repr, record))}")
        prompt = plain(record["prompt"], "prompt", place)
        correction, answer = (last_said(record[name], name, place) for name in names[1:])
        read = template.render(texts, prompt, answer)
        pair = pair_of(PairOfTexts(place, line, read, template.chat, correction, answer), texts, context, same=True)
        pairs.append([replace(example, asked=prompt) for example in pair])
    if not pairs:
        raise ValueError(f"{path} holds no corrections")
    chosen, rejected = zip(*pairs, strict=True)
    return Preferences(str(path), chosen, rejected, paired=True, unit=unit)


def last_said(value: Any, field: str, place: str) -> str:
    """A text, or the last message's content."""
    return plain(value[-1:] if isinstance(value, list) else value, field, place)


@dataclass(eq=False, kw_only=True)
class Corrections(Objective):
    """Cross-entropy of corrections, after `warm_up` steps on answers copied; a batch of `pairs` holds one side."""

    pairs: Preferences
    warm_up: int

    def plan(self, config: PreferenceTraining) -> list[Batch]:
        """The warm-up, then the corrections of all epochs."""
        steps = [
            rows for epoch in range(config.epochs)
            for rows, _ in epoch_batches(self.pairs, config.batch, config.seed, epoch)
        ]  # fmt: skip
        nothing = np.zeros(0, dtype=np.int64)
        copies = [steps[i % len(steps)] for i in range(self.warm_up)]
        return [(nothing, rows) for rows in copies] + [(rows, nothing) for rows in steps]


def corrections_objective(data: Preferences, warm_up: int) -> Corrections:
    """The objective of a corrector on `read_corrections`."""
    return Corrections(data=replace(data, paired=False), pairs=data, function=cross_entropy, warm_up=warm_up)


def cross_entropy(
    policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor
) -> Tensor:
    """−mean log π of the examples there are, nats a text; a batch has one side."""
    return -torch.cat([policy_chosen, policy_rejected]).mean()
