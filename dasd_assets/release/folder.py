"""A release's folder: there whole or not at all, with a checksum for every file.

<root>/<name>              a link to the newest release
<root>/<name>-<version>    a release, named by the hash of its checksums
<root>/.<name>.partial     a release that is being written
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resources.durable import sync

SUMS = "SHA256SUMS"
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>.+)")


class ReleaseError(ValueError):
    """What must not be released as it is; the message says why, and what to do."""


@dataclass(frozen=True)
class Released:
    """A release as it lies on the disk."""

    folder: Path
    version: str
    """Hash of the checksums: of all content, and of nothing else."""
    n_files: int
    n_bytes: int


def release_link(root: Path, name: str) -> Path:
    """Where the newest release of a name is found."""
    return root / name


def publish_release(root: Path, name: str, write: Callable[[Path], None]) -> Released:
    """Write a release and make it the newest of its name.

    A release of the same content is left as it is; earlier ones stay beside it. After a kill at
    any moment the link shows the release before, and the next call starts afresh.

    Args:
        root: folder of all releases.
        name: name of the link.
        write: writes every file of the release, but the checksums, into an empty folder.
    """
    root.mkdir(parents=True, exist_ok=True)
    partial = root / f".{name}.partial"
    damaged = root / f".{name}.damaged"
    for leftover in (partial, damaged):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        write(partial)
        files = _finish(partial)
        version = _digest(partial / SUMS)[:16]
        folder = root / f"{name}-{version}"
        n_bytes = sum(file.stat().st_size for file in files)
        if folder.is_dir() and differences(folder):
            folder.rename(damaged)
        if not folder.is_dir():
            partial.rename(folder)
            sync(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(damaged, ignore_errors=True)
    _point(release_link(root, name), folder)
    return Released(folder, version, len(files), n_bytes)


def differences(folder: Path) -> list[str]:
    """How the files of a release differ from its checksums, one line a file; empty if they hold.

    Hidden files are not looked at: the hub and git put some of their own beside a release.
    """
    sums = folder / SUMS
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [f"{SUMS}: missing; is this the folder of a release?"]
    except (OSError, UnicodeDecodeError) as error:
        return [f"{SUMS}: cannot be read: {error}"]
    listed: dict[str, str] = {}
    found = []
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        parts = Path(match["name"]).parts if match else ()
        if match is None or ".." in parts or Path(match["name"]).is_absolute():
            found.append(f"{SUMS}: line {number} is no checksum of a file of this folder")
        else:
            listed[match["name"]] = match["digest"]
    there = {str(file.relative_to(folder)) for file in release_files(folder)} - {SUMS}
    for name, digest in sorted(listed.items()):
        if name not in there:
            found.append(f"{name}: missing")
        elif _digest(folder / name) != digest:
            found.append(f"{name}: changed")
    return found + [f"{name}: not listed in {SUMS}" for name in sorted(there - set(listed))]


def _finish(folder: Path) -> list[Path]:
    """Write the checksums and wait until everything is on the disk; returns the files."""
    files = release_files(folder)
    lines = [f"{_digest(file)}  {file.relative_to(folder)}\n" for file in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    files.append(folder / SUMS)
    for file in files:
        file.chmod(0o644)  # safetensors leaves its files for the owner alone
        sync(file)
    for place in {file.parent for file in files}:
        sync(place)
    return files


def _point(link: Path, folder: Path) -> None:
    """Let a link show a folder beside it; it shows the old one or the new one, at any moment."""
    temporary = link.with_name(f".{link.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name, target_is_directory=True)
    temporary.replace(link)
    sync(link.parent)


def release_files(folder: Path) -> list[Path]:
    """All files but hidden ones, in order."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
