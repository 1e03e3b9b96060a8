"""The command that says what preferences and a model allow, before anything is trained.

    python -m llm_validation advise --model PATH_OR_NAME --data FILE --out REPORT

REPORT, a new folder, gets report.html and report.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

from llm_validation.advise.findings import counts, existence
from llm_validation.advise.report import as_html, as_json, reference
from llm_validation.model.folders import replacing
from llm_validation.model.model import device, load
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import read_preferences
from simulate.numbers import Parser, count


def advise_main(arguments: list[str]) -> int:
    """Command line; exit status 0, or 2 for input that cannot be used."""
    parser = Parser(prog="python -m llm_validation advise", description="What preferences and a model allow.")
    parser.add_argument("--model", required=True, help="a causal language model by name or path")
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="pairs or labelled examples")
    parser.add_argument("--out", required=True, type=Path, metavar="REPORT", help="a new folder for the report")
    parser.add_argument("--context", type=count, help="longest text in tokens; by default what the model says")
    options = parser.parse_args(arguments)
    try:
        _advise(options.model, options.data, options.out, options.context)
    except (ValueError, OSError) as error:
        print(f"advise: {error}", file=sys.stderr)
        return 2
    return 0


def _advise(name: str, path: Path, out: Path, context: int | None) -> None:
    if out.exists():
        raise ValueError(f"{out} exists already: name a folder that does not")
    loaded = load(name)
    context = context or getattr(loaded.model.config, "max_position_embeddings", None)
    if context is None:
        raise ValueError(f"{name} does not say how long its context is: give --context")
    data = read_preferences(path, TextBoundaries.of(loaded.tokenizer, loaded.model), context)
    model = loaded.model.to(device())  # type: ignore[arg-type]
    findings = [*counts(data), *existence(data), *reference(model, data)]
    with replacing(out) as partial:
        (partial / "report.html").write_text(as_html(findings, name, str(path)))
        (partial / "report.json").write_text(as_json(findings, name, str(path)))
    print(f"{len(findings)} findings in {out / 'report.html'}")
