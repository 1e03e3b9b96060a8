"""Result rows: one per claim, check, setting and seed, with the stamp of the code that made it.

    store        rows and stamps of a folder, safe against a kill; one process writes to it at a time
    grid         jobs that yield rows, run and resumed by one rule
    backends     where jobs run: processes of this machine, a Dask or Ray cluster, SLURM
    pool         seeds pooled, and the degrees of freedom of their error
    verdicts     a claim judged and printed as soon as its last row is there
    populations  rows of real people by population
    merge        which rows may stand in one folder, and bringing those of slices together
    compare      are the rows of two folders the same?
    reach        which code a measurement can reach, and its fingerprint
    measurement  an estimate with its place in the ledger

Examples
--------
>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from simulate.rows.store import Results
>>> row = Row("D3", "attained", "bt_beta=1", 0, 1.0820, 3e-4, 200, 1.0814, 1.0826, 0.5, "", "1f")
>>> with TemporaryDirectory() as folder:
...     Results(Path(folder)).add([row], "1f", {"profile": "smoke"})
...     [(found.setting, round(found.estimate, 3)) for found in read_rows(Path(folder))]
[('bt_beta=1', 1.082)]
"""

from __future__ import annotations

from simulate.rows.reach import fingerprint
from simulate.rows.store import Row, read_rows

__all__ = ["Row", "fingerprint", "read_rows"]
