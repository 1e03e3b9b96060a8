"""The loop of pretraining around the one of `llm_validation.training.loop`: batches, checkpoints, several processes.

Legend: B batch, T tokens, N blocks.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from llm_validation.model.checkpoint import load_checkpoint, read_state, save_checkpoint
from llm_validation.model.model import autocast
from llm_validation.model.sharding import decoder_layers, reshard, shard
from llm_validation.pretraining.config import WITHOUT_EFFECT, Pretraining, batch_at
from llm_validation.pretraining.held_out import token_losses
from llm_validation.text.corpus import Tokens
from llm_validation.training.loop import History, adamw, minimise
from llm_validation.training.memory import Portion, fitting


class Point(NamedTuple):
    """A point of the learning curve.

    step        steps done
    train_loss  mean loss of the batches since the point before, nats per predicted token
    held_out    loss on a fixed part of the held-out text: nats per story of a language, nats per token of documents
    """

    step: int
    train_loss: float
    held_out: float


@dataclass(frozen=True)
class Checkpoint:
    """Where a run keeps its last good state, and what it is made from (configuration and text)."""

    folder: Path
    made_from: dict[str, Any]

    def remove(self) -> None:
        """Leave nothing behind; there may be nothing."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


@dataclass
class Curve:
    """How far a run is: loss of each step's batch, nats per predicted token, seconds, and the learning curve."""

    history: History = field(default_factory=History)
    points: list[Point] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Steps."""
        return len(self.history.losses)

    def add(self, held_out: float) -> None:
        """The point of this step."""
        since = self.history.loss()[self.points[-1].step if self.points else 0 :]
        self.points.append(Point(self.done, sum(since) / len(since), held_out))

    def record(self) -> dict[str, Any]:
        """What is kept of it."""
        return {"losses": self.history.loss(), "seconds": self.history.seconds, "points": self.points}

    @staticmethod
    def of(record: dict[str, Any]) -> Curve:
        """The curve of a record."""
        history = History([[loss] for loss in record["losses"]], seconds=record["seconds"])
        return Curve(history, [Point(*point) for point in record["points"]])


def check_same(there: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """ValueError names the first field in which what lies on disk differs from what is asked for."""
    if found["text"] != asked["text"]:
        raise ValueError(f"{there} was trained on other text: {found['text']}, not {asked['text']}")
    for name, value in asked["config"].items():
        if name not in WITHOUT_EFFECT and found["config"].get(name) != value:
            raise ValueError(
                f"{there} was trained with {name} = {found['config'].get(name)!r}, not {value!r}: "
                "remove it or choose another folder"
            )


@dataclass(frozen=True)
class Hooks:
    """What a run does besides its steps.

    held_out  what the learning curve shows besides the training loss: called by every process, in evaluation mode
    on_step   called with (step, loss) after each step
    progress  whether the first process shows a bar
    """

    held_out: Callable[[], float]
    on_step: Callable[[int, float], None] | None = None
    progress: bool = True


def optimise(
    state: PartialState,
    config: Pretraining,
    model: PreTrainedModel,
    blocks: Tokens,
    checkpoint: Checkpoint,
    hooks: Hooks,
    *,
    sharded: bool,
) -> Curve:
    """Train `model` in place on blocks (N, T), from its checkpoint if there is one; returns the whole curve.

    Every process takes its part of each batch; it holds the whole model, or its part of it where `sharded`. The first
    process writes. ValueError if the batch cannot be divided equally, or if the checkpoint is of another run.
    TrainingDiverged names the step, the blocks of its batch and the last good checkpoint. TooLittleMemory where device
    memory does not even do for one row of a batch, or for this process's part of it while there are other processes.
    """  # fmt: skip
    if config.batch % state.num_processes:
        raise ValueError(f"batch = {config.batch} cannot be divided equally among {state.num_processes} processes")
    shared = _spread(model, config, state, sharded)
    optimiser = adamw(model, config.schedule)
    curve = _resume(checkpoint, model, optimiser)
    gradient = _Gradient(shared, config, state, blocks)
    batches = (batch_at(config.seed, step, config.batch, len(blocks)) for step in range(curve.done, config.steps))
    if config.compile and state.device.type == "cuda" and curve.done < config.steps:
        gradient(curve.done, batch_at(config.seed, curve.done, config.batch, len(blocks)))
        torch.cuda.synchronize(state.device)  # compiled before the clock starts; nothing was trained
    with _bar(config, curve, hidden=not (hooks.progress and state.is_main_process)) as bar:

        def on_step(step: int, history: History) -> None:
            if step + 1 in config.evaluated_after:
                curve.add(_evaluate(model, hooks.held_out, config))
            if config.checkpoint_every and (step + 1) % config.checkpoint_every == 0:
                _save(state, checkpoint, model, optimiser, curve, sharded)
            bar.set_postfix(loss=f"{history.losses[-1][0]:.3f}", refresh=False)
            bar.update(config.batch * config.context)
            if hooks.on_step is not None:
                hooks.on_step(step, history.losses[-1][0])

        guard = lambda numbers: f"blocks {numbers.tolist()}; last good checkpoint: {_last_good(checkpoint)}"
        minimise(
            shared, batches, gradient, config.schedule,
            name="pretraining", optimiser=optimiser, history=curve.history, on_step=on_step, guard=guard,
        )  # fmt: skip
    return curve


class _Gradient:
    """The gradient of a batch of blocks, from as many rows at a time as fit the device's memory."""

    def __init__(self, shared: nn.Module, config: Pretraining, state: PartialState, blocks: Tokens) -> None:
        self.shared, self.state, self.blocks = shared, state, blocks
        self.portion = Portion(config.batch // state.num_processes)

    def __call__(self, step: int, numbers: np.ndarray) -> Tensor:
        """The loss over all processes. Their parts are of equal size, so the gradient is that of the whole batch."""
        mine = numbers[self.state.process_index :: self.state.num_processes]
        ids = torch.from_numpy(self.blocks[mine]).to(self.state.device)
        alone = self.state.num_processes == 1
        return reduce(fitting(f"step {step}", self.portion, partial(self._of, ids), alone=alone), "mean")

    def _of(self, ids: Tensor, rows: int) -> Tensor:
        """Leave the gradient of the mean loss of ids (B, T) in place of any other, from `rows` rows at a time."""
        self.shared.zero_grad(set_to_none=True)
        losses = []
        for part in ids.split(rows):
            with autocast(ids.device):
                loss = token_losses(self.shared, part).mean() * (len(part) / len(ids))  # portions count by their rows
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()


@torch.no_grad()
def _evaluate(model: PreTrainedModel, held_out: Callable[[], float], config: Pretraining) -> float:
    """`held_out()` with the model in evaluation mode."""
    model.eval()
    with uncompiled(config.compile):
        loss = held_out()
    reshard(model)
    model.train()
    return loss


def uncompiled(compiled: bool) -> AbstractContextManager[object]:
    """Run a compiled model as it is: held-out text has many shapes, and each would be compiled."""
    if compiled:
        return torch.compiler.set_stance("force_eager")
    return contextlib.nullcontext()


#: SDPA without a mask. Blocks are full, and the mask that transformers makes in compiled code, causal and no more,
#: keeps flash attention away.
WITHOUT_MASK = "sdpa_causal"
AttentionInterface.register(WITHOUT_MASK, sdpa_attention_forward)


def _spread(model: PreTrainedModel, config: Pretraining, state: PartialState, sharded: bool) -> nn.Module:
    """The model on this process's device, ready to be called in training: alone, data parallel, or sharded in place."""
    if config.compile and state.device.type == "cuda":
        model.set_attn_implementation(WITHOUT_MASK)
        for part in decoder_layers(model) if sharded else (model,):  # a layer is compiled between two gatherings
            part.compile()
    model.train()
    if sharded:
        shard(model, model)
        return model
    model.to(state.device)
    return model if state.num_processes == 1 else DistributedDataParallel(model)


def _bar(config: Pretraining, curve: Curve, *, hidden: bool) -> tqdm:
    """Tokens read, tokens per second and time left."""
    done = curve.done * config.batch * config.context
    return tqdm(
        total=config.tokens, initial=done, desc=f"pretrain {config.size}", unit="tok", unit_scale=True, disable=hidden
    )


def _save(
    state: PartialState,
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    optimiser: torch.optim.Optimizer,
    curve: Curve,
    sharded: bool,
) -> None:
    """The first process writes, the others bring their parts of a sharded model, and wait."""
    if state.is_main_process or sharded:
        save_checkpoint(checkpoint.folder, model, optimiser, {**checkpoint.made_from, **curve.record()})
    state.wait_for_everyone()


def _resume(checkpoint: Checkpoint, model: PreTrainedModel, optimiser: torch.optim.Optimizer) -> Curve:
    """Weights, moments and curve of the checkpoint, or the beginning where there is none."""
    if not checkpoint.folder.exists():
        return Curve()
    state = read_state(checkpoint.folder)
    check_same(checkpoint.folder, state, checkpoint.made_from)
    check_complete(checkpoint.folder, state, ("losses", "seconds", "points"))
    load_checkpoint(checkpoint.folder, model, optimiser)
    return Curve.of(state)


def check_complete(there: Path, found: dict[str, Any], needed: tuple[str, ...]) -> None:
    """ValueError names an entry that the record of a run on disk lacks."""
    for name in needed:
        if name not in found:
            raise ValueError(f"{there} has no {name!r}: it was made by another version; remove it and train again")


def _last_good(checkpoint: Checkpoint) -> str:
    if not checkpoint.folder.exists():
        return "none was written"
    return f"{checkpoint.folder}, after {len(read_state(checkpoint.folder)['losses'])} steps"
