"""Preference data of a user's own: a jsonl file of pairs or of labelled examples, in tokens, in shuffled batches.

    {"prompt": …, "chosen": …, "rejected": …}          pairs: two completions of one prompt
    {"prompt": …, "completion": …, "label": true}      examples: one completion, good or bad

Prompt and completion are tokenised apart, so that a completion begins at a token boundary. A text is the tokenizer's
beginning-of-text token (if it has one), the prompt, the completion and end-of-text; special tokens that a chat template
wrote into the texts are read as such, and none of the two is added where it stands already. Nothing is cut off.

Shapes: C chosen and R rejected examples, N = C + R.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.text.corpus import json_objects, read_text
from simulate.montecarlo import generator

Index = NDArray[np.int64]

PAIR_FIELDS = {"prompt": str, "chosen": str, "rejected": str}
EXAMPLE_FIELDS = {"prompt": str, "completion": str, "label": bool}


@dataclass(frozen=True)
class Example:
    """A prompt and one completion, in tokens, end-of-text included; at least one token each. `line` of the file."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    line: int

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, eq=False)
class Preferences:
    """Chosen (C,) and rejected (R,) examples; paired: C = R, and chosen[i], rejected[i] share their prompt.

    source  where they come from, for messages
    """

    source: str
    chosen: tuple[Example, ...]
    rejected: tuple[Example, ...]
    paired: bool

    def __post_init__(self) -> None:
        for name, examples in (("chosen", self.chosen), ("rejected", self.rejected)):
            if not examples:
                raise ValueError(f"{self.source} has no {name} examples: every loss here needs both classes")
        if self.paired:
            for one, other in zip(self.chosen, self.rejected, strict=True):
                if one.prompt != other.prompt:
                    raise ValueError(f"{self.source}, line {one.line}: a pair with two prompts")

    @property
    def examples(self) -> tuple[Example, ...]:
        """All N, the chosen ones first."""
        return self.chosen + self.rejected


# reading


