"""Which deployment tests have passed on the code as it is.

The tests of a file belong to a deployment by its mark, `pytest.mark.deployment("ray")`; those of a
variant of the whole pipeline have such a mark as well. The record keeps, for each, a hash of all
that its tests stand on, and the commit on which they passed. It is committed, so that a clean clone
knows it too. What the machine brings, such as the release of its PostgreSQL, is in no hash.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from support.source_closure import Sources

RECORD = Path("tests") / "deployment_verified.txt"
"""Below the project's folder: a line for each deployment."""
HEADER = "# Written by `make verify-deployments`: deployment, what it stands on, when it passed.\n"
MARK = re.compile(r'^pytestmark = .*\bmark\.deployment\("([a-z-]+)"\)', re.MULTILINE)
IRRELEVANT = ("docs/", "benchmarks/", str(RECORD))
"""Files that are not Python count for every deployment, but for these and pages of text."""


@dataclass(frozen=True)
class Verified:
    """That the tests of a deployment passed."""

    content: str
    """Hash of all that they stood on."""
    commit: str


def files_of_tests(root: Path) -> dict[str, list[Path]]:
    """Deployment -> the files of its tests."""
    found: dict[str, list[Path]] = {}
    for file in sorted((root / "tests").rglob("test_*.py")):
        for deployment in set(MARK.findall(file.read_text(encoding="utf-8"))):
            found.setdefault(deployment, []).append(file)
    return found


def contents(root: Path) -> dict[str, str]:
    """Deployment -> hash of all that its tests stand on."""
    sources, data = Sources(root), _data_files(root)
    return {
        deployment: _hash(root, sources.closure(*files) | data)
        for deployment, files in files_of_tests(root).items()
    }


def unchanged(root: Path, now: Mapping[str, str]) -> dict[str, str]:
    """Deployment -> commit on which its tests passed, for those that stand on the same since."""
    record = read_record(root)
    return {
        deployment: record[deployment].commit
        for deployment, content in now.items()
        if deployment in record and record[deployment].content == content
    }


def read_record(root: Path) -> dict[str, Verified]:
    """What is noted; empty without a record."""
    file = root / RECORD
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    parts = [line.split() for line in lines if not line.startswith("#")]
    return {deployment: Verified(content, commit) for deployment, content, commit in parts}


def note_verified(root: Path, passed: Mapping[str, str]) -> None:
    """Note deployments whose tests passed, and on what; forget what there is no more."""
    commit = _git(root, "rev-parse", "--short=12", "HEAD").strip()
    there = files_of_tests(root)
    record = {name: old for name, old in read_record(root).items() if name in there}
    record |= {name: Verified(content, commit) for name, content in passed.items()}
    lines = [f"{name} {one.content} {one.commit}\n" for name, one in sorted(record.items())]
    (root / RECORD).write_text(HEADER + "".join(lines), encoding="utf-8")


def uncommitted(root: Path) -> list[str]:
    """Files that are not as in the commit that would be noted."""
    changed = _git(root, "status", "--porcelain", "--untracked-files=all").splitlines()
    return [line[3:] for line in changed if line[3:] != str(RECORD)]


def _data_files(root: Path) -> set[Path]:
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {
        root / name
        for name in listed
        if name and not name.endswith((".py", ".md")) and not name.startswith(IRRELEVANT)
        if (root / name).is_file()
    }


def _hash(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:32]


def _git(root: Path, *arguments: str) -> str:
    mine = f"safe.directory={root}"  # a mounted checkout may belong to another user
    return subprocess.run(
        ["git", "-c", mine, *arguments], cwd=root, capture_output=True, text=True, check=True
    ).stdout
