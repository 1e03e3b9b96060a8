"""A run on its way, on disk: weights and optimiser state as safetensors, everything else as JSON; never pickle.

A checkpoint is a folder that is there as a whole or not at all. What is restored is exact to the last bit, so that on
a CPU a run that was stopped and goes on equals one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llm_validation.model import replacing

WEIGHTS, OPTIMISER, STATE = "weights.safetensors", "optimiser.safetensors", "state.json"


def save_checkpoint(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, object]
) -> None:
    """Write parameters, the optimiser's tensors and `state` (JSON values) in place of the checkpoint there."""
    moments = {
        f"{number}.{name}": value.detach().clone().contiguous()
        for number, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
    }
    with replacing(folder) as partial:
        # parameters and not the state dictionary: tied weights are stored once
        save_file({name: p.detach().contiguous() for name, p in model.named_parameters()}, partial / WEIGHTS)
        save_file(moments, partial / OPTIMISER)
        (partial / STATE).write_text(json.dumps(dict(state)))


def read_state(folder: Path) -> dict[str, Any]:
    """The JSON part of a checkpoint."""
    state: dict[str, Any] = json.loads((folder / STATE).read_text())
    return state


@torch.no_grad()
def load_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put the weights and the optimiser's state back in place; ValueError names a parameter that does not fit."""
    weights = load_file(folder / WEIGHTS)
    parameters = dict(model.named_parameters())
    if odd := sorted(parameters.keys() ^ weights.keys()):
        raise ValueError(f"{folder} and the model do not have the same parameters: {odd[0]} is in one of them only")
    for name, parameter in parameters.items():
        if parameter.shape != weights[name].shape:
            raise ValueError(f"{folder}: {name} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}")
        parameter.copy_(weights[name])
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(folder / OPTIMISER).items():
        number, name = key.split(".", 1)
        entries.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": entries, "param_groups": optimiser.state_dict()["param_groups"]})
