"""A run on its way, on disk: weights and optimiser state as safetensors, everything else as JSON; never pickle.

A checkpoint is a folder that is there as a whole or not at all. What is restored is exact to the last bit, so that on
a CPU a run that was stopped and goes on equals one that was not. Tensors are whole, also those of a sharded run: a
run may go on with another number of processes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llm_validation.model.folders import replacing
from llm_validation.model.sharding import full_weights, gathered, part_like

WEIGHTS, OPTIMISER, STATE = "weights.safetensors", "optimiser.safetensors", "state.json"


def save_checkpoint(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, object]
) -> None:
    """Write weights, the optimiser's tensors and `state` (JSON values) in place of the checkpoint there.

    The first process writes. Where the model is sharded every process must call this, else the first one alone may.
    """
    weights = full_weights(model)  # tied weights are stored once
    moments = gathered(
        (f"{number}.{name}", value)
        for number, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    )
    if dist.is_initialized() and dist.get_rank() > 0:
        return
    with replacing(folder) as partial:
        save_file(weights, partial / WEIGHTS)
        save_file({name: value.clone() for name, value in moments.items()}, partial / OPTIMISER)
        (partial / STATE).write_text(json.dumps(dict(state)), encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint."""
    state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return state


@torch.no_grad()
def load_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put the weights and the optimiser's state back in place; ValueError names a parameter that does not fit.

    Each process reads the whole files and keeps its part of a sharded model.
    """
    weights = load_file(folder / WEIGHTS)
    parameters = dict(model.named_parameters())
    if odd := sorted(parameters.keys() ^ weights.keys()):
        raise ValueError(f"{folder} and the model do not have the same parameters: {odd[0]} is in one of them only")
    for name, parameter in parameters.items():
        if parameter.shape != weights[name].shape:
            raise ValueError(f"{folder}: {name} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}")
        parameter.copy_(part_like(weights[name], parameter))
    places = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(folder / OPTIMISER).items():
        number, name = key.split(".", 1)
        place = places[int(number)]
        # the count of steps is one number, and every process has it
        entries.setdefault(int(number), {})[name] = part_like(value, place) if value.shape == place.shape else value
    optimiser.load_state_dict({"state": entries, "param_groups": optimiser.state_dict()["param_groups"]})
