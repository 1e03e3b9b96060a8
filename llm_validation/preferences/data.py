"""Preference data of a user's own in tokens: pairs, or examples with labels or scores, in shuffled batches.

What a file may look like is `llm_validation.preferences.files`, where a text begins and ends
`llm_validation.model.text_boundaries`. Nothing is cut off.

Shapes: C chosen and R rejected examples, N = C + R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from llm_validation.model.text_boundaries import TextBoundaries, Tokens, shared
from llm_validation.preferences.files import LabelledText, PairOfTexts, Record, read_texts, unit_of
from simulate.montecarlo import generator
from theory.validate import Array

Index = NDArray[np.int64]
#: Numbers of a batch's chosen and of its rejected examples.
Batch = tuple[Index, Index]
#: What a number may differ from the mean of numbers equal to it, relative to it.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Example:
    """A prompt and one completion, in tokens, end-of-text included; at least one token each. `line` of the file.

    score   the number that the file gives it, where it gives numbers
    asked   what was asked, where the prompt holds more: a corrector's has an answer too
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    line: int
    score: float | None = None
    asked: str | None = None

    @property
    def question(self) -> str | tuple[int, ...]:
        """What examples that depend on one another have in common: what was asked, else the prompt."""
        return self.prompt if self.asked is None else self.asked

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, eq=False)
class Preferences:
    """Chosen (C,) and rejected (R,) examples; paired: C = R, and chosen[i], rejected[i] share their prompt.

    source  where they come from, for messages;  unit  what an example's `line` counts there: lines, rows or entries
    """

    source: str
    chosen: tuple[Example, ...]
    rejected: tuple[Example, ...]
    paired: bool
    unit: str = "line"

    def __post_init__(self) -> None:
        for name, examples in (("chosen", self.chosen), ("rejected", self.rejected)):
            if not examples:
                raise ValueError(f"{self.source} has no {name} examples: every loss here needs both classes")
        if self.paired:
            for one, other in zip(self.chosen, self.rejected, strict=True):
                if one.prompt != other.prompt:
                    raise ValueError(f"{self.source}, {self.where(one)}: a pair with two prompts")

    @property
    def examples(self) -> tuple[Example, ...]:
        """All N, the chosen ones first."""
        return self.chosen + self.rejected

    def where(self, example: Example) -> str:
        """Its line of the source, or its row or entry."""
        return f"{self.unit} {example.line}"


# reading


def read_preferences(path: str | Path, texts: TextBoundaries, context: int) -> Preferences:
    """Preferences of a file, in tokens; `llm_validation.preferences.files` says what it may look like.

    Examples with scores are chosen where the score is above the mean: that of the prompt's own scores where it has
    several completions, else that of all scores. One prompt in words is one prompt in tokens, whatever its completions
    begin with: `one_border`.

    texts    where a text begins and ends, of the model that will read it
    context  longest text in tokens, all included
    FileNotFoundError names a file that is not there; ValueError the line and the field: what `files.read_texts`
    refuses, a prompt without tokens, an empty completion, two equal completions, a token without an embedding, a text
    longer than the context; and a file without lines or without one of the two classes.
    """
    records = read_texts(path, texts)
    if isinstance(records[0], PairOfTexts):
        pairs = [pair_of(record, texts, context) for record in records if isinstance(record, PairOfTexts)]
        chosen, rejected = zip(*one_border(records, pairs), strict=True)
        return Preferences(str(path), chosen, rejected, paired=True, unit=unit_of(path))
    labels, read = zip(*(
        (r.label, (_example(r.place, r.line, *texts.split(r.prompt, r.completion, r.place, templated=r.templated),
                            context),))
        for r in records if isinstance(r, LabelledText)
    ), strict=True)  # fmt: skip
    examples = [(label, example) for label, (example,) in zip(labels, one_border(records, read), strict=True)]
    if not isinstance(examples[0][0], bool):
        examples = _above_the_mean([replace(example, score=float(score)) for score, example in examples])
        if not any(label for label, _ in examples):
            raise ValueError(f"{path}: no score differs from the mean it is compared with: nothing is preferred here")
    chosen, rejected = (tuple(e for label, e in examples if bool(label) is side) for side in (True, False))
    return Preferences(str(path), chosen, rejected, paired=False, unit=unit_of(path))


def _above_the_mean(examples: Sequence[Example]) -> list[tuple[bool | float, Example]]:
    return [(bool(value > 0.0), e) for value, e in zip(centred(examples, _scores(examples)), examples, strict=True)]


