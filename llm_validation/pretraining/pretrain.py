"""Pretraining: a causal language model from fresh weights to a language of known entropy, or to documents.

One loop for one CPU core, a GPU, or several processes, which divide every batch among them, and on request the model
as well: `accelerate launch` on GPUs, `torchrun` on CPUs, where accelerate's own launcher needs MPI and without it
starts a single process. The batch of step t is a pure function of (seed, t) and the learning rate one of t, so a run
has no state but weights and moments: killed and started again, it goes on from its checkpoint to the same weights.

Files: <folder> is there when the run is finished; <folder>.checkpoint is there while it is not. Beside the model are
`pretraining.json` (configuration, text, and all that was measured), `learning_curve.csv` and `samples.txt`.

Legend: B batch, T tokens, N blocks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llm_validation.model.folders import replacing, tidy, write
from llm_validation.model.model import build, device, load, parameter_count
from llm_validation.model.sharding import shards_wanted, unsharded
from llm_validation.pretraining.config import PRESETS, Pretraining
from llm_validation.pretraining.held_out import block_loss, excess_nats
from llm_validation.pretraining.loop import Checkpoint, Hooks, Point, check_complete, check_same, optimise, uncompiled
from llm_validation.pretraining.report import (
    CURVE,
    RECORD,
    SAMPLES,
    bits_per_byte,
    curve_table,
    samples_page,
    write_report,
)
from llm_validation.text.corpus import Tokens, pack, train_tokenizer
from llm_validation.text.language import Language
from llm_validation.training.memory import Portion, TooLittleMemory, fitting
from simulate.montecarlo import Estimate, generator

__all__ = ["PRESETS", "Point", "Pretrained", "Pretraining", "TooLittleMemory", "pretrain", "write_report"]

#: Held-out text behind a point of the learning curve: enough to see it, and less than a twentieth of the training.
STORIES_OF_THE_CURVE, BLOCKS_OF_THE_CURVE = 256, 128
#: Stories whose loss is measured at a time.
STORIES_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A finished run.

    model, tokenizer   on the CPU, in evaluation mode
    losses             (steps,) mean loss of each step's batch before the step, nats per predicted token
    points             the learning curve, on the first 256 of the held-out stories or 128 of the blocks
    held_out           loss on text not trained on: nats per story of a language, nats per token of documents
    stderr             its standard error
    entropy            of the language in nats per story, the floor of `held_out`; None for documents
    bits_per_byte      of documents; None for a language
    bytes_per_token    UTF-8 bytes of the text per token that is predicted, the end of each document counted as one
    parameters         trained numbers; tied ones count once
    seconds            of training, without evaluations, summed over its parts if it was resumed
    tokens_per_second  tokens read per second of training
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    losses: tuple[float, ...]
    points: tuple[Point, ...]
    held_out: float
    stderr: float
    entropy: float | None
    bits_per_byte: float | None
    bytes_per_token: float
    parameters: int
    seconds: float
    tokens_per_second: float

    @property
    def excess(self) -> float:
        """held_out/entropy − 1. ValueError for documents, whose entropy nobody knows."""
        if self.entropy is None:
            raise ValueError("the entropy of documents is unknown")
        return self.held_out / self.entropy - 1.0


#: What the record of a run holds of `Pretrained`.
RECORDED = tuple(field.name for field in fields(Pretrained) if field.name not in ("model", "tokenizer"))


@dataclass(frozen=True, eq=False)
class _Data:
    """Text made ready: blocks to train on, and held-out stories of a language or held-out blocks of documents."""

    tokenizer: PreTrainedTokenizerFast
    blocks: Tokens
    stories: Sequence[str]
    held_out: Tokens
    bytes_per_token: float

    def for_the_curve(self) -> _Data:
        """The same with fewer held-out texts."""
        return replace(self, stories=self.stories[:STORIES_OF_THE_CURVE], held_out=self.held_out[:BLOCKS_OF_THE_CURVE])


def pretrain(
    config: Pretraining,
    source: Language | Sequence[str],
    folder: str | Path,
    *,
    shard: bool = False,
    progress: bool = True,
    on_step: Callable[[int, float], None] | None = None,
) -> Pretrained:
    """Train on a language or on documents and leave the model in `folder`; load it if it is there already.

    shard     divide the model among the processes, where one device is too small for it (see `sharding`); so it is
              done, too, where `accelerate launch` was told to use FSDP. The run is the same up to rounding, and goes
              on from a checkpoint of any number of processes
    progress  a bar with tokens per second, loss and time left
    on_step   called with (step, loss) after each step, and after its checkpoint; what it raises stops the run
    ValueError if `folder` or its checkpoint was made with another configuration or other text: the first field that
    differs is named; or if there is but one process to shard over. TrainingDiverged at the first loss or gradient
    that is no number. A batch that does not fit in device memory is worked through in smaller portions, with a line
    on stderr; TooLittleMemory where that does not help, or where there are other processes.
    """
    folder = Path(folder).absolute()
    made_from = _description(config, source)
    checkpoint = Checkpoint(folder.with_name(folder.name + ".checkpoint"), made_from)
    for kept in (folder, checkpoint.folder):
        tidy(kept)
    if folder.exists():
        return _finished(folder, made_from)
    sharded = shards_wanted(shard)
    state = PartialState(cpu=device().type == "cpu")
    data = _prepare(config, source)
    model = build(config.size, len(data.tokenizer), config.context, config.seed)
    portion = Portion(STORIES_AT_ONCE if isinstance(source, Language) else config.batch)
    held_out = lambda: _held_out(model, source, data.for_the_curve(), portion, alone=not sharded).value
    hooks = Hooks(held_out, on_step, progress)
    curve = optimise(state, config, model, data.blocks, checkpoint, hooks, sharded=sharded)
    trained = unsharded(model) if sharded else model
    if trained is not None and state.is_main_process:
        history = {**curve.record(), "tokens_per_second": config.tokens / curve.history.seconds}
        with replacing(folder) as unfinished, uncompiled(config.compile):
            trained.to(state.device).eval()
            trained.set_attn_implementation("sdpa")
            _write(trained, config, source, data, portion, {**made_from, **history}, unfinished)
        checkpoint.remove()
    state.wait_for_everyone()
    return _finished(folder, made_from)


def _description(config: Pretraining, source: Language | Sequence[str]) -> dict[str, Any]:
    """What a run was made from: the configuration and a fingerprint of its text."""
    if isinstance(source, Language):
        text = f"language {source.fingerprint}"
    else:
        digest = hashlib.sha256()
        for document in source:
            digest.update(document.encode() + b"\x00")
        text = f"{len(source)} documents {digest.hexdigest()[:12]}"
    return {"config": asdict(config), "text": text}


def _finished(folder: Path, asked: dict[str, Any]) -> Pretrained:
    """The run that left this folder. ValueError if it is not what was asked for, or no run left it."""
    if not (folder / RECORD).is_file():
        raise ValueError(f"{folder} exists and is not a finished pretraining: it has no {RECORD}")
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    check_same(folder, record, asked)
    check_complete(folder, record, RECORDED)
    record |= {"losses": tuple(record["losses"]), "points": tuple(Point(*point) for point in record["points"])}
    loaded = load(folder)
    return Pretrained(loaded.model, loaded.tokenizer, **{name: record[name] for name in RECORDED})


def _write(
    model: PreTrainedModel,
    config: Pretraining,
    source: Language | Sequence[str],
    data: _Data,
    portion: Portion,
    history: dict[str, Any],
    folder: Path,
) -> None:
    """Measure a trained model; put it, what was measured and its history into a folder that exists."""
    loss = _held_out(model, source, data, portion)
    language = source if isinstance(source, Language) else None
    record = {
        **history,
        "held_out": loss.value,
        "stderr": loss.stderr,
        "entropy": language.entropy if language else None,
        "bits_per_byte": None if language else bits_per_byte(loss.value, data.bytes_per_token),
        "bytes_per_token": data.bytes_per_token,
        "parameters": parameter_count(model),
    }
    write(model, data.tokenizer, folder)
    (folder / RECORD).write_text(json.dumps(record) + "\n", encoding="utf-8")
    (folder / CURVE).write_text(curve_table(record), encoding="utf-8")
    (folder / SAMPLES).write_text(
        samples_page(model, data.tokenizer, config.context, config.seed, language), encoding="utf-8"
    )


# --- data ------------------------------------------------------------------------------------------------------------


def _prepare(config: Pretraining, source: Language | Sequence[str]) -> _Data:
    """Tokenizer and blocks. Documents are shuffled before packing, and their last blocks held out."""
    if isinstance(source, Language):
        documents = source.sample(generator(config.seed, "stories"), config.stories)
        unseen = source.sample(generator(config.seed, "held-out stories"), config.held_out)
    else:
        order = generator(config.seed, "order of documents").permutation(len(source))
        documents, unseen = [source[i] for i in order], []
    tokenizer = train_tokenizer(documents, config.vocab_size)
    blocks = pack(documents, tokenizer, config.context)
    # up to the dropped tail, less than a block
    bytes_per_token = sum(len(document.encode()) for document in documents) / blocks.size
    if isinstance(source, Language):
        return _Data(tokenizer, blocks, unseen, blocks[:0], bytes_per_token)
    if len(blocks) <= config.held_out:
        raise ValueError(f"the documents make {len(blocks)} blocks, and held_out asks for {config.held_out} of them")
    split = len(blocks) - config.held_out
    return _Data(tokenizer, blocks[:split], (), blocks[split:], bytes_per_token)


def _held_out(
    model: PreTrainedModel, source: Language | Sequence[str], data: _Data, portion: Portion, *, alone: bool = True
) -> Estimate:
    """Loss on the held-out text: nats per story of a language, nats per predicted token of documents."""
    if not isinstance(source, Language):
        return fitting("held-out loss", portion, partial(block_loss, model, data.held_out), alone=alone)
    excess_of = partial(excess_nats, model, data.tokenizer, source, data.stories)
    excess = fitting("held-out loss", portion, excess_of, alone=alone)
    return Estimate(source.entropy + excess.value, excess.stderr, excess.n)
