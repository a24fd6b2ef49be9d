"""This project's packages with plain names are its own, and not a user's folder of such a name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

NAMES = ("checks", "formats", "resources", "training")
ROOT = Path(__file__).parents[1]
"""The folder that they lie in beside this package: a checkout, or where a wheel was installed."""


class ForeignPackageError(ImportError):
    """Something else is imported under the name of one of this project's packages."""


def require_own_packages() -> None:
    """Refuse to start where another `checks`, `formats`, `resources` or `training` comes first.

    Raises:
        ForeignPackageError: naming what is in the way, and what to do.
    """
    for name in NAMES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # not there; or a folder without code, which yields
            continue
        file = Path(spec.origin)
        found = file.parent if file.name == "__init__.py" else file
        if found.parent.resolve() != ROOT.resolve():
            raise ForeignPackageError(
                f"{found} is in the way: it would be imported in place of {ROOT / name}, which is "
                f"part of this program. Take {found.parent} off PYTHONPATH, start in another "
                f"folder, or give {found.name} another name."
            )
