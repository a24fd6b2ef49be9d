"""Which code made a release or a result: the package's version, and the commit of a checkout."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from dasd_assets.profile import PROFILE_FOLDER

PACKAGE = "dasd-dagster"


@dataclass(frozen=True)
class CodeVersion:
    """The code at that moment."""

    package: str
    """Version of the package."""
    commit: str | None
    """Commit that is checked out; None outside a git checkout of the project."""
    is_dirty: bool
    """Whether files differ from the commit, new ones included."""

    @property
    def short(self) -> str:
        """The commit in brief, with a plus where files differ from it."""
        return f"{self.commit[:12]}{'+' if self.is_dirty else ''}" if self.commit else "unknown"

    def __str__(self) -> str:
        commit = f", commit {self.commit}" if self.commit else ", no git checkout"
        dirty = " with uncommitted changes" if self.is_dirty else ""
        return f"{PACKAGE} {self.package}{commit}{dirty}"


def code_version(root: Path = PROFILE_FOLDER.parents[1]) -> CodeVersion:
    """The version of the code in a folder."""
    package = version(PACKAGE)
    # A package that is installed inside some other checkout is not that checkout's code.
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD") if top and Path(top) == root.resolve() else None
    status = _git(root, "status", "--porcelain") if commit else None
    return CodeVersion(package, commit, bool(status))


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
