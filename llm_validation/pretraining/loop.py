"""The loop of pretraining: steps, checkpoints, the guard, several processes, and too little device memory.

Legend: B batch, T tokens, N blocks.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from llm_validation.catalogue.train import TrainingDiverged
from llm_validation.model.checkpoint import load_checkpoint, read_state, save_checkpoint
from llm_validation.model.model import autocast
from llm_validation.model.sharding import decoder_layers, reshard, shard, whole
from llm_validation.pretraining.config import WITHOUT_EFFECT, Pretraining, batch_at
from llm_validation.pretraining.held_out import token_losses
from llm_validation.text.corpus import Tokens
from llm_validation.training.memory import Portion, TooLittleMemory, fitting


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
    """How far a run is.

    losses   of each step's batch before the step, nats per predicted token
    seconds  that the steps took
    points   of the learning curve
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    points: list[Point] = field(default_factory=list)

    def measured(self, held_out: float) -> None:
        """Add the point of this step."""
        since = self.losses[self.points[-1].step if self.points else 0 :]
        self.points.append(Point(len(self.losses), sum(since) / len(since), held_out))


def check_same(there: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """ValueError names the first field in which what lies on disk differs from what is asked for."""
    if found["text"] != wanted["text"]:
        raise ValueError(f"{there} was trained on other text: {found['text']}, not {wanted['text']}")
    for name, value in wanted["config"].items():
        if name not in WITHOUT_EFFECT and found["config"].get(name) != value:
            raise ValueError(
                f"{there} was trained with {name} = {found['config'].get(name)!r}, not {value!r}: "
                "remove it or choose another folder"
            )


def optimise(
    state: PartialState,
    config: Pretraining,
    model: PreTrainedModel,
    blocks: Tokens,
    checkpoint: Checkpoint,
    held_out: Callable[[], float],
    *,
    sharded: bool,
    progress: bool,
    on_step: Callable[[int, float], None] | None,
) -> Curve:
    """Train `model` in place on blocks (N, T), from its checkpoint if there is one; returns the whole curve.

    Every process takes its share of each batch; it holds the whole model, or its part of it where `sharded`. The
    first process writes. `held_out` is what the learning curve shows besides the training loss: it is called by every
    process, with the model in evaluation mode. ValueError if the batch cannot be shared equally, or if the checkpoint
    is of another run. TrainingDiverged names the step, the blocks of its batch and the last good checkpoint.
    TooLittleMemory where device memory does not even do for one row of a batch, or for this process's share of it
    while there are other processes.
    """
    if config.batch % state.num_processes:
        raise ValueError(f"batch = {config.batch} cannot be shared equally among {state.num_processes} processes")
    where, alone = state.device, state.num_processes == 1
    shared = _spread(model, config, state, sharded)
    optimiser = _adamw(model, config, where)
    curve = _resume(checkpoint, model, optimiser)
    share = slice(state.process_index, None, state.num_processes)
    portion = Portion(config.batch // state.num_processes)
    if config.compile and where.type == "cuda" and len(curve.losses) < config.steps:
        numbers = batch_at(config.seed, len(curve.losses), config.batch, len(blocks))
        ids = torch.from_numpy(blocks[numbers[share]]).to(where)
        fitting("compiling", portion, partial(_gradient, shared, optimiser, config.clip, ids), alone=alone)
        optimiser.zero_grad(set_to_none=True)  # compiled before the clock starts; nothing was trained
        torch.cuda.synchronize(where)
    with _bar(config, curve, hidden=not (progress and state.is_main_process)) as bar:
        for step in range(len(curve.losses), config.steps):
            started = time.perf_counter()
            numbers = batch_at(config.seed, step, config.batch, len(blocks))
            for group in optimiser.param_groups:
                group["lr"] = config.rate_at(step)
            ids = torch.from_numpy(blocks[numbers[share]]).to(where)
            work = partial(_gradient, shared, optimiser, config.clip, ids)
            mine, norm = fitting(f"step {step}", portion, work, alone=alone)
            loss = reduce(mine, "mean")
            # where something is not finite the weights stay as they were
            if not torch.isfinite(loss + norm):
                raise TrainingDiverged(
                    f"step {step}: loss {float(loss)} or its gradient is not finite; batch: blocks "
                    f"{numbers.tolist()}; last good checkpoint: {_last_good(checkpoint)}"
                )
            _update(optimiser, step)
            curve.losses.append(float(loss))
            curve.seconds += time.perf_counter() - started
            if step + 1 in config.evaluated_after:
                curve.measured(_evaluate(model, held_out, config))
            if config.checkpoint_every and (step + 1) % config.checkpoint_every == 0:
                _save(state, checkpoint, model, optimiser, curve, sharded)
            bar.set_postfix(loss=f"{curve.losses[-1]:.3f}", refresh=False)
            bar.update(config.batch * config.context)
            if on_step is not None:
                on_step(step, curve.losses[-1])
    return curve


def _gradient(
    shared: nn.Module, optimiser: torch.optim.Optimizer, clip: float, ids: Tensor, rows: int
) -> tuple[Tensor, Tensor]:
    """Leave the clipped gradient of the mean loss of ids (B, T) in place, from `rows` rows at a time.

    Returns the loss of this process's rows and the norm of the gradient over all processes. Portions count by their
    rows and the processes' shares are of equal size, so the gradient is that of the whole batch.
    """
    optimiser.zero_grad(set_to_none=True)
    losses = []
    for part in ids.split(rows):
        with autocast(ids.device):
            loss = token_losses(shared, part).mean() * (len(part) / len(ids))
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum(), whole(clip_grad_norm_(shared.parameters(), clip))


def _update(optimiser: torch.optim.Optimizer, step: int) -> None:
    """The optimiser's step. It is not repeated: when memory runs out in it, part of the state may be there already."""
    try:
        optimiser.step()
    except torch.OutOfMemoryError as error:
        count = sum(p.numel() for group in optimiser.param_groups for p in group["params"])
        raise TooLittleMemory(
            f"step {step}: weights, gradients and both moments of {count} parameters do not fit in the device's "
            f"memory; choose a smaller model, or shard it over several processes ({error})"
        ) from error


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


def _adamw(model: PreTrainedModel, config: Pretraining, where: torch.device) -> torch.optim.AdamW:
    """AdamW; gains of norms are not decayed."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.rate, betas=(0.9, 0.95), fused=where.type in ("cpu", "cuda"))


def _bar(config: Pretraining, curve: Curve, *, hidden: bool) -> tqdm:
    """Tokens read, tokens per second and time left."""
    done = len(curve.losses) * config.batch * config.context
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
        done = {"losses": curve.losses, "seconds": curve.seconds, "points": curve.points}
        save_checkpoint(checkpoint.folder, model, optimiser, {**checkpoint.made_from, **done})
    state.wait_for_everyone()


def _resume(checkpoint: Checkpoint, model: PreTrainedModel, optimiser: torch.optim.Optimizer) -> Curve:
    """Weights, moments and curve of the checkpoint, or the beginning where there is none."""
    if not checkpoint.folder.exists():
        return Curve()
    state = read_state(checkpoint.folder)
    check_same(checkpoint.folder, state, checkpoint.made_from)
    check_complete(checkpoint.folder, state, ("losses", "seconds", "points"))
    load_checkpoint(checkpoint.folder, model, optimiser)
    return Curve(state["losses"], state["seconds"], [Point(*point) for point in state["points"]])


def check_complete(there: Path, found: dict[str, Any], needed: tuple[str, ...]) -> None:
    """ValueError names an entry that the record of a run on disk lacks."""
    for name in needed:
        if name not in found:
            raise ValueError(f"{there} has no {name!r}: it was made by another version; remove it and train again")


def _last_good(checkpoint: Checkpoint) -> str:
    if not checkpoint.folder.exists():
        return "none was written"
    return f"{checkpoint.folder}, after {len(read_state(checkpoint.folder)['losses'])} steps"
