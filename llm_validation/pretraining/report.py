"""What a finished pretraining shows of itself, in small files: its learning curve, and texts that the model wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llm_validation.generation.cache import forward, new_cache
from llm_validation.model.model import autocast
from llm_validation.text.language import Language
from simulate.montecarlo import generator
from simulate.rows.store import replace_file

#: In a finished folder: what was trained, on what, with which losses; the learning curve; texts of the model.
RECORD, CURVE, SAMPLES = "pretraining.json", "learning_curve.csv", "samples.txt"
#: Texts on a page of samples.
TEXTS = 8


class Written(NamedTuple):
    """A text that a model wrote, and whether it came to its end within the tokens it had."""

    text: str
    ended: bool


def write_report(folder: str | Path, into: Path, share: float | None = None) -> None:
    """Put what a finished run shows of itself among results: learning curve, samples, and the record less its longest
    list, the loss of every step, which the curve has in short. `share` is its MFU."""
    into.mkdir(parents=True, exist_ok=True)
    for name in (CURVE, SAMPLES):
        replace_file(into / name, (Path(folder) / name).read_text(encoding="utf-8"))
    record = json.loads((Path(folder) / RECORD).read_text(encoding="utf-8"))
    del record["losses"]
    record |= {} if share is None else {"mfu": share}
    replace_file(into / RECORD, json.dumps(record, indent=1) + "\n")


def kept_share(into: Path) -> float | None:
    """The MFU in a report that `write_report` left; None where there is none."""
    record = json.loads((into / RECORD).read_text(encoding="utf-8")) if (into / RECORD).is_file() else {}
    return record.get("mfu")


def bits_per_byte(nats_per_token: float, bytes_per_token: float) -> float:
    """Loss in bits per byte of text, which does not depend on the tokenizer, from nats per token."""
    return nats_per_token / math.log(2.0) / bytes_per_token


def curve_table(record: Mapping[str, Any]) -> str:
    """The learning curve of a run's record as csv: one line per point.

    step, tokens           done and read so far
    train_loss             mean since the line before, nats per predicted token
    held_out               nats per story of a language, nats per predicted token of documents
    entropy                of a language: the floor of held_out; empty for documents
    bits_per_byte          of documents; empty for a language
    """
    config, entropy = record["config"], record["entropy"]
    table = pd.DataFrame(record["points"], columns=["step", "train_loss", "held_out"])
    table.insert(1, "tokens", table["step"] * config["batch"] * config["context"])
    table["entropy"] = entropy
    bits = [bits_per_byte(nats, record["bytes_per_token"]) for nats in table["held_out"]]
    table["bits_per_byte"] = bits if entropy is None else None
    return table.to_csv(index=False)


def samples_page(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, limit: int, seed: int, language: Language | None
) -> str:
    """Eight texts that the model writes after an end-of-text token, at temperature 1, in at most `limit` tokens each.

    For a language each is judged: could the language have written it, and if not, where it leaves it.
    """
    texts = write_texts(model, tokenizer, TEXTS, limit, seed)
    head = f"{TEXTS} texts at temperature 1, seed {seed}, at most {limit} tokens each"
    judged = [_judgement(language, written) for written in texts]
    if language:
        head += f"; {judged.count('of the language')} of {TEXTS} are of the language"
    entries = (
        f"--- {number}{f', {judgement}' if judgement else ''}\n{written.text}"
        for number, (written, judgement) in enumerate(zip(texts, judged, strict=True), start=1)
    )
    return "\n\n".join((head, *entries)) + "\n"


def _judgement(language: Language | None, written: Written) -> str:
    if not written.ended:
        return "cut off"
    if language is None:
        return ""
    try:
        language.log_probability(written.text)
    except ValueError as error:
        return str(error)
    return "of the language"


@torch.no_grad()
def write_texts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, count: int, limit: int, seed: int
) -> list[Written]:
    """`count` independent texts from the model's own law, each after an end-of-text token and up to the next one.

    limit   most tokens of a text, the end counted
    seed    decides the draws; torch's global random state is neither read nor changed
    """
    end, where = int(tokenizer.eos_token_id), next(model.parameters()).device
    uniform = generator(seed, "texts")
    tokens = torch.full((count, 1), end)
    cache, ended = new_cache(model), torch.zeros(count, dtype=torch.bool)
    for place in range(limit):
        with autocast(where):
            logits = forward(model, tokens[:, -1:].to(where), cache, torch.tensor([[place]], device=where), None)
        cumulative = logits[:, -1].double().softmax(dim=-1).cumsum(dim=-1).cpu()
        draws = torch.from_numpy(uniform.random((count, 1))) * cumulative[:, -1:]  # rounding: the sum is not quite one
        chosen = torch.searchsorted(cumulative, draws, right=True)[:, 0]
        tokens = torch.cat((tokens, torch.where(ended, end, chosen)[:, None]), dim=1)
        ended |= tokens[:, -1] == end
        if ended.all():
            break
    written = []
    for row, finished in zip(tokens[:, 1:].tolist(), ended.tolist(), strict=True):
        kept = row[: row.index(end)] if finished else row
        written.append(Written(str(tokenizer.decode(kept)), finished))
    return written
