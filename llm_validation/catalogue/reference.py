"""A reference model fitted to a catalogue, its exact law, and the runs that start from it.

Theory does not assume the designed reference: after the fit π_ref is measured, to float64 from exact float32
log-probabilities, and predictions start from the measured law and the very data that training sees. What is left
between prediction and trained model is then optimisation and capacity, not sampling.

Shapes: P prompts, A responses; laws (P, A + 1), off the catalogue last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Objective, Task, Trained, Trainer, train_one
from llm_validation.catalogue.trie import PrefixTrie, agrees_with_rows, log_policy
from llm_validation.model.model import load
from llm_validation.training.schedule import Schedule
from simulate.rows.store import replace_file
from theory.validate import Array

#: Mass off the catalogue, per prompt, that a reference fit aims at, that it stops with, and the most that is accepted.
#: Runs end as far from their predictions as this mass lets them, so that it is to be small whatever seed and processor.
OFF_TARGET, OFF_DONE, OFF_LIMIT = 0.005, 0.02, 0.05
#: How often a fit's schedule is run at most.
FIT_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Reference:
    """Prompts of one catalogue and the reference that every run starts from.

    folder         the reference model's checkpoint
    encoded        the catalogue in tokens
    log_law        (P, A + 1) measured log π_ref, nats, normalised in float64
    device         where runs train
    seed           names the generators of everything random
    schedule       the default of its runs
    traces         folder for one file per run: the exact log-policy along training; None: not kept
    trainer        what trains: alone, or as one stack with the same run of other seeds
    """

    folder: Path
    encoded: Encoded
    log_law: Array
    device: torch.device
    seed: int
    schedule: Schedule
    traces: Path | None = None
    trainer: Trainer = train_one

    def model(self) -> Any:
        """A fresh copy of the reference model."""
        model: Any = load(self.folder).model
        return model.to(self.device)

    def trie(self) -> PrefixTrie:
        return self.encoded.trie().to(self.device)

    def part(self, prompts: Sequence[int] | slice) -> Reference:
        """The same reference with these prompts only."""
        chosen = list(range(len(self.log_law))[prompts] if isinstance(prompts, slice) else prompts)
        encoded = Encoded(
            tuple(self.encoded.prompts[p] for p in chosen), tuple(self.encoded.responses[p] for p in chosen)
        )
        return replace(self, encoded=encoded, log_law=self.log_law[chosen])

    def tensor(self, values: Any) -> Tensor:
        """float32 on the device."""
        return torch.as_tensor(np.asarray(values, dtype=np.float64), dtype=torch.float32, device=self.device)

    @property
    def logs(self) -> Tensor:
        """`log_law` as a tensor."""
        return self.tensor(self.log_law)

    @property
    def width(self) -> int:
        """H, of the hidden states."""
        return int(self.model().get_output_embeddings().weight.shape[1])

    @property
    def n_responses(self) -> int:
        return self.log_law.shape[1] - 1

    @property
    def on_catalogue(self) -> Array:
        """π_ref (P, A) conditional on the catalogue."""
        return conditional(np.exp(self.log_law))

    def train(
        self,
        objective: Objective,
        name: str,
        *,
        extra: Sequence[Tensor] = (),
        schedule: Schedule | None = None,
        head: Tensor | None = None,
        model: Any = None,
        momentum: float | None = None,
    ) -> Trained:
        """Train a fresh copy of the reference, or `model` in place, on an objective of log π (P, A + 1).

        momentum  of gradient descent in AdamW's place
        head  (H,) of a reward model: the objective is then one of rewards (P, A), and no trace is kept
        """
        trained = self.trainer(
            Task(
                self.model() if model is None else model,
                self.trie(),
                objective,
                schedule or self.schedule,
                tuple(extra),
                name=name,
                head=head,
                momentum=momentum,
            )
        )
        if self.traces is not None and head is None:
            write_trace(trained, self.traces / f"{name.replace(' ', '_')}-{self.seed}.csv")
        return trained


def write_trace(trained: Trained, path: Path) -> None:
    """One line per recorded step and prompt: loss, gradient norm, log π of every response and off; atomic."""
    steps, P, K = trained.path.shape
    table = pd.DataFrame(trained.path.reshape(steps * P, K), columns=[*(f"y{y}" for y in range(K - 1)), "off"])
    for place, name in enumerate(("step", "loss", "grad_norm")):
        table.insert(place, name, np.repeat(getattr(trained, name), P))
    table.insert(1, "prompt", np.tile(np.arange(P), steps))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, table.to_csv(index=False, float_format="%.7g"))


def conditional(law: Array) -> Array:
    """A law (P, A + 1) conditional on the catalogue, (P, A)."""
    on = law[:, :-1]
    return on / on.sum(axis=1, keepdims=True)


def total_variation(p: Array, q: Array) -> Array:
    """½ Σ |p − q| (P,) of two laws (P, K)."""
    return 0.5 * np.abs(p - q).sum(axis=1)


def measure_reference(model: Any, trie: PrefixTrie) -> Array:
    """Log-law (P, A + 1) of a model on a catalogue, normalised in float64."""
    with torch.no_grad():
        logs = log_policy(model, trie).double().cpu().numpy()
    return logs - np.logaddexp.reduce(logs, axis=1, keepdims=True)


def fit_reference(
    model: Any, encoded: Encoded, target: Array, schedule: Schedule, device: torch.device, trainer: Trainer = train_one
) -> Trained:
    """Fine-tune onto a designed law on the catalogue; the model in place.

    Minimises Σ_x KL(target_x ‖ π_x) over responses and off, target off being `OFF_TARGET`; the schedule is run again
    while more than `OFF_DONE` is off the catalogue at some prompt, `FIT_ROUNDS` times at most (text in many tokens
    takes longer to learn). After the last round up to `OFF_LIMIT` is accepted.

    Parameters
    ----------
    model
        Any causal language model of transformers.
    encoded : Encoded
        The catalogue in tokens: P prompts, A responses each.
    target : ndarray, (P, A)
        Rows that sum to one.
    schedule : Schedule
        Steps, rate, warm-up, clip.
    device : torch.device
        Where to train.
    trainer : callable
        How one task is trained; alone by default.

    Returns
    -------
    Trained
        Of the last round.

    Raises
    ------
    ValueError
        Names the prompt that stays off the catalogue; a model whose tree attention is not what it should be.

    Examples
    --------
    >>> from llm_validation import fit_reference
    >>> from llm_validation.catalogue.texts import Encoded
    >>> from llm_validation.model.model import build
    >>> encoded = Encoded(prompts=((3,),), responses=(((4, 1), (5, 1)),))
    >>> model, schedule = build("smoke", vocab_size=16, context=32, seed=0), Schedule(steps=100, rate=3e-3)
    >>> fitted = fit_reference(model, encoded, np.array([[0.75, 0.25]]), schedule, torch.device("cpu"))
    >>> bool(np.abs(np.exp(fitted.log_policy[0, :2]) - [0.75, 0.25]).max() < 0.05)
    True
    """
    trie = encoded.trie().to(device)
    agrees_with_rows(model, trie, encoded.prompts[0], encoded.responses[0], 1e-3 if device.type == "cpu" else 2e-2)
    law = np.concatenate([target * (1.0 - OFF_TARGET), np.full((len(target), 1), OFF_TARGET)], axis=1)
    weight = torch.as_tensor(law, dtype=torch.float32, device=device)

    def cross_entropy(_: int, logs: Tensor) -> Tensor:
        return -(weight * logs).sum(-1).mean()

    for _ in range(FIT_ROUNDS):
        fitted = trainer(Task(model, trie, cross_entropy, schedule, name="reference fit"))
        off = np.exp(fitted.log_policy[:, -1])
        if off.max() <= OFF_DONE:
            break
    if off.max() > OFF_LIMIT:
        worst = int(off.argmax())
        raise ValueError(
            f"the reference leaves {off[worst]:.3f} off the catalogue at prompt {worst}, more than {OFF_LIMIT}, after "
            f"{FIT_ROUNDS} fits of {schedule.steps} steps: train it longer"
        )
    return fitted