def centred(examples: Sequence[Example], feedback: Sequence[float]) -> Array:
    """Feedback (N,) less its mean over the prompt's examples; where a prompt has one, less the mean of all (N,).

    What is left of equal numbers by rounding is 0: a tie is preferred to nothing.
    """
    table = pd.DataFrame({"prompt": [e.prompt for e in examples], "feedback": np.asarray(feedback, dtype=float)})
    groups = table.groupby("prompt", sort=False)["feedback"]
    alone = groups.transform("size") == 1
    mean = groups.transform("mean").where(~alone, table["feedback"].mean())
    values, means = np.array(table["feedback"]), np.array(mean)
    return np.where(np.isclose(values, means, rtol=ROUNDING, atol=0.0), 0.0, values - means)


def _scores(examples: Sequence[Example]) -> list[float]:
    return [e.score for e in examples if e.score is not None]


def feedback_of(data: Preferences) -> list[float]:
    """The feedback (N,) on `data.examples`: scores where the file has them, else 1 for chosen and 0 for rejected."""
    if data.examples[0].score is not None:
        return _scores(data.examples)
    return [1.0] * len(data.chosen) + [0.0] * len(data.rejected)


def pair_of(record: PairOfTexts, texts: TextBoundaries, context: int, *, same: bool = False) -> tuple[Example, Example]:
    """Both completions after one prompt, which ends at the last border of tokens that the two texts share.

    same   whether the two may be the same;  ValueError as for `read_preferences`
    """
    sides = [
        texts.split(record.prompt, text, record.place, templated=record.templated)
        for text in (record.chosen, record.rejected)
    ]
    same_tokens = shared(*(prompt for prompt, _ in sides))
    if same_tokens == 0:
        raise ValueError(f"{record.place}: chosen and rejected share no token of their prompt")
    one, other = (
        _example(record.place, record.line, prompt[:same_tokens], (*prompt[same_tokens:], *completion), context)
        for prompt, completion in sides
    )
    if one.completion == other.completion and not same:
        raise ValueError(f"{record.place}: chosen and rejected are the same")
    return one, other


def one_border(records: Sequence[Record], read: Sequence[tuple[Example, ...]]) -> list[tuple[Example, ...]]:
    """The examples of each record, all of one prompt cut at the last border of tokens that all its completions have.

    A completion that begins with a quotation mark, say, may be one token with the prompt's last character: by tokens
    alone its prompt would be another one, held out where the first is trained on, and with responses of its own.
    ValueError names a record whose prompt has no token in common with that of a record before.
    """
    shortest: dict[tuple[str, bool], Tokens] = {}
    for record, (first, *_) in zip(records, read, strict=True):
        known = shortest.get((record.prompt, record.templated), first.prompt)
        shortest[record.prompt, record.templated] = known[: shared(known, first.prompt)]
        if not shared(known, first.prompt):
            raise ValueError(f"{record.place}: the prompt shares no token with the same prompt of a line before")
    sizes = [len(shortest[record.prompt, record.templated]) for record in records]
    return [tuple(_begun_at(size, example) for example in own) for size, own in zip(sizes, read, strict=True)]


def _begun_at(size: int, example: Example) -> Example:
    """The same text, its prompt of `size` tokens."""
    rest = example.prompt[size:]
    return replace(example, prompt=example.prompt[:size], completion=(*rest, *example.completion)) if rest else example


def _example(place: str, line: int, prompt: Tokens, completion: Tokens, context: int) -> Example:
    if (size := len(prompt) + len(completion)) > context:
        raise ValueError(f"{place}: prompt and completion have {size} tokens, the context {context}")
    return Example(prompt, completion, line)


# the order of training


def epoch_batches(data: Preferences, batch: int, seed: int, epoch: int) -> list[Batch]:
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


def example_batches(data: Preferences, batch: int, seed: int, epoch: int) -> list[Batch]:
    """Batches of any examples, of either class alone too; every example comes once in an epoch."""
    if batch < 1:
        raise ValueError(f"batch = {batch} must be at least 1")
    order, C = generator(seed, "preferences", epoch).permutation(len(data.examples)), len(data.chosen)
    return [(rows[rows < C], rows[rows >= C] - C) for rows in np.split(order, range(batch, len(order), batch))]


def prompt_batches(prompt: Index, chosen: int, batch: int, seed: int, epoch: int) -> list[Batch]:
    """Batches of whole prompts: all examples (N,) of `batch` prompts, the first `chosen` of which are chosen."""
    if batch < 1:
        raise ValueError(f"batch = {batch} must be at least 1")
    rank = generator(seed, "preferences", epoch).permutation(prompt.max() + 1)[prompt] // batch
    order = np.argsort(rank, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(rank[order])) + 1)
    return [(rows[rows < chosen], rows[rows >= chosen] - chosen) for rows in groups]


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
            raise ValueError(f"{data.source}, {data.where(own)}: no completion of another prompt fits into the context")
    return tuple(found[i] for i in range(len(examples)))
