"""The extras of the package, `osiris[train]` for example, and which of them a missing module belongs to."""

import re
from collections import defaultdict
from importlib.metadata import requires

from osiris.core.errors import NotInstalled

DISTRIBUTIONS = {
    "IPython": "ipython",
    "crosshair": "crosshair-tool",
    "empyrical": "empyrical-reloaded",
    "sklearn": "scikit-learn",
}
"""Modules that are not called like the package that brings them."""


def explain_missing_module(error: ModuleNotFoundError) -> NotInstalled | None:
    """Return the error that names the extra to install, or `None` if the module belongs to none."""
    module = (error.name or "").partition(".")[0]
    found = find_extras(DISTRIBUTIONS.get(module, module))
    if not found:
        return None
    return NotInstalled(
        f"the module {module}, which comes with osiris[{found[0]}]",
        "an installation without it",
        f"pip install 'osiris[{found[0]}]'",
    )


def find_extras(distribution: str) -> list[str]:
    """Return the extras that ask for a distribution, the smallest first: `demo` and `all` are made of others."""
    packages = defaultdict(set)
    for line in requires("osiris") or []:
        named = re.fullmatch(r"([\w.-]+) *; *extra == ['\"](\w+)['\"]", line)
        if named:
            packages[named[2]].add(_normalize(named[1]))
    found = [extra for extra, names in packages.items() if _normalize(distribution) in names]
    return sorted(found, key=lambda extra: len(packages[extra]))


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
