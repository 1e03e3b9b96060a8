"""What was loaded is the whole model: every weight there, every weight used, every weight a number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

#: What transformers raises for files that are no model, or broken ones.
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)
#: What peft writes beside an adapter's weights.
ADAPTER = "adapter_config.json"


def refuse_adapter(name: str) -> None:
    """ValueError for a folder that holds a LoRA adapter, and no model of its own; it names the model it belongs to."""
    record = Path(name) / ADAPTER
    if record.is_file() and not (Path(name) / "config.json").is_file():
        base = json.loads(record.read_text()).get("base_model_name_or_path", "another model")
        raise ValueError(f"{name} holds an adapter of {base!r} ({ADAPTER}) and no model: merge it into its model first")


def check_weights(name: str, model: nn.Module, report: Mapping[str, Any]) -> None:
    """ValueError names a weight that is missing, not used, of another shape, or no number.

    report  transformers' loading info: what it would fill with random numbers or leave out in silence
    """
    for key, what in (
        ("missing_keys", "are not there, and would be random"),
        ("mismatched_keys", "have another shape than the configuration says"),
        ("unexpected_keys", "belong to no part of the model"),
    ):
        odd = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in report.get(key) or ())
        if odd:
            raise ValueError(f"cannot use {name!r}: {len(odd)} of its weights {what}: {', '.join(odd[:3])}")
    for weight, values in model.named_parameters():
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"cannot use {name!r}: its weight {weight} holds numbers that are not finite")
