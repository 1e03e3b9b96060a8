"""Rows of real people by population: what tables and figures call a file's users."""

from __future__ import annotations

from collections.abc import Sequence

from simulate.rows.store import Row
from theory.claim import parse_setting


def by_population(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the name of their population, in order; where files share a name, with a digest of their data."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        setting = parse_setting(row.setting)
        found.setdefault((str(setting["population"]), str(setting.get("data", ""))), []).append(row)
    names = [name for name, _ in found]
    return {
        f"{name} ({data})" if data and names.count(name) > 1 else name: mine
        for (name, data), mine in sorted(found.items())
    }
