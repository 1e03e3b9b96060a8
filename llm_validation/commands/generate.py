"""The command that lets a model of the user's own write: Best-of-N and Speculative Rejection on prompts.

    python -m llm_validation generate --model PATH --prompts FILE --reward PATH --method speculative --n 64 --alpha 0.5

writes one line of json per prompt: what was returned, and at the end what it cost. A text is asked in the model's chat
template where it has one, a response ends with any of the model's end tokens, and rewards are as in
`llm_validation.rewards.sources`. With --out a run that is killed goes on where it stopped, to the same lines. With
--pilot Speculative Rejection is told how far its decisions could have gone: `llm_validation.generation.pilot`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from llm_validation.commands.lines import Lines, check_file, content
from llm_validation.commands.prompts import Writer, read_prompts, writer
from llm_validation.generation.decode import Outcome, Response, best_of_n, speculative_rejection
from llm_validation.generation.pilot import allowed
from llm_validation.generation.scorers import Scorer, ScorerError
from llm_validation.generation.uniforms import decoding_seed
from llm_validation.model.content import digest_on_disk
from llm_validation.model.model import autocast, device
from llm_validation.model.text_boundaries import Message, Tokens
from llm_validation.preferences.files import unit_of
from llm_validation.rewards.sources import TEXT_REWARDS, Texts, reward_content, scorer_of
from simulate.numbers import Parser, a_name, a_path, carried_out, count, positive, seed, share


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m llm_validation generate", description="Best-of-N on prompts.")
    parser.add_argument("--model", type=a_name, required=True, help="folder or name of a causal language model")
    parser.add_argument(
        "--prompts",
        required=True,
        type=a_path,
        help="text file, one prompt a line, or .jsonl, .json, .csv, .parquet with a field prompt",
    )
    parser.add_argument(
        "--reward", type=a_name, required=True, help="folder of a reward model, folder or name of a sequence "
        f"classifier, MODULE:FUNCTION of prompts and responses, or one of {', '.join(TEXT_REWARDS)}"
    )  # fmt: skip
    parser.add_argument("--method", choices=("best-of-n", "speculative"), default="best-of-n")
    parser.add_argument("--n", type=count, help="responses per prompt; speculative: left to --budget by default")
    parser.add_argument("--alpha", type=share, help="fraction rejected at a decision, in [0, 1)")
    parser.add_argument(
        "--times", type=count, nargs="+", help="decision times in tokens; default: when --budget is full"
    )
    parser.add_argument("--budget", type=positive, help="cached tokens allowed")
    parser.add_argument("--tokens", type=count, default=64, help="most tokens of a response")
    parser.add_argument("--temperature", type=positive, default=1.0)
    parser.add_argument("--top-p", type=positive, default=1.0, help="mass of the tokens that may be written, at most 1")
    parser.add_argument("--stop", nargs="+", default=[], metavar="TEXT", help="texts that end a response")
    parser.add_argument("--raw", action="store_true", help="prompts as they are, without the model's chat template")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--allow-unfinished", action="store_true", help="a response cut off at --tokens may win")
    parser.add_argument("--together", action="store_true", help="all prompts in one batch, not one after another")
    parser.add_argument("--pilot", type=count, metavar="ROWS", help="responses that nothing is rejected of, for v(t)")
    parser.add_argument("--out", type=a_path, help="a new file for the json lines; default: standard output")
    return parser


def _check(options: argparse.Namespace) -> None:
    if options.method == "best-of-n" and (options.n is None or options.alpha is not None or options.times):
        raise ValueError("best-of-n needs --n, and takes neither --alpha nor --times")
    if options.method == "speculative" and (options.alpha is None or (not options.times and options.budget is None)):
        raise ValueError("speculative needs --alpha, and --times or --budget")
    times = options.times or []
    if sorted(set(times)) != times or (times and times[-1] >= options.tokens):
        raise ValueError(f"--times {' '.join(map(str, times))} must rise, and end before --tokens {options.tokens}")
    if options.pilot is not None and (options.method != "speculative" or options.pilot < 8):
        raise ValueError("--pilot is of --method speculative, and of at least 8 responses")


Prompts = list[tuple[int, str | list[Message]]]


def generate(options: argparse.Namespace) -> None:
    """Run the method on every prompt that is left, and write the lines. ValueError for bad options."""
    check_file(options.out)
    asked = read_prompts(options.prompts)
    _check(options)
    writes = writer(options.model, options.tokens, options.temperature, top_p=options.top_p, stop=options.stop)
    unit = unit_of(options.prompts)
    prompts = [writes.asked(text, options.raw, f"{options.prompts}, {unit} {line},") for line, text in asked]
    turns = {own: text for own, (_, text) in zip(prompts, asked, strict=True)}
    fresh = scorer_of(options.reward, Texts(writes.text, turns, writes.texts.tokenizer))
    lines = None
    if options.out is not None:
        own = {name: value for name, value in vars(options).items() if name not in ("out", "prompts", "pilot")}
        own |= {"prompts": content(options.prompts), "content": digest_on_disk(options.model)}
        lines = Lines(options.out, {**own, "reward_content": reward_content(options.reward)})
    groups = [range(len(prompts))] if options.together else [range(p, p + 1) for p in range(len(prompts))]
    decided: list[tuple[int, ...]] = []
    cut = 0
    with lines.alone() if lines else nullcontext():
        done = lines.begin() if lines else 0
        for number, group in enumerate(groups):
            if group.stop <= done:
                continue
            outcome = _run(options, writes, [prompts[p] for p in group], fresh, number)
            decided.append(tuple(dict.fromkeys(decision.token for decision in outcome.decisions)))
            rows = [_line(p, asked[p][1], outcome, p - group.start, writes) for p in group][
                max(0, done - group.start) :
            ]
            if lines:
                lines.add(rows)
            else:
                print("\n".join(map(json.dumps, rows)))
            print(json.dumps(asdict(outcome.spent)), file=sys.stderr)
            cut += sum(row["response"] is None for row in rows)
        if lines:
            lines.end()
    if cut:
        print(f"- no response to {cut} of {len(prompts) - done} prompts ended within {options.tokens} tokens, so none "
              "is returned: more --tokens may help, or --allow-unfinished", file=sys.stderr)  # fmt: skip
    for sentence in _pilot(options, writes, prompts, fresh, decided):
        print(f"- {sentence}", file=sys.stderr)


def _run(
    options: argparse.Namespace, writes: Writer, batch: Sequence[Tokens], fresh: Callable[[], Scorer], number: int
) -> Outcome:
    common: dict[str, Any] = {
        "seed": decoding_seed(options.seed, "prompts from", number), "budget": options.budget,
        "allow_unfinished": options.allow_unfinished,
    }  # fmt: skip
    with autocast(device()):
        if options.method == "best-of-n":
            return best_of_n(writes.model, batch, options.n, fresh(), writes.sampling, **common)
        return speculative_rejection(
            writes.model, batch, options.n, options.alpha, fresh(), writes.sampling, times=options.times, **common
        )


def _pilot(
    options: argparse.Namespace, writes: Writer, prompts: Sequence[Tokens], fresh: Callable[[], Scorer],
    decided: Sequence[tuple[int, ...]],
) -> Iterator[str]:  # fmt: skip
    """What v(t) would have allowed, where a pilot is asked for and something was decided."""
    times = max(decided, key=len, default=())
    if not options.pilot or not times:
        return
    seed_ = decoding_seed(options.seed, "pilot")
    with autocast(device()):
        yield from allowed(writes.model, prompts, fresh, writes.sampling, options.pilot, times,
                           options.n or options.pilot, 1.0 - options.alpha, seed_)  # fmt: skip


def _line(number: int, asked: str | list[Message], outcome: Outcome, place: int, writes: Writer) -> dict[str, Any]:
    def shown(response: Response | None) -> dict[str, Any] | None:
        if response is None:
            return None
        text = writes.text(response.tokens)
        return {"text": text, "reward": response.reward, "row": response.row, "finished": response.finished}

    response, truncated = shown(outcome.returned[place]), shown(outcome.truncated[place])
    return {"prompt": number, "asked": asked, "response": response, "truncated": truncated}


def generate_main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status: 2 for bad input, which is said on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return carried_out(
            "generate", lambda: generate(options), (ValueError, OSError, ScorerError, FloatingPointError)
        )
    except RuntimeError as error:  # of the processor's memory torch has no error of its own
        if "allocate memory" not in str(error):
            raise
        print("generate: memory does not hold so many responses at a time: give --budget, or a smaller --n",
              file=sys.stderr)  # fmt: skip
        return 2
