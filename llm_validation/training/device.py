"""What a device can do at most, and what share of it a run reaches: matrix products, copies, MFU, the decoding bound.

Training is limited by matrix products. A model's FLOPs per token are counted, not measured (Kaplan et al.,
arXiv 2001.08361; Chowdhery et al., arXiv 2204.02311, appendix B):

    forward and backward  6·N + 12·layers·width·length

N being the weights that take part in matrix products, the output layer among them and tables that are looked up not;
width that of all query heads together. Every token attends to all `length` tokens: the half that a causal mask makes
needless is counted, as in PaLM, though a good kernel leaves it out. MFU is the counted FLOPs per second over the rate
of large matrix products on the same device.

Decoding is limited by memory: every step reads all weights once, for one token of each row, and the keys and values of
all rows. How fast that can be is bounded by the rate of a large copy.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
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

    @property
    def item_size(self) -> int:
        """Bytes of a number in `dtype`."""
        return int(getattr(torch, self.dtype).itemsize)


def compute_dtype(device: torch.device) -> torch.dtype:
    """What training and decoding compute matrix products in (`llm_validation.model.model.autocast`)."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


@torch.inference_mode()
def measure_rates(device: torch.device, seconds: float = 1.0) -> DeviceRates:
    """Measure a device: the best of as many repeats as fit in about `seconds`, half for products, half for copies.

    On the CPU with the threads that torch is set to use. ValueError unless 0 < seconds < ∞.
    """
    if not 0.0 < seconds < float("inf"):
        raise ValueError(f"seconds = {seconds} must be a finite number > 0")
    dtype, size = compute_dtype(device), MATRIX.get(device.type, MATRIX["cpu"])
    one, two = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(one)
    flops = 2.0 * size**3 / _best(lambda: torch.mm(one, two, out=product), device, seconds / 2)
    source = torch.ones(BUFFER.get(device.type, BUFFER["cpu"]), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = 2.0 * source.numel() / _best(lambda: target.copy_(source), device, seconds / 2)
    return DeviceRates(_name(device), flops, copy, str(dtype).removeprefix("torch."), size, _memory(device))


def _best(work: Callable[[], Tensor], device: torch.device, seconds: float) -> float:
    """Least seconds of one call, over about `seconds`; two calls before the first that counts."""
    for _ in range(2):
        work()
    best, until = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until:
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - began)
    return best


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked to: a GPU works on while Python goes ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{os.uname().machine} CPU, {torch.get_num_threads()} threads"


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# what a model asks for


def matrix_parameters(model: Any) -> int:
    """N: weights in matrix products; the output layer counts, tied to the input embedding or not.

    Tables that are only looked up (tokens, positions) do not, nor do gains and biases. Of a mixture of experts all
    experts count, although a token meets only some of them.
    """
    head = model.get_output_embeddings()
    output = () if head is None else (head.weight,)
    looked_up = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    left_out = {id(weight) for weight in looked_up} - {id(weight) for weight in output}
    return sum(p.numel() for p in model.parameters() if p.ndim >= 2 and id(p) not in left_out)


def _shape(model: Any) -> tuple[int, int, int]:
    """(layers, width of all query heads, width of all key heads) of a decoder."""
    config = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, heads * size, (getattr(config, "num_key_value_heads", None) or heads) * size


def training_flops_per_token(model: Any, length: int) -> float:
    """FLOPs of forward and backward per token of a sequence of `length` tokens: 6·N + 12·layers·width·length.

    Recomputed activations and the optimiser are not counted. ValueError for a length below 1.
    """
    if length < 1:
        raise ValueError(f"length = {length} must be >= 1")
    layers, width, _ = _shape(model)
    return 6.0 * matrix_parameters(model) + 12.0 * layers * width * length


def mfu(tokens_per_second: float, flops_per_token: float, rates: DeviceRates) -> float:
    """Model FLOPs utilisation: the share of the device's matrix products that the counted FLOPs make up.

    ValueError for a negative speed or count. A little above 1 is measurement error; much above 1, a wrong count.
    """
    for name, value in (("tokens_per_second", tokens_per_second), ("flops_per_token", flops_per_token)):
        if not 0.0 <= value < float("inf"):
            raise ValueError(f"{name} = {value} must be a finite number >= 0")
    return tokens_per_second * flops_per_token / rates.flops


def decoding_bound(model: Any, rows: int, cached_tokens: float, rates: DeviceRates) -> float:
    """Tokens/s that the copy rate allows in a decoding step of `rows` rows with `cached_tokens` cached in all.

    The step moves every weight that is in a matrix product once, and two vectors (key and value) per layer for each
    cached token, in the dtype of `rates`; what it writes is left out. ValueError for rows < 1 or negative tokens.
    """
    if rows < 1:
        raise ValueError(f"rows = {rows} must be >= 1")
    if not cached_tokens >= 0:
        raise ValueError(f"cached_tokens = {cached_tokens} must be >= 0")
    layers, _, width = _shape(model)
    moved = rates.item_size * (matrix_parameters(model) + 2.0 * layers * width * cached_tokens)
    return rows * rates.copy / moved


# files


def save(rates: DeviceRates, path: Path) -> None:
    """Write rates as JSON; a kill leaves the old file or the new one."""
    replace_file(path, json.dumps(asdict(rates), indent=1) + "\n")


def load(path: Path) -> DeviceRates:
    """Read what `save` wrote. ValueError if the file holds something else; it names a missing or unknown field."""
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} holds no rates: it is not JSON ({error})") from error
    names = {field.name for field in fields(DeviceRates)}
    given = set(found) if isinstance(found, dict) else set()
    for what, wrong in (("no", names - given), ("an unknown", given - names)):
        if wrong:
            raise ValueError(f"{path} holds no rates: it has {what} {sorted(wrong)[0]!r}")
    return DeviceRates(**found)
