"""Pretraining: a causal language model from fresh weights to a language of known entropy, or to documents.

One loop for one CPU core, a GPU, or several processes, which divide every batch among them: `accelerate launch` on
GPUs, `torchrun` on CPUs, where accelerate's own launcher needs MPI and without it starts a single process.
The batch of step t is a pure function of (seed, t) and the learning rate one of t, so a run has no state but weights
and moments: killed and started again, it goes on from its checkpoint to the same weights.

Files: <folder> is there when the run is finished, with `pretraining.json` (configuration, data, losses) beside the
model; <folder>.checkpoint is there while it is not.

Legend: B batch, T tokens, N blocks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from llm_validation.corpus import Tokens, pack, train_tokenizer
from llm_validation.held_out import block_loss, excess_nats
from llm_validation.language import Language
from llm_validation.model import build, device, load, replacing, write
from llm_validation.pretrain_config import PRESETS, Pretraining
from llm_validation.pretrain_loop import Checkpoint, check_same, optimise
from simulate.montecarlo import generator

__all__ = ["PRESETS", "Pretrained", "Pretraining", "pretrain"]

#: In a finished folder: what was trained, on what, with which losses.
RECORD = "pretraining.json"


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A finished run.

    model, tokenizer   on the CPU, in evaluation mode
    losses             (steps,) mean loss of each step's batch before the step, nats per predicted token
    held_out           loss on text not trained on: nats per story of a language, nats per token of documents
    stderr             its standard error
    entropy            of the language in nats per story, the floor of `held_out`; None for documents
    bits_per_byte      of documents; None for a language
    seconds            of training, summed over its parts if it was resumed
    tokens_per_second  tokens read per second of training
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    losses: tuple[float, ...]
    held_out: float
    stderr: float
    entropy: float | None
    bits_per_byte: float | None
    seconds: float
    tokens_per_second: float

    @property
    def excess(self) -> float:
        """held_out/entropy − 1. ValueError for documents, whose entropy nobody knows."""
        if self.entropy is None:
            raise ValueError("the entropy of documents is unknown")
        return self.held_out / self.entropy - 1.0


@dataclass(frozen=True, eq=False)
class _Data:
    """Text made ready: blocks to train on, and held-out stories of a language or held-out blocks of documents."""

    tokenizer: PreTrainedTokenizerFast
    blocks: Tokens
    stories: Sequence[str]
    held_out: Tokens
    bytes_per_token: float


def pretrain(
    config: Pretraining,
    source: Language | Sequence[str],
    folder: str | Path,
    *,
    progress: bool = True,
    on_step: Callable[[int, float], None] | None = None,
) -> Pretrained:
    """Train on a language or on documents and leave the model in `folder`; load it if it is there already.

    progress  a bar with tokens per second, loss and time left
    on_step   called with (step, loss) after each step, and after its checkpoint; what it raises stops the run
    ValueError if `folder` or its checkpoint was made with another configuration or other text: the first field that
    differs is named. TrainingDiverged at the first loss or gradient that is no number.
    """
    folder = Path(folder).absolute()
    made_from = _description(config, source)
    if folder.exists():
        return _finished(folder, made_from)
    accelerator = Accelerator(cpu=device().type == "cpu")
    data = _prepare(config, source)
    model = build(config.size, len(data.tokenizer), config.context, config.seed)
    checkpoint = Checkpoint(folder.with_name(folder.name + ".checkpoint"), made_from)
    curve = optimise(accelerator, config, model, data.blocks, checkpoint, progress=progress, on_step=on_step)
    if accelerator.is_main_process:
        speed = {"seconds": curve.seconds, "tokens_per_second": config.tokens / curve.seconds}
        record = {**made_from, **_measure(model.eval(), config, source, data), **speed, "losses": curve.losses}
        with replacing(folder) as partial:
            write(model, data.tokenizer, partial)
            (partial / RECORD).write_text(json.dumps(record) + "\n")
        checkpoint.remove()
    accelerator.wait_for_everyone()
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


def _finished(folder: Path, wanted: dict[str, Any]) -> Pretrained:
    """The run that left this folder. ValueError if it is not what was asked for, or no run left it."""
    if not (folder / RECORD).is_file():
        raise ValueError(f"{folder} exists and is not a finished pretraining: it has no {RECORD}")
    record = json.loads((folder / RECORD).read_text())
    check_same(folder, record, wanted)
    loaded = load(folder)
    return Pretrained(
        loaded.model,
        loaded.tokenizer,
        tuple(record["losses"]),
        *(record[name] for name in ("held_out", "stderr", "entropy", "bits_per_byte", "seconds", "tokens_per_second")),
    )


# --- data ------------------------------------------------------------------------------------------------------------


def _prepare(config: Pretraining, source: Language | Sequence[str]) -> _Data:
    """Tokenizer and blocks. Documents are shuffled before packing, and their last blocks held out."""
    if isinstance(source, Language):
        stories = source.sample(generator(config.seed, "stories"), config.stories)
        tokenizer = train_tokenizer(stories, config.vocab_size)
        unseen = source.sample(generator(config.seed, "held-out stories"), config.held_out)
        blocks = pack(stories, tokenizer, config.context)
        return _Data(tokenizer, blocks, unseen, blocks[:0], math.nan)
    order = generator(config.seed, "order of documents").permutation(len(source))
    documents = [source[i] for i in order]
    tokenizer = train_tokenizer(documents, config.vocab_size)
    blocks = pack(documents, tokenizer, config.context)
    if len(blocks) <= config.held_out:
        raise ValueError(f"the documents make {len(blocks)} blocks, and held_out asks for {config.held_out} of them")
    size = sum(len(document.encode()) for document in documents)
    split = len(blocks) - config.held_out
    # up to the dropped tail, less than a block
    return _Data(tokenizer, blocks[:split], (), blocks[split:], size / blocks.size)


def _measure(
    model: PreTrainedModel, config: Pretraining, source: Language | Sequence[str], data: _Data
) -> dict[str, float | None]:
    """The held-out loss and what it is compared with, under the names of `Pretrained`'s fields."""
    if isinstance(source, Language):
        excess = excess_nats(model, data.tokenizer, source, data.stories)
        loss, known = source.entropy + excess.value, {"entropy": source.entropy, "bits_per_byte": None}
        return {"held_out": loss, "stderr": excess.stderr, **known}
    measured = block_loss(model, data.held_out, config.batch)
    bits = measured.value / math.log(2.0) / data.bytes_per_token
    return {"held_out": measured.value, "stderr": measured.stderr, "entropy": None, "bits_per_byte": bits}
