"""What a model is by its content: a digest of its files, whatever they are called and whenever they were written."""

from __future__ import annotations

import hashlib
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from llm_validation.model.fetch import fetched, sha256_of
from llm_validation.model.model import load

#: What decides what a model computes and how its texts become tokens.
SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja"})


def digest_on_disk(name_or_path: str) -> str:
    """`content_digest` of what lies on this machine, a folder or a .gguf file; "" for a name, of the hub or of code."""
    return content_digest(name_or_path) if Path(fetched(name_or_path)).is_dir() else ""


def content_digest(name_or_path: str) -> str:
    """Twelve hex digits of weights, configuration and tokenizer, all of which are read.

    A model of the hub is loaded first, if it is not on this machine yet. ValueError where nothing can be loaded.
    """
    folder = Path(fetched(name_or_path))
    if not folder.is_dir():
        load(name_or_path)
        kept = try_to_load_from_cache(name_or_path, "config.json")
        if not isinstance(kept, str):
            raise ValueError(f"cannot find the files of {name_or_path!r} on this machine")
        folder = Path(kept).parent
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()[:12]
