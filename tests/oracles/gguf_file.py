"""A tiny .gguf file of a Llama with a byte-level tokenizer and a chat template, written from a model in memory."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np

from llm_validation.model.model import build
from llm_validation.text.corpus import train_tokenizer

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
#: Parts of a Llama block, as transformers and as .gguf files call them.
PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def tiny_tokenizer():
    """A tokenizer of bytes and a few merges, with the marks of a chat."""
    tokenizer = train_tokenizer(["tell me of the sea, and of the ships on the sea"] * 4, vocab_size=280)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", TEMPLATE
    return tokenizer


def write_gguf(path: Path, seed: int = 0):
    """Write it; the model and the tokenizer that it holds."""
    tokenizer = tiny_tokenizer()
    model = build("smoke", len(tokenizer), context=256, seed=seed)
    write_model(path, model, tokenizer, rope_base=100.0)
    return model, tokenizer


def write_model(path: Path, model, tokenizer, rope_base: float, kind: gguf.GGMLQuantizationType | None = None) -> None:
    """A Llama and its byte-level tokenizer; matrices of another kind than float32 are quantised."""
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope_base)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(len(tokenizer))
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    special = set(tokenizer.all_special_tokens)
    tokens = [tokenizer.convert_ids_to_tokens(i) for i in range(len(tokenizer))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]])
    writer.add_bos_token_id(tokenizer.convert_tokens_to_ids("<|im_start|>"))
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        place, values = _tensor(name, value.numpy(), config.hidden_size // config.num_attention_heads)
        if kind is None or values.ndim == 1:
            writer.add_tensor(place, values)
        else:
            writer.add_tensor(place, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensor(name: str, value: np.ndarray, head: int) -> tuple[str, np.ndarray]:
    """A tensor under its name in the file; queries and keys are kept there with interleaved rotary pairs."""
    plain = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
             "lm_head.weight": "output.weight"}  # fmt: skip
    if name in plain:
        return plain[name], value
    _, _, block, *part, _ = name.split(".")
    part = ".".join(part)
    if part in ("self_attn.q_proj", "self_attn.k_proj"):
        rows, columns = value.shape
        value = value.reshape(rows // head, 2, head // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return f"blk.{block}.{PARTS[part]}.weight", np.ascontiguousarray(value)
