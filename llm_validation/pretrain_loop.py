"""The loop of pretraining: steps, checkpoints, the guard, and several processes.

Legend: B batch, T tokens, N blocks.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from llm_validation.checkpoint import load_checkpoint, read_state, save_checkpoint
from llm_validation.corpus import Tokens
from llm_validation.held_out import token_losses
from llm_validation.model import autocast
from llm_validation.pretrain_config import WITHOUT_EFFECT, Pretraining, batch_at
from llm_validation.train import TrainingDiverged


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
    """How far a run is: the loss of each step's batch before the step (nats per predicted token), and its seconds."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


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
    accelerator: Accelerator,
    config: Pretraining,
    model: PreTrainedModel,
    blocks: Tokens,
    checkpoint: Checkpoint,
    *,
    progress: bool,
    on_step: Callable[[int, float], None] | None,
) -> Curve:
    """Train `model` in place on blocks (N, T), from its checkpoint if there is one; returns the whole curve.

    Every process holds the whole model and takes its share of each batch; the first one writes. ValueError if the
    batch cannot be shared equally, or if the checkpoint is of another run. TrainingDiverged names the step, the
    blocks of its batch and the last good checkpoint.
    """
    _check_processes(accelerator, config.batch)
    where = accelerator.device
    if config.compile and where.type == "cuda":
        model.compile()
    shared = accelerator.prepare(model.train())
    optimiser = _adamw(model, config, where)
    curve = _resume(checkpoint, model, optimiser)
    share = slice(accelerator.process_index, None, accelerator.num_processes)
    with _bar(config, curve, hidden=not (progress and accelerator.is_main_process)) as bar:
        for step in range(len(curve.losses), config.steps):
            started = time.perf_counter()
            numbers = batch_at(config.seed, step, config.batch, len(blocks))
            for group in optimiser.param_groups:
                group["lr"] = config.rate_at(step)
            ids = torch.from_numpy(blocks[numbers[share]]).to(where)
            loss, finite = _step(accelerator, shared, optimiser, ids, config.clip)
            if not finite:
                raise TrainingDiverged(
                    f"step {step}: loss {loss} or its gradient is not finite; batch: blocks {numbers.tolist()}; "
                    f"last good checkpoint: {_last_good(checkpoint)}"
                )
            curve.losses.append(loss)
            curve.seconds += time.perf_counter() - started
            if config.checkpoint_every and (step + 1) % config.checkpoint_every == 0:
                _save(accelerator, checkpoint, model, optimiser, curve)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update(config.batch * config.context)
            if on_step is not None:
                on_step(step, loss)
    return curve


def _step(
    accelerator: Accelerator, shared: torch.nn.Module, optimiser: torch.optim.Optimizer, ids: Tensor, clip: float
) -> tuple[float, bool]:
    """One step on this process's rows; the loss over all processes, and whether it and the gradient were finite.

    Shares are of equal size, so the mean of their gradients is the gradient of the whole batch. Where something is
    not finite the weights stay as they were.
    """
    optimiser.zero_grad(set_to_none=True)
    with autocast(ids.device):
        loss = token_losses(shared, ids).mean()
    accelerator.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(shared.parameters(), clip)
    loss = accelerator.reduce(loss.detach(), "mean")
    finite = bool(torch.isfinite(loss + norm))
    if finite:
        optimiser.step()
    return float(loss), finite


def _adamw(model: PreTrainedModel, config: Pretraining, where: torch.device) -> torch.optim.AdamW:
    """AdamW; gains of norms are not decayed."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.rate, betas=(0.9, 0.95), fused=where.type in ("cpu", "cuda"))


def _check_processes(accelerator: Accelerator, batch: int) -> None:
    known = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
    if accelerator.distributed_type not in known:
        raise ValueError(f"training is data parallel on CPUs or GPUs, not {accelerator.distributed_type}")
    if batch % accelerator.num_processes:
        raise ValueError(f"batch = {batch} cannot be shared equally among {accelerator.num_processes} processes")


def _bar(config: Pretraining, curve: Curve, *, hidden: bool) -> tqdm:
    """Tokens read, tokens per second and time left."""
    done = len(curve.losses) * config.batch * config.context
    return tqdm(
        total=config.tokens, initial=done, desc=f"pretrain {config.size}", unit="tok", unit_scale=True, disable=hidden
    )


def _save(
    accelerator: Accelerator,
    checkpoint: Checkpoint,
    model: PreTrainedModel,
    optimiser: torch.optim.Optimizer,
    curve: Curve,
) -> None:
    """The first process writes, the others wait."""
    if accelerator.is_main_process:
        state = {**checkpoint.made_from, "losses": curve.losses, "seconds": curve.seconds}
        save_checkpoint(checkpoint.folder, model, optimiser, state)
    accelerator.wait_for_everyone()


def _resume(checkpoint: Checkpoint, model: PreTrainedModel, optimiser: torch.optim.Optimizer) -> Curve:
    """Weights, moments and curve of the checkpoint, or the beginning where there is none."""
    if not checkpoint.folder.exists():
        return Curve()
    state = read_state(checkpoint.folder)
    check_same(checkpoint.folder, state, checkpoint.made_from)
    load_checkpoint(checkpoint.folder, model, optimiser)
    return Curve(state["losses"], state["seconds"])


def _last_good(checkpoint: Checkpoint) -> str:
    if not checkpoint.folder.exists():
        return "none was written"
    return f"{checkpoint.folder}, after {len(read_state(checkpoint.folder)['losses'])} steps"
