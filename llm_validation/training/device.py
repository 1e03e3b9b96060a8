"""What a device can do at most: matrix products, which limit training, and copies, which limit decoding.

A model's FLOPs per token are counted (Kaplan et al., arXiv 2001.08361; Chowdhery et al., arXiv 2204.02311, appendix B):

    forward and backward  6·N + 12·layers·width·length

N being the weights that take part in matrix products, width that of all query heads together. Every token attends to
all `length` tokens, the half that a causal mask makes needless included. MFU is the counted FLOPs per second over the
rate of large matrix products on the same device.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from simulate.rows.store import replace_file

#: Edge of the square matrices that are multiplied, and bytes of the buffer that is copied: on a GPU so large that
#: neither a launch nor a cache is seen, on a CPU so small that a handful of repeats takes a second.
MATRIX = {"cuda": 8192, "cpu": 768}
BUFFER = {"cuda": 1 << 30, "cpu": 1 << 26}


@dataclass(frozen=True)
class DeviceRates:
    """What a device did in `measure_rates`.

    name    the device in words
    flops   FLOP/s of products of square matrices, a product of size n counting 2·n³
    copy    bytes/s of a copy on the device, read and written ones both counted
    dtype   of the products: "bfloat16" on a GPU, where training computes in it, "float32" on a CPU
    matrix  n, the size of the matrices
    memory  bytes of memory that the device has
    """

    name: str
    flops: float
    copy: float
    dtype: str
    matrix: int
    memory: int

    def save(self, path: Path) -> None:
        """Write as JSON; a kill leaves the old file or the new one."""
        replace_file(path, json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> DeviceRates:
        """Read what `save` wrote. ValueError if the file holds something else."""
        try:
            return DeviceRates(**json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no rates of a device: {error}") from error


@torch.inference_mode()
def measure_rates(device: torch.device, seconds: float = 1.0) -> DeviceRates:
    """Measure a device: the best of as many repeats as fit in about `seconds`, half for products, half for copies."""
    cuda = device.type == "cuda"
    dtype, size = torch.bfloat16 if cuda else torch.float32, MATRIX.get(device.type, MATRIX["cpu"])
    one, two = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(one)
    flops = 2.0 * size**3 / _best(lambda: torch.mm(one, two, out=product), device, seconds / 2)
    source = torch.ones(BUFFER.get(device.type, BUFFER["cpu"]), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = 2.0 * source.numel() / _best(lambda: target.copy_(source), device, seconds / 2)
    name = f"{os.uname().machine} CPU, {torch.get_num_threads()} threads"
    name = str(torch.cuda.get_device_name(device)) if cuda else name
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = int(torch.cuda.get_device_properties(device).total_memory) if cuda else memory
    return DeviceRates(name, flops, copy, str(dtype).removeprefix("torch."), size, memory)


def _best(work: Callable[[], Tensor], device: torch.device, seconds: float) -> float:
    """Least seconds of one call, over about `seconds`; two calls before the first that counts."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda _: None  # a GPU works on while Python goes ahead
    for _ in range(2):
        work()
    best, until = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until:
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        best = min(best, time.perf_counter() - began)
    return best


def matrix_parameters(model: Any) -> int:
    """N: weights in matrix products; the output layer counts, tied to the input embedding or not.

    Tables that are only looked up do not, nor do gains and biases. Of a mixture of experts all experts count.
    """
    head = model.get_output_embeddings()
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    if head is not None:
        looked_up.discard(id(head.weight))
    return sum(p.numel() for p in model.parameters() if p.ndim >= 2 and id(p) not in looked_up)


def _shape(model: Any) -> tuple[int, int, int]:
    """(layers, width of all query heads, width of all key heads) of a decoder."""
    config = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, heads * size, (getattr(config, "num_key_value_heads", None) or heads) * size


def training_flops_per_token(model: Any, length: int) -> float:
    """FLOPs of forward and backward per token of a sequence of `length` tokens; recomputation is not counted."""
    layers, width, _ = _shape(model)
    return 6.0 * matrix_parameters(model) + 12.0 * layers * width * length


def mfu(tokens_per_second: float, flops_per_token: float, rates: DeviceRates) -> float:
    """Model FLOPs utilisation: what the counted FLOPs are of the device's matrix products, a little above 1 at most."""
    return tokens_per_second * flops_per_token / rates.flops


def decoding_bound(model: Any, rows: int, cached_tokens: float, rates: DeviceRates) -> float:
    """Tokens/s that the copy rate allows in a decoding step of `rows` rows with `cached_tokens` cached in all.

    The step moves every weight of a matrix product once, and key and value per layer for each cached token, in the
    dtype of `rates`; what it writes is left out.
    """
    layers, _, width = _shape(model)
    item_size = getattr(torch, rates.dtype).itemsize
    return rows * rates.copy / (item_size * (matrix_parameters(model) + 2.0 * layers * width * cached_tokens))
