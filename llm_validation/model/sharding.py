"""Models larger than one device: parameters, gradients and optimiser state divided among processes (torch's FSDP2).

Every decoder layer is a group of its own, gathered when the layer runs and divided again after it; what is left
(embeddings, last norm, a head) is one more group. Gradients come out averaged over processes, like those of data
parallel training. What is written to disk is always whole, so a run can go on with another number of processes.

Everything here but `decoder_layers` and `shards_wanted` is collective: every process must call it, in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from llm_validation.model.model import device


def shards_wanted(asked: bool) -> bool:
    """Is the model to be divided: because it was asked for, or because `accelerate launch` was told to use FSDP.

    ValueError if that launcher asks for what is not done here: parameters kept in host memory, DeepSpeed, Megatron.
    """
    for name in ("FSDP_OFFLOAD_PARAMS", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM"):
        if _is_set(name):
            raise ValueError(f"{name}={os.environ[name]}: training is data parallel or sharded on the devices, no more")
    return asked or _is_set("ACCELERATE_USE_FSDP")


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true")


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The list of a causal language model's decoder layers. ValueError if there is none of config.num_hidden_layers."""
    count = model.config.num_hidden_layers
    for module in model.modules():  # outermost first: lists inside a layer, of experts say, come later
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(model).__name__} has no list of its {count} layers")


def shard(root: nn.Module, model: PreTrainedModel) -> None:
    """Divide the parameters of `root` among all processes, in place, and move them to this process's device.

    root    what is called in training: the model, or a module that holds it, with a head of its own say. Whatever of
            its parameters is in no decoder layer stays in one group, so embeddings may be tied to an output layer
    model   the causal language model whose decoder layers become the other groups
    Optimisers are made after this. ValueError for a single process, or a model that is not part of root.
    """
    if all(module is not model for module in root.modules()):
        raise ValueError(f"the {type(model).__name__} is not part of the {type(root).__name__} that is to be sharded")
    processes = dist.get_world_size() if dist.is_initialized() else 1
    if processes < 2:
        raise ValueError("sharding needs several processes, and there is one: start more with torchrun or accelerate")
    mesh = init_device_mesh(device().type, (processes,))
    for layer in decoder_layers(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(root, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor of which this process holds a part; a tensor that is not divided comes back as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole `value`, divided as `like` is; `value` itself where `like` is not divided."""
    if not isinstance(like, DTensor):
        return value
    # every process has the whole value: none has to send it
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def reshard(module: nn.Module) -> None:
    """Divide again what a forward pass without a backward pass has left gathered, the root's group."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


@torch.no_grad()
def gathered(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Whole tensors by name, on the CPU of the first process; empty on the others. What has two names comes once."""
    first = not dist.is_initialized() or dist.get_rank() == 0
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors:
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        value = whole(tensor)  # one at a time, so that no device ever holds more than one that is whole
        if first:
            result[name] = value.detach().cpu().contiguous()
    return result


def full_weights(module: nn.Module) -> dict[str, Tensor]:
    """Whole parameters and persistent buffers by name, on the CPU of the first process; empty on the others.

    Tied tensors come once, under their first name. A module that is not sharded is as good; on a CPU its tensors are
    not copied.
    """
    reshard(module)
    return gathered(module.state_dict(keep_vars=True).items())


def unsharded(model: PreTrainedModel) -> PreTrainedModel | None:
    """A plain copy with whole weights, on the CPU of the first process in evaluation mode; None on the others."""
    weights = full_weights(model)
    if not weights:
        return None
    # fully_shard has put a class of its own before the model's
    plain: Any = next(kind for kind in type(model).__mro__ if not issubclass(kind, FSDPModule))
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights that are replaced at once
        copy: PreTrainedModel = plain(model.config)
    copy.load_state_dict(weights, strict=False)  # tied tensors are there once
    copy.generation_config = model.generation_config
    return copy.eval()
