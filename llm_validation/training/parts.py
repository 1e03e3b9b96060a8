"""Which weights of a model are trained: all, those of the last blocks, or adapters of low rank (peft).

all      every weight
top:K    the last K decoder blocks; what is below them, the embeddings and the output layer stay as they are
lora:R   matrices of rank R beside every linear layer of the blocks, merged into it at the end
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from llm_validation.model.checks import DEVICE, FAILS, in_a_line
from llm_validation.model.sharding import decoder_layers


def check_part(what: str) -> tuple[str, int]:
    """("all", 0), ("top", K) or ("lora", R). ValueError for anything else."""
    if what == "all":
        return "all", 0
    found = re.fullmatch(r"(top|lora):([1-9]\d*)", what)
    if not found:
        raise ValueError(f"train = {what!r} must be all, top:K or lora:R, with K and R at least 1")
    return found[1], int(found[2])


def choose_part(model: Any, what: str, seed: int) -> Callable[[], None]:
    """Leave a gradient to that part of the weights alone; what is returned merges adapters, and is called at the end.

    seed   of the adapters' first values; with them the model computes what it computed before
    ValueError: more blocks than there are; lora without the package peft, or for a model that adapters do not fit.
    """
    kind, number = check_part(what)
    if kind == "lora":
        return _adapters(model, number, seed)
    if kind == "top":
        layers = decoder_layers(model)
        if number > len(layers):
            raise ValueError(f"train = {what!r}, but the model has {len(layers)} blocks")
        model.requires_grad_(False)
        layers[-number:].requires_grad_(True)
    return lambda: None


def add_adapters(model: Any, rank: int, seed: int) -> None:
    """Low-rank additions to all linear layers but the output head (Hu et al., arXiv 2106.09685), by peft.

    ValueError without the package, or for a rank that no matrix of the model's width has.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError(f"train = 'lora:{rank}' needs the package peft (the extra `real`): {error}") from error
    width = model.get_input_embeddings().embedding_dim
    if rank > width:
        raise ValueError(f"train = 'lora:{rank}': the model is {width} wide, and no layer has a larger rank")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", exclude_modules="lm_head")
    with torch.random.fork_rng(devices=[]):  # its first matrices come from the global state
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def _adapters(model: Any, rank: int, seed: int) -> Callable[[], None]:
    before = _said(model)
    add_adapters(model, rank, seed)
    from peft.tuners.lora import LoraLayer

    try:
        off = float((_said(model) - before).abs().max() / before.abs().max())
    except DEVICE:
        raise
    except FAILS as error:  # a layer that is called otherwise than by tokens, or whose weight is read without it
        raise ValueError(f"train = 'lora:{rank}': a {type(model).__name__} fails with adapters beside its linear "
                         f"layers: {in_a_line(error)}; top:K or all does without") from error  # fmt: skip
    if not off < 0.01:
        raise ValueError(f"train = 'lora:{rank}': adapters that are 0 change what a {type(model).__name__} computes")

    def merge() -> None:
        for name, layer in [named for named in model.named_modules() if isinstance(named[1], LoraLayer)]:
            layer.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer.get_base_layer())

    return merge


@torch.no_grad()
def _said(model: Any) -> torch.Tensor:
    """Logits (4, V) on a short text."""
    tokens = torch.arange(4, device=next(model.parameters()).device)[None] % model.get_input_embeddings().num_embeddings
    logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits[0].float()
