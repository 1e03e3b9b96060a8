"""The trained models of the ledger and of the figures: where each one's rows are, what it is called, how it is drawn.

One flat table. A model more is a line here: ledger, tables, macros and figures take their columns from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulate.rows.reach import HOME
from simulate.rows.store import Row, read_rows


@dataclass(frozen=True)
class Model:
    """A trained model with a column of its own.

    heading   of its column
    short     the same where space is scarce
    suffix    what legends add for its points
    folder    of its rows in llm_validation/results; None: the folder of the profile that is looked at;
              reference-NAME: recorded rows, with those of NAME in their place where they were measured here
    commands  what fills the folder, either of them
    marker    of its points; None: that of the line they belong to
    scale     of its markers
    """

    heading: str
    short: str
    suffix: str
    folder: str | None
    commands: tuple[str, ...]
    marker: str | None = None
    scale: float = 1.0


#: name in rows, tables and macros → model. Markers are told from a circle, which most lines have, at print size.
MODELS = {
    "llm": Model("LLM", "LLM", "", None, ("python -m llm_validation",)),
    "gpu": Model("LLM (GPU, small)", "GPU, small", " (GPU, small)", "reference-gpu",
                 ("make gpu", "python -m llm_validation --profile gpu"), "*", 1.7),
    "gpu_base": Model("LLM (GPU, base)", "GPU, base", " (GPU, base)", "reference-gpu-base",
                      ("python -m llm_validation --profile gpu --size base",), "p", 1.6),
    "smollm2": Model("SmolLM2-135M", "SmolLM2", " (SmolLM2-135M)", "reference-smollm2", ("make real",), "<", 1.2),
}  # fmt: skip


def recorded_rows(name: str, profile: str, root: Path = HOME) -> list[Row]:
    """The rows of one model beside those of a profile; of profile `gpu` the models on a GPU are all there are."""
    folder = MODELS[name].folder or profile
    if MODELS[name].folder is None and profile == "gpu":
        return []
    results = root / "llm_validation" / "results"
    rows, own = read_rows(results / folder), results / folder.removeprefix("reference-")
    return in_place(rows, read_rows(own)) if folder.startswith("reference-") and own.is_dir() else rows


def in_place(recorded: Sequence[Row], own: Sequence[Row]) -> list[Row]:
    """Rows that were measured here in place of all seeds that were recorded at their settings: another model's, or of
    other samples, and not to be averaged with these."""
    here = {(row.claim, row.check, row.setting) for row in own}
    return [*(row for row in recorded if (row.claim, row.check, row.setting) not in here), *own]
