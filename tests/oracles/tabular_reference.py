"""A reference whose policies are tables: what a run trains ends at its optimum, to many digits, in a second.

The free numbers are the logits of every prompt (of a reward model its rewards), in float64. What a run predicts, weighs
and reads off is then seen without a transformer's capacity and optimiser between it and its prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llm_validation.catalogue.reference import OFF_TARGET, Reference
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.train import Objective, Trained
from llm_validation.claims.table import find_check
from llm_validation.runs.catalogues import SHARED_LAWS
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from simulate.rows.measurement import Measurement
from theory.claim import verdict
from theory.validate import Array


class Table(nn.Module):
    """Logits (P, A + 1) in float64, for a language model."""

    def __init__(self, logits: Array) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))

    @property
    def log_policy(self) -> Tensor:
        return self.logits.log_softmax(-1)


@dataclass(frozen=True, eq=False)
class TabularReference(Reference):
    """Trains tables by AdamW in place of a language model."""

    def tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float64)

    @property
    def width(self) -> int:
        return 1

    def model(self) -> Table:
        return Table(self.log_law)

    def train(
        self, objective: Objective, name: str, *, extra: Sequence[Tensor] = (), schedule: Schedule | None = None,
        head: Tensor | None = None, model: Any = None,
    ) -> Trained:  # fmt: skip
        schedule, table = schedule or self.schedule, self.model() if model is None else model
        rewards = torch.zeros_like(table.logits[:, :-1], requires_grad=True)
        free = [*extra, table.logits if head is None else rewards]
        optimiser = torch.optim.AdamW(free, weight_decay=0.0)
        steps, path, losses = [], [], []
        for step in range(schedule.steps + 1):
            outputs = table.log_policy if head is None else rewards
            loss = objective(step, outputs)
            if step % schedule.record == 0 or step == schedule.steps:
                steps.append(float(step))
                path.append(outputs.detach().numpy().copy())
                losses.append(loss.item())
            if step < schedule.steps:
                optimiser.param_groups[0]["lr"] = schedule.rate_at(step)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        ends = tuple(value.detach().numpy().copy() for value in extra)
        unknown = np.full(len(steps), math.nan)
        return Trained(np.array(steps), np.stack(path), np.array(losses), unknown, ends, 0, 0.0)


def tabular_reference(log_law: Array, schedule: Schedule, seed: int = 0) -> TabularReference:
    """Of prompts with these laws (P, A + 1), off last; every response is one token."""
    P, K = log_law.shape
    encoded = Encoded(tuple((p,) for p in range(P)), tuple(tuple((y + 1,) for y in range(K - 1)) for _ in range(P)))
    return TabularReference(Path(), encoded, log_law, torch.device("cpu"), seed, schedule)


def shared_reference(seed: int, schedule: Schedule) -> TabularReference:
    """The shared catalogue's designed laws, as if every fit had met them."""
    rng = generator(seed, "catalogue", "references")
    law = np.concatenate([laws(rng) for laws in SHARED_LAWS.values()])
    law = np.column_stack([law * (1.0 - OFF_TARGET), np.full(len(law), OFF_TARGET)])
    return tabular_reference(np.log(law), schedule, seed)


def wrong(rows: Iterable[Measurement], limits: Mapping[str, float]) -> dict[str, float]:
    """Of rows that a check judges the values that are not where theory has them, by "CLAIM.CHECK SETTING".

    limits  by check, the most that it is from its prediction (a bound: from 0); else, where the two should be equal, a
            third of its resolution
    """
    found = {}
    for row in rows:
        try:
            check = find_check(row.claim, row.check)
        except KeyError:  # shown, and judged by none
            continue
        predicted = check.predict(row.setting)
        equal = check.kind == "equality"
        limit = limits.get(row.check, check.tolerance(predicted) / 3 if equal else math.inf)
        off = abs(row.value - (predicted if equal else 0.0)) > limit
        if off or verdict(check, predicted, row.value, 0.0) != "agrees":
            found[f"{row.claim}.{row.check} {dict(row.setting)}"] = row.value
    return found
