"""The command that corrects answers: an Aligner stacked on a model, or on a file of answers of any.

    python -m llm_validation correct --aligner FOLDER --answers FILE.jsonl --out CORRECTED.jsonl
    python -m llm_validation correct --aligner FOLDER --model PATH --prompts FILE --out CORRECTED.jsonl

FOLDER is what `align --method aligner` wrote. FILE has lines {"prompt", "answer"}, texts or messages, or those that
`generate` wrote. One line of json comes out for each: prompt, answer, correction, and whether the correction ended
within --tokens (of a model's answer, too). A run that is killed goes on where it stopped, with the same lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm_validation.aligner.texts import Template, last_said, plain
from llm_validation.commands.lines import Lines, check_file, content
from llm_validation.commands.prompts import Writer, instead, read_prompts, writer
from llm_validation.generation.decode import best_of_n
from llm_validation.generation.scorers import no_score
from llm_validation.generation.uniforms import decoding_seed
from llm_validation.model.content import digest_on_disk
from llm_validation.model.model import autocast, device
from llm_validation.model.text_boundaries import Message, Tokens
from llm_validation.preferences.files import check_there, records_of, unit_of
from simulate.numbers import Parser, a_name, a_path, carried_out, count, positive, seed


@dataclass(frozen=True)
class Asked:
    """A prompt, and the answer to be corrected; None: the model is to write one."""

    line: int
    prompt: str | list[Message]
    answer: str | None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m llm_validation correct", description="Correct answers with an Aligner.")
    parser.add_argument("--aligner", required=True, type=a_path, metavar="FOLDER", help="of align --method aligner")
    parser.add_argument("--answers", type=a_path, metavar="FILE", help="jsonl of prompts and answers")
    parser.add_argument("--model", type=a_name, help="folder or name of the model that answers, with --prompts")
    parser.add_argument(
        "--prompts",
        type=a_path,
        metavar="FILE",
        help="text file, a prompt a line, or .jsonl, .json, .csv, .parquet with a field prompt",
    )
    parser.add_argument("--out", required=True, type=a_path, metavar="FILE", help="a new file for the json lines")
    parser.add_argument("--raw", action="store_true", help="prompts as they are, without the model's chat template")
    parser.add_argument(
        "--tokens", type=count, default=128, help="most tokens of an answer, a correction (%(default)s)"
    )
    parser.add_argument("--temperature", type=positive, default=1.0)
    parser.add_argument("--batch", type=count, default=16, help="answers corrected at a time (%(default)s)")
    parser.add_argument("--seed", type=seed, default=0)
    return parser


def read_answers(path: Path) -> list[Asked]:
    """Lines of prompts and answers. ValueError names file, line and field."""
    check_there(path, "answers")
    found, unit = [], unit_of(path)
    for line, record in records_of(path):
        place = f"{path}, {unit} {line}"
        if "asked" in record:  # a line of generate
            if not isinstance(record.get("response"), dict):
                raise ValueError(f"{place}: generate returned no response that has ended (more --tokens, or "
                                 "--allow-unfinished there)")  # fmt: skip
            record = {"prompt": record["asked"], "answer": record["response"].get("text")}
        for name, may_be in (("prompt", ()), ("answer", ("",))):  # a model may say nothing, and be corrected
            if not record.get(name) and record.get(name) not in may_be:
                raise ValueError(f"{place}: no text in field {name!r}{instead(record, name)}")
        plain(record["prompt"], "prompt", place)
        found.append(Asked(line, record["prompt"], last_said(record["answer"], "answer", place)))
    if not found:
        raise ValueError(f"{path} holds no answers")
    return found


def correct(options: argparse.Namespace) -> tuple[int, int]:
    """Correct what is left; the lines written now, and on how many --tokens cut something off.

    ValueError or OSError for what cannot be used.
    """
    if (options.answers is None) == (options.model is None) or (options.model is None) != (options.prompts is None):
        raise ValueError("give either --answers, or --model with --prompts")
    if options.answers and options.raw:
        raise ValueError("--raw is of the prompts that --model answers, and --answers are there")
    check_file(options.out)
    file = options.answers or options.prompts
    asked = read_answers(file) if options.answers else [Asked(n, p, None) for n, p in read_prompts(file)]
    template = Template.read(options.aligner)
    names = ("tokens", "temperature", "seed", "raw")
    lines = Lines(options.out, {
        "aligner": str(options.aligner), "model": options.model, "file": content(file),
        "content": [digest_on_disk(str(name)) for name in (options.aligner, options.model) if name],
        **{name: getattr(options, name) for name in names},
    })  # fmt: skip
    corrector = writer(str(options.aligner), options.tokens, options.temperature)
    upstream = None if options.model is None else writer(options.model, options.tokens, options.temperature)
    prompts = _prompts(asked, upstream, options)
    for row in asked:  # what has no room with no answer at all has none with the model's
        _read(corrector, template, row, row.answer or "", file)
    cut = 0
    with lines.alone():
        done = lines.begin()
        for first in range(done, len(asked), options.batch):
            batch = slice(first, first + options.batch)
            rows = list(_corrected(asked[batch], prompts[batch], template, corrector, upstream, options, first))
            lines.add(rows)
            cut += sum(not (row["finished"] and row.get("answer_finished", True)) for row in rows)
        lines.end()
    return len(asked) - done, cut


def _prompts(asked: Sequence[Asked], upstream: Writer | None, options: argparse.Namespace) -> list[Tokens]:
    """What the model is asked, in tokens; none where the answers are there. ValueError names the line."""
    if upstream is None:
        return []
    unit = unit_of(options.prompts)
    return [upstream.asked(row.prompt, options.raw, f"{options.prompts}, {unit} {row.line},") for row in asked]


def _corrected(
    asked: Sequence[Asked], prompts: Sequence[Tokens], template: Template, corrector: Writer, upstream: Writer | None,
    options: argparse.Namespace, first: int,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The lines of a batch, which begins at number `first`: each a function of its own number and the seed."""
    answers: list[tuple[str, dict[str, bool]]]
    if upstream is None:
        answers = [(row.answer or "", {}) for row in asked]
    else:
        written = _write(upstream, prompts, options.seed, "answers", first)
        answers = [(text, {"answer_finished": ended}) for text, ended in written]
    file = options.answers or options.prompts
    read = [_read(corrector, template, row, answer, file) for row, (answer, _) in zip(asked, answers, strict=True)]
    corrections = _write(corrector, read, options.seed, "corrections", first)
    for row, (answer, more), (correction, ended) in zip(asked, answers, corrections, strict=True):
        yield {"prompt": row.prompt, "answer": answer, **more, "correction": correction, "finished": ended}


