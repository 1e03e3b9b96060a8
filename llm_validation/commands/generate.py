"""The command that lets a model of the user's own write: Best-of-N and Speculative Rejection on prompts.

    python -m llm_validation generate --model PATH --prompts FILE --reward PATH --method speculative --n 64 --alpha 0.5

writes one line of json per prompt: what was returned, and at the end what it cost.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm_validation.generation.decode import Outcome, Response, best_of_n, speculative_rejection
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Scorer, TextScorer
from llm_validation.model.model import autocast, device, load
from llm_validation.model.text_boundaries import Message, TextBoundaries
from llm_validation.preferences.files import records_of
from llm_validation.rewards.comparisons import utility
from llm_validation.rewards.model import load_reward_model
from llm_validation.rewards.prefix_scorer import PrefixScorer
from simulate.montecarlo import generator
from simulate.numbers import Parser, count, positive, seed, share

#: Named rewards of texts, for --reward.
TEXT_REWARDS: dict[str, Callable[[str], float]] = {"utility": utility, "length": lambda text: float(len(text))}


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m llm_validation generate", description="Best-of-N on prompts.")
    parser.add_argument("--model", required=True, help="folder or name of a causal language model")
    parser.add_argument(
        "--prompts", required=True, type=Path, help="text file, one prompt a line, or .jsonl with a field prompt"
    )
    parser.add_argument(
        "--reward", required=True, help=f"folder of a reward model, or one of {', '.join(TEXT_REWARDS)}"
    )
    parser.add_argument("--method", choices=("best-of-n", "speculative"), default="best-of-n")
    parser.add_argument("--n", type=count, help="responses per prompt; speculative: left to --budget by default")
    parser.add_argument("--alpha", type=share, help="fraction rejected at a decision, in [0, 1)")
    parser.add_argument(
        "--times", type=count, nargs="+", help="decision times in tokens; default: when --budget is full"
    )
    parser.add_argument("--budget", type=positive, help="cached tokens allowed")
    parser.add_argument("--tokens", type=count, default=64, help="most tokens of a response")
    parser.add_argument("--temperature", type=positive, default=1.0)
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--allow-unfinished", action="store_true", help="a response cut off at --tokens may win")
    parser.add_argument("--together", action="store_true", help="all prompts in one batch, not one after another")
    parser.add_argument("--out", type=Path, help="file for the json lines; default: standard output")
    return parser


def _scorer(reward: str, tokenizer: Any) -> Callable[[], Scorer]:
    """A fresh scorer for each run: a reward model with a cache, or a function of the text prompt + response."""
    if reward in TEXT_REWARDS:
        value = TEXT_REWARDS[reward]
        pairs = lambda prompts, texts: [value(p + t) for p, t in zip(prompts, texts, strict=True)]
        return lambda: TextScorer(tokenizer, pairs)
    model = load_reward_model(reward).to(device())
    return lambda: PrefixScorer(model)


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


def generate(options: argparse.Namespace) -> tuple[list[Outcome], Any]:
    """Run the method on every prompt, and return the outcomes with the tokenizer. ValueError for bad options."""
    asked = read_prompts(options.prompts)
    if options.method == "best-of-n" and (options.n is None or options.alpha is not None or options.times):
        raise ValueError("best-of-n needs --n, and takes neither --alpha nor --times")
    if options.method == "speculative" and (options.alpha is None or (not options.times and options.budget is None)):
        raise ValueError("speculative needs --alpha, and --times or --budget")
    times = options.times or []
    if sorted(set(times)) != times or (times and times[-1] >= options.tokens):
        raise ValueError(f"--times {' '.join(map(str, times))} must rise, and end before --tokens {options.tokens}")
    loaded = load(options.model)
    model: Any = loaded.model
    model, tokenizer = model.to(device()), loaded.tokenizer
    texts = TextBoundaries.of(tokenizer, model)
    prompts = [
        texts.prompt(text if isinstance(text, str) else texts.chat(text)[0], f"{options.prompts}, line {line},")
        for line, text in asked
    ]
    fresh, sampling = _scorer(options.reward, tokenizer), Sampling(options.tokens, texts.ends, options.temperature)
    outcomes = []
    for number, batch in enumerate([prompts] if options.together else [[prompt] for prompt in prompts]):
        draws = int(generator(options.seed, "prompts from", number).integers(2**31))
        common = {"seed": draws, "budget": options.budget, "allow_unfinished": options.allow_unfinished}
        with autocast(device()):
            if options.method == "best-of-n":
                outcomes.append(best_of_n(model, batch, options.n, fresh(), sampling, **common))
            else:
                outcomes.append(
                    speculative_rejection(
                        model, batch, options.n, options.alpha, fresh(), sampling, times=options.times, **common
                    )
                )
    return outcomes, tokenizer


def _line(prompt: int, response: Response | None, truncated: Response | None, tokenizer: Any) -> str:
    def shown(response: Response | None) -> dict[str, Any] | None:
        if response is None:
            return None
        text = tokenizer.decode(list(response.tokens), skip_special_tokens=True)
        return {"text": text, "reward": response.reward, "row": response.row, "finished": response.finished}

    return json.dumps({"prompt": prompt, "response": shown(response), "truncated": shown(truncated)})


def generate_main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status: 2 for bad input, which is said on standard error."""
    options = _parser().parse_args(arguments)
    try:
        outcomes, tokenizer = generate(options)
    except (ValueError, OSError) as error:
        print(f"generate: {error}", file=sys.stderr)
        return 2
    pairs = [pair for o in outcomes for pair in zip(o.returned, o.truncated, strict=True)]
    lines = [_line(p, response, cut, tokenizer) for p, (response, cut) in enumerate(pairs)]
    if options.out is None:
        print("\n".join(lines))
    else:
        options.out.write_text("\n".join(lines) + "\n")
    for outcome in outcomes:
        print(json.dumps(asdict(outcome.spent)), file=sys.stderr)
    return 0
