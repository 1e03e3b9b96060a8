"""Where the reference stands, and the report: every line a number with its error or its claim."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from llm_validation.advise.findings import Finding
from llm_validation.preferences.data import Preferences
from llm_validation.preferences.sequences import completion_forward
from theory.markup import html

_BATCH = 8
_STYLE = "body{font:16px sans-serif;max-width:60em;margin:2em auto}td,th{padding:.2em .8em;text-align:left}"


@torch.no_grad()
def reference(model: Any, data: Preferences) -> list[Finding]:
    """log π_ref of chosen and rejected completions, nats a text, means with standard errors."""
    model.eval()
    forward = completion_forward(model, data.chosen, data.rejected, share=False)
    found = []
    for name, side in (("chosen", data.chosen), ("rejected", data.rejected)):
        parts = [forward.rows(model, side[i : i + _BATCH]) for i in range(0, len(side), _BATCH)]
        logs = torch.cat(parts).double().cpu().numpy()
        error = float(logs.std(ddof=1) / np.sqrt(logs.size)) if logs.size > 1 else None
        text = f"log-probability of {name} completions under the model, nats a text, mean"
        found.append(Finding(f"reference_{name}", text, float(logs.mean()), error))
    return found


def as_json(findings: Sequence[Finding], model: str, data: str) -> str:
    """Strict JSON; an infinite value is the string "inf"."""
    rows = [asdict(f) | ({} if math.isfinite(f.value) else {"value": "inf"}) for f in findings]
    return json.dumps({"model": model, "data": data, "findings": rows}, indent=1, allow_nan=False) + "\n"


def as_html(findings: Sequence[Finding], model: str, data: str) -> str:
    """One table; names from outside are escaped."""
    lines = []
    for f in findings:
        error = "" if f.error is None else f" ± {f.error:.2g}"
        lines.append(f"<tr><td>{html(f.text)}</td><td>{f.value:.6g}{error}</td><td>{f.claim or ''}</td></tr>")
    title = f"{html(data)} and {html(model)}"
    return (
        f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>'
        f"<table><tr><th></th><th>value</th><th>claim</th></tr>{''.join(lines)}</table>\n"
    )
