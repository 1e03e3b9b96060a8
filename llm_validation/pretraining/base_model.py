"""The base model of a run: one that is given, or one pretrained now, in slices if need be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from llm_validation.pretraining.config import Pretraining
from llm_validation.pretraining.pretrain import Pretrained, pretrain
from llm_validation.pretraining.report import kept_share, write_report
from llm_validation.text.language import STORIES
from llm_validation.training.device import DeviceRates, mfu, training_flops_per_token

#: In a results folder: what pretraining left besides weights. Small, and kept with the rows.
REPORT = "pretraining"


class OutOfTime(Exception):
    """The deadline has come while the base model was trained; its checkpoint is there."""


def base_folder(folder: Path, documents: Sequence[str] | None) -> Path:
    """Where a results folder keeps its base model."""
    return folder / "checkpoints" / ("base" if documents is None else "base-corpus")


def pretrained(
    config: Pretraining,
    documents: Sequence[str] | None,
    folder: Path,
    *,
    deadline: float | None = None,
    shard: bool = False,
    reports: bool = True,
    rates: DeviceRates | None = None,
) -> Path:
    """Pretrain on documents, or on the generated language without any, below a results folder; the model's folder.

    A finished model is taken as it is, an unfinished one goes on from its checkpoint. With `reports` (one of several
    processes does that) what was measured is printed, and a report of it kept in `<folder>/pretraining`. OutOfTime at
    the first checkpoint after `deadline` (time.monotonic()).

    rates   of the device, by which MFU is reckoned once: of a model that is found its report says it
    """
    base, report = base_folder(folder, documents), folder / REPORT
    found = base.is_dir()

    def stop_in_time(step: int, _: float) -> None:
        every = config.checkpoint_every
        if deadline is not None and every and (step + 1) % every == 0 and time.monotonic() > deadline:
            raise OutOfTime(f"pretraining stopped after step {step + 1} of {config.steps}, at its checkpoint")

    made = pretrain(config, STORIES if documents is None else documents, base, on_step=stop_in_time, shard=shard)
    if reports:
        share = kept_share(report)
        if rates is not None and not found:
            share = mfu(made.tokens_per_second, training_flops_per_token(made.model, config.context), rates)
        print(summary(made, share), flush=True)
        write_report(base, report, share)
    return base


def summary(made: Pretrained, share: float | None) -> str:
    """One line: the loss beside its floor, the tokenizer, the speed and the share of the device it uses."""
    if made.entropy is not None:
        loss = f"{made.held_out:.3f} nats per story against an entropy of {made.entropy:.3f} "
        loss += f"({100 * made.excess:+.1f} %)"
    else:
        loss = f"{made.bits_per_byte:.3f} bits per byte"
    speed = f"{made.tokens_per_second:,.0f} tokens/s"
    if share is not None:
        speed += f", MFU {100 * share:.1f} %"
    size = f"{made.parameters / 1e6:.2f} M parameters, {made.bytes_per_token:.2f} bytes per token"
    return f"base model: {loss}, {size}, {made.seconds:.0f} s, {speed}"