def read_preferences(path: str | Path, tokenizer: Any, context: int) -> Preferences:
    """Pairs or labelled examples of a jsonl file (UTF-8, plain or .gz, blank lines passed over), in tokens.

    context  longest text in tokens, all included
    The first line decides whether the file holds pairs or examples. FileNotFoundError names a file that is not there;
    ValueError the line and the field: not JSON, a field that is missing, unknown to the format or of another type, a
    prompt without tokens, an empty completion, two equal completions, a text longer than the context; and a file
    without lines or without one of the two classes.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no such file of preferences: {source}")
    records = list(json_objects(source, read_text(source)))
    if not records:
        raise ValueError(f"{source} holds no preferences")
    paired = "label" not in records[0][1] and "completion" not in records[0][1]
    for line, record in records:
        _check(record, PAIR_FIELDS if paired else EXAMPLE_FIELDS, f"{source}, line {line}")
    encode = _Encoder(source, tokenizer, context, records)
    if paired:
        chosen, rejected = encode("chosen"), encode("rejected")
        for one, other in zip(chosen, rejected, strict=True):
            if one.completion == other.completion:
                raise ValueError(f"{source}, line {one.line}: chosen and rejected are the same")
        return Preferences(str(source), chosen, rejected, paired=True)
    every = encode("completion")
    good = [record["label"] for _, record in records]
    chosen, rejected = (
        tuple(example for example, label in zip(every, good, strict=True) if label is side) for side in (True, False)
    )
    return Preferences(str(source), chosen, rejected, paired=False)


def _check(record: Mapping[str, Any], fields: Mapping[str, type], place: str) -> None:
    """Every field is there with its type; further fields are left alone, but not those of the other format."""
    for field, kind in fields.items():
        if field not in record:
            there = ", ".join(map(repr, record)) or "no field"
            raise ValueError(f"{place}: no field {field!r} (this file has {', '.join(fields)}); the line has {there}")
        if not isinstance(record[field], kind):
            wanted = "a string" if kind is str else "true or false"
            raise ValueError(f"{place}: field {field!r} must be {wanted}, got {type(record[field]).__name__}")
    other = PAIR_FIELDS if fields is EXAMPLE_FIELDS else EXAMPLE_FIELDS
    if foreign := sorted(record.keys() & (other.keys() - fields.keys())):
        raise ValueError(
            f"{place}: field {foreign[0]!r} in a file of {', '.join(fields)}: pairs and examples are mixed"
        )


class _Encoder:
    """One column of completions in tokens, each with its prompt; prompts are tokenised once."""

    def __init__(
        self, source: Path, tokenizer: Any, context: int, records: Sequence[tuple[int, dict[str, Any]]]
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no end-of-text token: completions would have no end")
        self.source, self.tokenizer, self.context, self.records = source, tokenizer, context, records
        self.prompts = self._column("prompt")

    def __call__(self, field: str) -> tuple[Example, ...]:
        columns = zip(self.records, self.prompts, self._column(field), strict=True)
        return tuple(self._example(line, prompt, ids, field) for (line, _), prompt, ids in columns)

    def _column(self, field: str) -> list[list[int]]:
        texts = [record[field] for _, record in self.records]
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    def _example(self, line: int, prompt: list[int], completion: list[int], field: str) -> Example:
        place, begin, end = f"{self.source}, line {line}", self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if not completion:
            raise ValueError(f"{place}: field {field!r} is empty")
        if begin is not None and prompt[:1] != [begin]:
            prompt = [begin, *prompt]
        if not prompt:
            raise ValueError(f"{place}: field 'prompt' is empty, and the tokenizer has no beginning-of-text token")
        if completion[-1] != end:
            completion = [*completion, end]
        if (size := len(prompt) + len(completion)) > self.context:
            raise ValueError(f"{place}: prompt and {field} have {size} tokens, the context {self.context}")
        return Example(tuple(prompt), tuple(completion), line)


# the order of training


def epoch_batches(data: Preferences, batch: int, seed: int, epoch: int) -> list[tuple[Index, Index]]:
    """The batches of one epoch, (indices into chosen, indices into rejected) each: a function of (seed, epoch) alone.

    batch  pairs, or examples of both classes together; every example comes once in an epoch
    Pairs stay together, and the last batch may be smaller. Without pairs each class is dealt evenly over the fewest
    batches that hold everything, so that no batch lacks a class. ValueError where a class is too small for that.
    """
    if batch < 1 or (batch < 2 and not data.paired):
        raise ValueError(f"batch = {batch} must be at least {1 if data.paired else 2}")
    C, R = len(data.chosen), len(data.rejected)
    if data.paired:
        order = generator(seed, "preferences", epoch).permutation(C)
        return [(rows, rows) for rows in np.split(order, range(batch, C, batch))]
    K = -(-(C + R) // batch)
    for name, size in (("chosen", C), ("rejected", R)):
        if size < K:
            needed = -(-(C + R) // size)
            raise ValueError(
                f"{data.source}: {size} {name} examples for {K} batches of {batch}: each batch needs one, so take "
                f"batches of {needed} or more (in portions, where memory is short)"
            )
    chosen, rejected = (generator(seed, "preferences", epoch, side).permutation(n) for side, n in (("+", C), ("-", R)))
    # the larger parts of one class come first and those of the other last: no batch has more than `batch`
    return list(zip(np.array_split(chosen, K), np.array_split(rejected, K)[::-1], strict=True))


def mismatched(data: Preferences, context: int, seed: int) -> tuple[Example, ...]:
    """Every example's prompt (N,) with a completion of another prompt, drawn once: pairs (x, y′) for KTO's z₀.

    A completion that would run over the context is passed over for the next. ValueError if nothing is left.
    """
    examples = data.examples
    if len({example.prompt for example in examples}) == 1:
        raise ValueError(
            f"{data.source}: all {len(examples)} examples have one prompt, and KTO's reference point needs "
            "completions of other prompts; shift zero does without"
        )
    order = generator(seed, "mismatched").permutation(len(examples))
    found: dict[int, Example] = {}
    for k, i in enumerate(order):
        own = examples[i]
        for j in np.roll(order, -k - 1)[:-1]:
            other = examples[j]
            if other.prompt != own.prompt and len(own.prompt) + len(other.completion) <= context:
                found[int(i)] = Example(own.prompt, other.completion, own.line)
                break
        else:
            raise ValueError(f"{data.source}, line {own.line}: no completion of another prompt fits into the context")
    return tuple(found[i] for i in range(len(examples)))
