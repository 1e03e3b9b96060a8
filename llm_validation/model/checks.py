"""What was loaded is the whole model: every weight there, every weight used, every one a number; and it is causal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn

#: What a device raises, whatever it computes.
DEVICE = (torch.OutOfMemoryError, torch.AcceleratorError)
#: What a network of transformers raises on what it cannot read; those of the device are among them.
FAILS = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError)
#: What transformers raises for files that are no model, broken ones, or ones for packages that are not here.
UNREADABLE = (OSError, ImportError, SafetensorError, StrictDataclassError, *FAILS)
#: What peft writes beside an adapter's weights.
ADAPTER = "adapter_config.json"


def refuse_adapter(name: str) -> None:
    """ValueError for a folder that holds a LoRA adapter; it names the model it belongs to.

    Beside a model too: transformers would put the adapter on it and leave no other weight to be trained.
    """
    record = Path(name) / ADAPTER
    if not record.is_file():
        return
    try:
        base = json.loads(record.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        base = None
    what = "beside a model" if list(Path(name).glob("model*.safetensors")) else "and no model"
    raise ValueError(f"{name} holds an adapter of {base or 'another model'!r} ({ADAPTER}) {what}: merge it into its "
                     "model first")  # fmt: skip


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


def in_a_line(error: BaseException) -> str:
    """What an error says, in one line; its name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


@torch.inference_mode()
def check_causal(name: str, model: Any) -> None:
    """ValueError for a model that cannot read a text, or in which a token depends on those after it.

    Encoders (BERT, RoBERTa) load as causal models too, and say so in a warning only.
    """
    kind, most = type(model).__name__, int(model.get_input_embeddings().num_embeddings)
    text = torch.arange(5)[None] % most
    changed = torch.cat([text[:, :3], (text[:, 3:] + 1) % most], dim=1)
    try:
        one, other = (model(input_ids=tokens, use_cache=False).logits[0, :3] for tokens in (text, changed))
    except DEVICE:
        raise
    except FAILS as error:
        raise ValueError(f"cannot use {name!r}: its {kind} cannot read a text: {in_a_line(error)}") from error
    if bool(torch.isfinite(one).all()) and float((one - other).abs().max()) > 1e-5 * float(one.abs().max()):
        raise ValueError(
            f"cannot use {name!r}: in its {kind} a token depends on those after it: it is no causal language model"
        )
