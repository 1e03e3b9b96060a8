"""Names of a package that are imported when they are first used (PEP 562), so that its page costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from theory.command import missing


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package; homes: module → its names, as an import statement lists them."""
    listed = ((home, *name.strip().split(" as ")) for home, names in homes.items() for name in names.split(","))
    found = {own[-1]: (home, own[0]) for home, *own in listed}

    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, attribute = found[name]
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if said := missing(error):
                raise ModuleNotFoundError(f"{package}.{name} {said}", name=error.name) from None
            raise
        # a package that can be called is the function of its name too (its page says how)
        return module if home == f"{package}.{name}" else getattr(module, attribute)

    return get, lambda: sorted({*vars(sys.modules[package]), *found})
