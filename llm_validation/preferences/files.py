"""Files of preferences as people have them: pairs, rankings, examples with labels or scores, as texts or as messages.

    {"prompt": …, "chosen": …, "rejected": …}           pairs: two completions of one prompt
    {"chosen": …, "rejected": …}                        whole texts: what both begin with is the prompt
    {"prompt": …, "ranking": [best, …, worst]}          every pair of a list, the earlier one chosen
    {"prompt": …, "completion": …, "label": true}       examples: one completion, good or bad
    {"prompt": …, "completion": …, "score": 0.7}        one completion with a number
    {"prompt": …, "completions": […], "scores": […]}    several of one prompt

A text is a string or a list of messages {"role", "content"}, which the tokenizer's chat template turns into one; of
messages without a prompt of their own the prompt is what comes before the last answer. An answer holds what the model
says alone: turns of the user in it are refused, as are those of a transcript. Further fields are left alone.
The form is that of the first line, for all lines: .jsonl or .json (.gz too), .csv, .parquet.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_validation.model.text_boundaries import Message, TextBoundaries, is_conversation, shared
from llm_validation.text.corpus import json_objects, once, read_text
from simulate.people.table import rows_of

#: Lines of a transcript after which the assistant speaks, the prompt ending there at the latest, and the user.
ANSWERS, ASKS = "\n\nAssistant:", "\n\nHuman:"
PAIRS, EXAMPLES = ("prompt", "chosen", "rejected"), ("prompt", "completion", "label")
SCORED, SEVERAL, RANKED = ("prompt", "completion", "score"), ("prompt", "completions", "scores"), ("prompt", "ranking")
#: Roles of a model that answers: what others say is read, and not trained on.
ANSWERING = ("assistant", "model")
#: Scores differ by what 32-bit numbers, in which a model is trained, still hold.
LARGEST_SCORE = 1e38
#: Fields by which a form is known; further fields are left alone.
FORMS = (PAIRS, EXAMPLES, SCORED, SEVERAL, RANKED)


@dataclass(frozen=True)
class PairOfTexts:
    """Two completions of a prompt; `place`: file and line, for messages; `templated`: the chat template wrote it."""

    place: str
    line: int
    prompt: str
    templated: bool
    chosen: str
    rejected: str


@dataclass(frozen=True)
class LabelledText:
    """A completion of a prompt, and whether it is good, or a number that says how good; the rest as in a pair."""

    place: str
    line: int
    prompt: str
    templated: bool
    completion: str
    label: bool | float


Record = PairOfTexts | LabelledText


def read_texts(path: str | Path, texts: TextBoundaries) -> list[Record]:
    """All records of a file, in order, at least one.

    FileNotFoundError; ValueError names file, line and field: not JSON, a field that is missing or of another type,
    pairs and examples mixed, messages without a chat template or that do not share their prompt, a file without lines.
    """
    source = Path(path)
    check_there(source)
    records = records_of(source)
    if not records:
        raise ValueError(f"{source} holds no preferences")
    form = _form(records[0][1])
    read, unit = list[Record](), unit_of(source)
    for line, record in records:
        place = f"{source}, {unit} {line}"
        _refuse_foreign(record, form, place)
        read += _READ[form](record, texts, place, line)
    return read


def check_there(source: Path, what: str = "preferences") -> None:
    """FileNotFoundError where there is no such file: known before a model is loaded."""
    if not source.is_file():
        raise FileNotFoundError(f"{source} is a folder" if source.is_dir() else f"no such file of {what}: {source}")


def _form(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the first line, for all."""
    if "ranking" in record or "completions" in record:
        return RANKED if "ranking" in record else SEVERAL
    if "label" in record or "completion" in record:
        return SCORED if "score" in record and "label" not in record else EXAMPLES
    return PAIRS


def records_of(source: Path) -> list[tuple[int, dict[str, Any]]]:
    """(number, record) of a table or of JSON objects, `unit_of` counts them. ValueError names what is wrong."""
    kind = kind_of(source)
    if kind == ".parquet":
        import pandas as pd

        try:
            table = pd.read_parquet(source)
        except (ValueError, OSError, ImportError) as error:
            raise ValueError(f"{source} cannot be read as a table: {error}") from None
        records = [{str(k): _plain(v) for k, v in row.items()} for row in table.to_dict("records")]
        return list(enumerate(records, start=1))
    text = read_text(source)
    if kind == ".csv":
        return _csv_records(source, text)
    if kind == ".json" and text.lstrip().startswith("["):
        try:
            listed = json.loads(text, object_pairs_hook=once)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{source} is not JSON: {error}") from None
        odd = [number for number, record in enumerate(listed, start=1) if not isinstance(record, dict)]
        if odd:
            raise ValueError(f"{source}, entry {odd[0]}: an object is expected")
        return list(enumerate(listed, start=1))
    if kind == ".json" and "\n" in text.strip() and is_object(text):
        raise ValueError(f"{source} is one JSON object over several lines: a list of objects, or an object a line, is "
                         "expected")  # fmt: skip
    return list(json_objects(source, text))


