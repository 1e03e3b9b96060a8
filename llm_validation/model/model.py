"""The language model: built at one of a few sizes, loaded by name or path, saved.

Everything is a plain causal language model of transformers; nothing here knows what it will be trained for. Weights
are kept in float32 and are written as safetensors, never pickle. A GPU computes in bf16 under `autocast` (pretraining,
generation), and where laws are to be exact in float32 with TF32 products.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from llm_validation.model.checks import UNREADABLE, check_causal, check_weights, refuse_adapter
from llm_validation.model.fetch import fetched, only_here
from llm_validation.model.folders import replacing, without_bars, write


@dataclass(frozen=True)
class Size:
    """The shape of a transformer.

    hidden         width of the residual stream
    layers, heads  blocks, and attention heads in each; hidden/heads is the width of a head
    intermediate   width of the gated feed-forward layer, about 8/3 of hidden
    rotary_base    the slowest pair of a head turns once in about 2π·base tokens: where contexts are short, a small base
                   lets attention tell neighbours apart, and a word that depends on the one before is learnt sooner
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    rotary_base: float = 10_000.0


#: The one dial. Parameters without embeddings; each token of the vocabulary adds `hidden`.
SIZES = {
    "smoke": Size(hidden=32, layers=2, heads=2, intermediate=96, rotary_base=100.0),  # 0.03 M: seconds, for tests
    "micro": Size(hidden=48, layers=2, heads=4, intermediate=128, rotary_base=100.0),  # 0.06 M: one CPU core, a minute
    "tiny": Size(hidden=96, layers=3, heads=4, intermediate=256, rotary_base=100.0),  # 0.3 M: one CPU core
    "mini": Size(hidden=192, layers=4, heads=6, intermediate=512, rotary_base=100.0),  # 1.8 M: one CPU core, minutes
    "small": Size(hidden=512, layers=8, heads=8, intermediate=1408),  # 26 M: one GPU, minutes
    "base": Size(hidden=768, layers=12, heads=12, intermediate=2048),  # 85 M: one GPU, hours
}


#: transformers makes a model on torch's "meta" device by a switch of the whole process: one thread at a time.
_LOADING = threading.Lock()
#: The precision of products is one of the whole process too: of each thread in `full_precision` what it found.
_PRECISE, _BEFORE = threading.Lock(), list[str]()


@dataclass(frozen=True)
class Loaded:
    """A model and the tokenizer it was trained with."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast

    def to(self, where: torch.device) -> Loaded:
        """The same, its model moved to a device."""
        self.model.to(where)  # type: ignore[arg-type]
        return self


def build(size: str, vocab_size: int, context: int, seed: int) -> LlamaForCausalLM:
    """A Llama of that size with fresh weights, tied embeddings and SDPA attention, on the CPU in float32.

    context   longest sequence it is meant for, in tokens
    seed      decides the weights and nothing else does: the same on every machine and in every version of
              transformers; torch's global random state is neither read nor changed
    ValueError names a size that does not exist.
    """
    if size not in SIZES:
        raise ValueError(f"no model size {size!r}; there are {', '.join(SIZES)}")
    shape = SIZES[size]
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rotary_base},
        tie_word_embeddings=True,
        # what the model calls special tokens is the tokenizer's business; Llama's own numbers would be wrong here
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights of its own from the global state
        model = LlamaForCausalLM(config)
    model.set_attn_implementation("sdpa")
    _initialise(model, torch.Generator().manual_seed(seed))
    return model


@torch.no_grad()
def _initialise(model: LlamaForCausalLM, generator: torch.Generator) -> None:
    """Norm gains 1; matrices normal with variance 1/inputs, those that write to the residual stream 1/(2·layers) of it.

    The embedding, which is also the output layer, has standard deviation .02: the first predictions are uniform.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0)
            continue
        std = 0.02 if "embed_tokens" in name else parameter.shape[1] ** -0.5
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std *= (2.0 * model.config.num_hidden_layers) ** -0.5
        parameter.normal_(0.0, std, generator=generator)