def _read(corrector: Writer, template: Template, row: Asked, answer: str, file: Path) -> Tokens:
    """What the corrector reads, in tokens. ValueError names the line."""
    place = f"{file}, {unit_of(file)} {row.line}: the corrector's text"
    text = template.render(corrector.texts, plain(row.prompt, "prompt", place), answer)
    return corrector.read(text, place, templated=template.chat)


def _write(writes: Writer, prompts: Sequence[Tokens], seed_: int, name: str, first: int) -> list[tuple[str, bool]]:
    """(text, whether it ended) of each, whatever batch it is in."""
    draws, sampling = decoding_seed(seed_, "correct", name), replace(writes.sampling, first=first)
    with autocast(device()):
        found = best_of_n(writes.model, prompts, 1, no_score, sampling, seed=draws)
    return list(zip(map(writes.text, found.written), found.finished.tolist(), strict=True))


def correct_main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status: 2 for bad input, which is said on standard error."""
    options = _parser().parse_args(arguments)
    return carried_out("correct", lambda: _correct(options), (ValueError, OSError, FloatingPointError))


def _correct(options: argparse.Namespace) -> None:
    written, cut = correct(options)
    short = f"; on {cut} lines --tokens {options.tokens} cut something off ('finished' is false)" if cut else ""
    print(f"{written} answers corrected{short}; {options.out}")