def is_object(text: str) -> bool:
    """Is a text one JSON object?"""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _plain(value: Any) -> Any:
    """A cell of a .parquet, whose lists, and the lists in them, are arrays."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [_plain(one) for one in value] if isinstance(value, list) else value


def unit_of(source: str | Path) -> str:
    """What messages count: lines, of a .csv the header too; rows of a .parquet; entries of a .json that is one list."""
    path = Path(source)
    if kind_of(path) == ".parquet":
        return "row"
    listed = kind_of(path) == ".json" and path.is_file() and read_text(path).lstrip().startswith("[")
    return "entry" if listed else "line"


def kind_of(source: Path) -> str:
    """The last suffix of a file's name, .gz aside."""
    return Path(source.name.removesuffix(".gz")).suffix


def _csv_records(source: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    """(line, record) of comma-separated values: texts as they stand; labels, scores, lists and messages as in JSON."""
    cells, lines = rows_of(text.replace("\r\n", "\n"), ",", source, verbatim=True)
    names = [name.strip() for name in cells.iloc[0]]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{source}, line 1: two columns have the same name {twice[0]!r}")
    rows = zip(lines[1:].tolist(), cells.iloc[1:].itertuples(index=False), strict=True)
    return [
        (line, {n: _cell(n, v, f"{source}, line {line}") for n, v in zip(names, row, strict=True)})
        for line, row in rows
    ]


def _cell(name: str, text: str, place: str) -> Any:
    """A cell's value: what is neither text nor in a field of texts is JSON."""
    begins = text.lstrip()
    if name == "label" and text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    if name == "score" or name in ("completions", "scores", "ranking") or begins.startswith(('[{"', "[{'")):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{place}: field {name!r} must be JSON, got {in_short(text)}") from None
    return text


def _pair(record: Mapping[str, Any], texts: TextBoundaries, place: str, line: int) -> list[Record]:
    chosen, rejected = (_text_of(record, field, place) for field in ("chosen", "rejected"))
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise ValueError(f"{place}: one of 'chosen' and 'rejected' is a text and the other is messages")
    if isinstance(chosen, str) and isinstance(rejected, str):
        if "prompt" not in record:
            return [PairOfTexts(place, line, *_whole_texts(chosen, rejected, place))]
        return [PairOfTexts(place, line, *_prompt_text(record, texts, place), chosen, rejected)]
    before, sides = _conversation(record, [chosen, rejected], place)  # type: ignore[list-item]
    one, other = (_chat(texts, before, side, place) for side in sides)
    return [PairOfTexts(place, line, one[0], True, one[1], other[1])]


def _example(record: Mapping[str, Any], texts: TextBoundaries, place: str, line: int) -> list[Record]:
    if not isinstance(record.get("label"), bool):
        there = f"got {record['label']!r}" if "label" in record else "there is none"
        raise ValueError(f"{place}: field 'label' must be true or false, {there}")
    return [LabelledText(place, line, *_completed(record, "completion", texts, place), record["label"])]


def _scored(record: Mapping[str, Any], texts: TextBoundaries, place: str, line: int) -> list[Record]:
    whole = _completed(record, "completion", texts, place)
    return [LabelledText(place, line, *whole, _number(record.get("score"), "score", place))]


def _several(record: Mapping[str, Any], texts: TextBoundaries, place: str, line: int) -> list[Record]:
    listed, scores = (_list_of(record, field, place) for field in ("completions", "scores"))
    if len(listed) != len(scores):
        raise ValueError(f"{place}: {len(listed)} completions and {len(scores)} scores")
    whole = _of_one_prompt(record, listed, texts, place)
    numbers = [_number(score, "scores", place) for score in scores]
    return [LabelledText(place, line, *text, score) for text, score in zip(whole, numbers, strict=True)]


def _ranked(record: Mapping[str, Any], texts: TextBoundaries, place: str, line: int) -> list[Record]:
    listed = _list_of(record, "ranking", place)
    if len(listed) < 2:
        raise ValueError(f"{place}: field 'ranking' lists {len(listed)} completion, and two are compared")
    whole = _of_one_prompt(record, listed, texts, place)
    return [PairOfTexts(place, line, *a, b[2]) for a, b in itertools.combinations(whole, 2)]


#: form → its reader.
_READ: dict[tuple[str, ...], Callable[[Mapping[str, Any], TextBoundaries, str, int], list[Record]]] = {
    PAIRS: _pair, EXAMPLES: _example, SCORED: _scored, SEVERAL: _several, RANKED: _ranked,
}  # fmt: skip


def _completed(record: Mapping[str, Any], field: str, texts: TextBoundaries, place: str) -> tuple[str, bool, str]:
    """(prompt, whether the chat template wrote it, completion), as texts."""
    completion = _text_of(record, field, place)
    if isinstance(completion, str):
        return *_prompt_text(record, texts, place), completion
    before, (side,) = _conversation(record, [completion], place)
    prompt, answer = _chat(texts, before, side, place)
    return prompt, True, answer


def _of_one_prompt(
    record: Mapping[str, Any], listed: Sequence[Any], texts: TextBoundaries, place: str
) -> list[tuple[str, bool, str]]:
    """`_completed` of several completions; ValueError where conversations do not ask the same."""
    whole = [_completed({**record, "completion": text}, "completion", texts, place) for text in listed]
    if any(prompt != whole[0][0] for prompt, *_ in whole):
        raise ValueError(f"{place}: the conversations differ before their last message")
    return whole


def _list_of(record: Mapping[str, Any], field: str, place: str) -> list[Any]:
    value = record.get(field)
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise ValueError(f"{place}: field {field!r} must be a list, got {in_short(value)}")
    return list(value)


def _number(value: Any, field: str, place: str) -> float:
    if not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= LARGEST_SCORE:
        return float(value)
    raise ValueError(
        f"{place}: field {field!r} must be a finite number, of at most {LARGEST_SCORE:g} in size, got {in_short(value)}"
    )


def _refuse_foreign(record: Mapping[str, Any], own: Sequence[str], place: str) -> None:
    """Pairs and examples in one file are a mistake somewhere."""
    foreign = sorted(set(record) & ({*PAIRS, *EXAMPLES} - set(own)))
    if foreign:
        raise ValueError(f"{place}: field {foreign[0]!r} in a file of {', '.join(own)}: pairs and examples are mixed")


def _text_of(record: Mapping[str, Any], field: str, place: str) -> str | list[Message]:
    """A field that is a string or messages."""
    if field not in record:
        raise ValueError(f"{place}: no field {field!r}; it has {', '.join(map(repr, record)) or 'no field'}")
    value = record[field]
    if isinstance(value, str):
        return value
    if not is_conversation(value):
        raise ValueError(
            f"{place}: field {field!r} must be a string, or messages with role and content, got {in_short(value)}"
        )
    return list(value)


def in_short(value: Any) -> str:
    """A value as Python writes it, or what that begins with."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _prompt_text(record: Mapping[str, Any], texts: TextBoundaries, place: str) -> tuple[str, bool]:
    """A prompt beside completions that are strings, and whether the chat template wrote it."""
    prompt = _text_of(record, "prompt", place)
    return (prompt, False) if isinstance(prompt, str) else (_chat(texts, prompt, [], place)[0], True)


def _conversation(
    record: Mapping[str, Any], sides: list[list[Message]], place: str
) -> tuple[list[Message], list[list[Message]]]:
    """(messages before, the answers) of one or two conversations that begin alike."""
    prompt = record.get("prompt")
    if isinstance(prompt, str) or prompt is None:
        before = sides[0][:-1]
        if not before:
            raise ValueError(f"{place}: the messages hold an answer and no prompt")
        if any(side[:-1] != before for side in sides):
            raise ValueError(f"{place}: the conversations differ before their last message")
        if isinstance(prompt, str) and prompt not in (turn["content"] for turn in before):
            raise ValueError(f"{place}: field 'prompt' is none of the messages before the answer")
        return before, [side[-1:] for side in sides]
    listed = _text_of(record, "prompt", place)
    assert not isinstance(listed, str)
    return listed, [side[len(listed) :] if side[: len(listed)] == listed else side for side in sides]


def _chat(texts: TextBoundaries, before: Sequence[Message], side: Sequence[Message], place: str) -> tuple[str, str]:
    if side and not side[-1]["content"]:
        raise ValueError(f"{place}: an answer is empty")
    if odd := [turn["role"] for turn in side if turn["role"] not in ANSWERING]:
        raise ValueError(
            f"{place}: an answer holds a message of {odd[0]!r}, which would be trained on as if the model had said it: "
            "what comes before the last answer belongs to the prompt"
        )
    if before and side and before[-1]["role"] == side[0]["role"]:
        raise ValueError(f"{place}: the answer is a second message of {side[0]['role']!r} in a row")
    try:
        return texts.chat(before, side)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _whole_texts(chosen: str, rejected: str, place: str) -> tuple[str, bool, str, str]:
    """(prompt, False: no template wrote it, chosen, rejected) of two texts that begin alike.

    ValueError where more than an answer follows what a transcript's two sides have in common.
    """
    prompt = _common(chosen, rejected)
    one, other = chosen[len(prompt) :], rejected[len(prompt) :]
    if prompt.endswith(ANSWERS) and (ASKS in one or ASKS in other):
        raise ValueError(f"{place}: what follows the common beginning holds {ASKS!r}, which would be trained on as if "
                         "the model had said it")  # fmt: skip
    return prompt, False, one, other


def _common(one: str, other: str) -> str:
    """What two texts begin with, up to the last answer's beginning, else to the last blank."""
    both = one[: shared(one, other)]
    if ANSWERS in both:
        return both[: both.rindex(ANSWERS) + len(ANSWERS)]
    return both[: max(both.rfind(" "), both.rfind("\n")) + 1].rstrip(" ")