def parameter_count(model: nn.Module) -> int:
    """Trained numbers in a model; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def load(name_or_path: str | Path) -> Loaded:
    """Any causal language model with its tokenizer: a folder, a .gguf file, `smollm2`, or a name on the model hub.

    The weights come in float32, on the CPU, in evaluation mode, from safetensors only. A tokenizer without a padding
    token gets its end-of-text token as one, and a line on stderr says so.

    Parameters
    ----------
    name_or_path : str or Path
        A .gguf file is converted once and kept, and `smollm2` is fetched once: `llm_validation.model.fetch`.

    Returns
    -------
    Loaded
        `.model` and `.tokenizer`.

    Raises
    ------
    ValueError
        Nothing can be loaded; weights are missing, not used or no numbers; a LoRA adapter without its model; a model
        that is not causal; the tokenizer has no end-of-text token or is not one of the tokenizers library.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from llm_validation import load
    >>> from llm_validation.text.corpus import train_tokenizer
    >>> tokenizer = train_tokenizer(["to be or not to be"], vocab_size=260)
    >>> with TemporaryDirectory() as folder:
    ...     save(build("smoke", len(tokenizer), context=32, seed=0), tokenizer, folder)
    ...     loaded = load(folder)
    >>> loaded.model.config.hidden_size, loaded.tokenizer.decode(loaded.tokenizer.encode("not"))
    (32, '<|endoftext|>not')
    """
    name = str(fetched(name_or_path))
    refuse_adapter(name)
    here, alone = os.path.isdir(name), only_here(name)
    try:
        with _LOADING, without_bars() if here else contextlib.nullcontext():  # a download shows how far it is
            tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=alone)
            loaded: Any = AutoModelForCausalLM.from_pretrained(  # attention as the architecture has it by default
                name,
                local_files_only=alone,
                adapter_kwargs={"local_files_only": alone},  # an adapter is looked for on the hub else
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, by its name
            )
    except UNREADABLE as error:
        what = "the folder holds no model that can be read" if here else "no such folder, and no model of that name"
        why = " ".join(str(error).split())
        raise ValueError(f"cannot load a causal language model from {name!r}: {what}: {why}") from error
    model, report = loaded
    check_weights(name, model, report)
    check_causal(name, model.eval())
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError(
            f"the tokenizer of {name!r} is a {type(tokenizer).__name__}, not one of the tokenizers library"
        )
    if not tokenizer("a", add_special_tokens=False)["input_ids"]:
        raise ValueError(f"the tokenizer of {name!r} reads no text: are its files there?")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer of {name!r} has no end-of-text token: its responses would have no end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
        print(f"{name}: no padding token, so {tokenizer.eos_token!r} is used for padding", file=sys.stderr)
    return Loaded(model, tokenizer)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> None:
    """Write a folder that `load` reads, replacing one that is there; a kill leaves the old folder or the new one."""
    with replacing(Path(folder)) as partial:
        write(model, tokenizer, partial)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(where: torch.device) -> AbstractContextManager[object]:
    """Matrix products in bf16 on a GPU; on a CPU nothing changes, and float32 stays float32."""
    if where.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def use_tensor_cores() -> None:
    """Float32 products on a GPU in TF32: 10 bits of mantissa, errors of 10⁻³ nats in a sequence's log-probability.

    For catalogues, whose laws are compared with predictions; pretraining and generation are in bf16 (`autocast`).
    """
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
        # its plan for every new length of a cache takes longer than a decoding step
        torch.backends.cuda.enable_cudnn_sdp(False)
        # gradients come from a graph's stream to weights that were made on another: meant, and not to be warned of
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Float32 products in float32, outside `autocast`, while any thread is in here; a function's decorator too.

    Where a number must not depend on how many rows there are, or is the difference of two that TF32 would round.
    """
    with _PRECISE:
        _BEFORE.append(torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        with _PRECISE:
            before = _BEFORE.pop()
            if not _BEFORE:  # the last one to leave: what was before the first came
                torch.set_float32_matmul_precision(before)
