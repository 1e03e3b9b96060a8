"""A training on preferences on its way, on disk: one that was killed goes on to the same rows.

The folder holds weights, the optimiser's moments and what was measured (`llm_validation.model.checkpoint`), and the
settings that the rows depend on. A run with other settings does not go on from it: the setting is named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from llm_validation.model.checkpoint import STATE, load_checkpoint, read_state, save_checkpoint
from llm_validation.preferences.data import Preferences
from llm_validation.preferences.trace import Mean, Moved, Tracer
from llm_validation.training.loop import History


@dataclass(frozen=True)
class Kept:
    """Losses and gradient norms of the steps done and their seconds; the running mean of rewards; measurements."""

    losses: list[list[float]]
    norms: list[list[float]]
    seconds: float
    total: float
    count: int
    trace: Sequence[Moved]


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is kept, and every how many steps; `settings` are JSON values that its rows depend on."""

    folder: Path
    settings: Mapping[str, object]
    every: int = 50

    def check(self) -> int:
        """Steps done by the run that is kept, 0 without one. ValueError names a setting that differs."""
        if not (self.folder / STATE).is_file():
            return 0
        state = read_state(self.folder)
        old, new = state["settings"], json.loads(json.dumps(dict(self.settings)))
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                raise ValueError(
                    f"{self.folder} holds a run with {name} = {old.get(name)!r}, and this one has {new.get(name)!r}: "
                    "end that one with its own settings, or remove the folder"
                )
        return len(state["losses"])

    def load(self, model: Any, optimiser: torch.optim.Optimizer) -> Kept | None:
        """Put a kept run's weights and moments in place; None without one."""
        if not self.check():
            return None
        state = read_state(self.folder)
        load_checkpoint(self.folder, model, optimiser)
        trace = [_moved(row) for row in state["trace"]]
        return Kept(state["losses"], state["norms"], state["seconds"], state["total"], state["count"], trace)

    def save(self, model: Any, optimiser: torch.optim.Optimizer, kept: Kept) -> None:
        """In place of what is kept already."""
        save_checkpoint(self.folder, model, optimiser, {**asdict(kept), "settings": dict(self.settings)})


@dataclass(eq=False)
class Course:
    """What happens between steps: measurements, checkpoints, the caller's function.

    objective   of the training: `total` and `count` of its running mean are kept too
    """

    model: Any
    optimiser: torch.optim.Optimizer
    objective: Any
    steps: int
    tracer: Tracer | None
    checkpoint: Checkpoint | None
    on_step: Callable[[int, int, float], None] | None
    trace: list[Moved] = field(default_factory=list)

    def begin(self) -> History:
        """The history so far: of a checkpoint, or empty and the first measurement made."""
        if self.checkpoint and (kept := self.checkpoint.load(self.model, self.optimiser)):
            self.objective.total, self.objective.count, self.trace = kept.total, kept.count, list(kept.trace)
            return History(kept.losses, kept.norms, kept.seconds)
        if self.tracer:
            self.trace.append(self.tracer(0))
        return History()

    def __call__(self, step: int, history: History) -> None:
        done = step + 1
        if self.tracer and (done == self.steps or done % (self.tracer.watch.every or max(1, self.steps // 10)) == 0):
            self.trace.append(self.tracer(done))
        if self.checkpoint and done % self.checkpoint.every == 0:
            how = self.objective
            kept = Kept(history.losses, history.norms, history.seconds, how.total, how.count, self.trace)
            self.checkpoint.save(self.model, self.optimiser, kept)
        if self.on_step:
            self.on_step(step, self.steps, history.losses[-1][0])


def _moved(row: Mapping[str, Any]) -> Moved:
    means = {name: Mean(**value) for name, value in row.items() if isinstance(value, dict)}
    return Moved(**{**row, **means})


def digest(data: Preferences) -> str:
    """Of the tokens and scores of all examples."""
    listed = [(e.prompt, e.completion) if e.score is None else (e.prompt, e.completion, e.score) for e in data.examples]
    tokens = json.dumps([*listed, len(data.chosen), data.paired])
    return hashlib.sha256(tokens.encode()).hexdigest()[:12]
