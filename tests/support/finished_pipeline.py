"""A pipeline of two drops after one `dasd run`: made once for this code, then copied.

It lies in `.cache/finished_pipeline` of the checkout, which git ignores, under a hash of all that
could make it another one. Who needs it takes a copy of what it made (`finished` in conftest.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

from support.pipeline import Pipeline, new_pipeline

from dasd_assets.profile import PROJECT_ROOT

CACHE = PROJECT_ROOT / ".cache" / "finished_pipeline"
UNRELATED = (".*", "*.egg-info", "benchmarks", "build", "dist", "docs", "tests", "tools")
"""Folders of the project that have no part in it."""
HERE = (Path(__file__), Path(__file__).with_name("pipeline.py"))
RESULT = "result.json"

Finished = tuple[Pipeline, subprocess.CompletedProcess[str]]


def copy_of_finished(home: Path) -> Finished:
    """A copy with the same profile and inbox, and what `dasd run` printed.

    Args:
        home: folder that the copy is made in; it is not there yet.
    """
    folder = CACHE / _hash()
    with _locked():
        if not (folder / RESULT).is_file():
            _make(folder, home.with_name("making"))
        shutil.copytree(folder / "home", home, symlinks=True)
    out, errors = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    copy = Pipeline(folder, home)
    return copy, subprocess.CompletedProcess(copy.command("run"), 0, out, errors)


def with_own_inbox(finished: Pipeline, folder: Path) -> Pipeline:
    """A copy whose inbox can be changed; by its profile only the page and releases are stale."""
    own = Pipeline(folder, folder / "home")
    shutil.copytree(finished.inbox, own.inbox)
    shutil.copytree(finished.home, own.home, symlinks=True)
    settings = finished.profile.read_text(encoding="utf-8")
    own.profile.write_text(settings.replace(str(finished.inbox), str(own.inbox)), encoding="utf-8")
    return own


def _make(folder: Path, home: Path) -> None:
    """Make the one of this code, and forget those of others.

    Args:
        home: where it is made, on a disk that may be faster, before it is kept.
    """
    for outdated in CACHE.glob("*/"):
        shutil.rmtree(outdated)
    folder.mkdir()
    pipeline = replace(new_pipeline(folder), home=home)
    pipeline.put_drop("drop-01", 0)
    pipeline.put_drop("drop-02", 150)
    made = pipeline.dasd("run")
    assert made.returncode == 0, made.stdout + made.stderr
    shutil.move(home, folder / "home")
    (folder / RESULT).write_text(json.dumps([made.stdout, made.stderr]), encoding="utf-8")


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time: the others wait until the pipeline is made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash() -> str:
    """Of the code, the tiny world, the profiles and the installed packages."""
    digest = hashlib.sha256(sys.version.encode())
    packages = {f"{one.name} {one.version}" for one in distributions()}
    digest.update("\n".join(sorted(packages)).encode())
    for file in sorted([*_files(), *HERE]):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(PROJECT_ROOT)} {content}\n".encode())
    return digest.hexdigest()[:16]


def _files() -> Iterator[Path]:
    for top in PROJECT_ROOT.iterdir():
        if top.is_dir() and not any(map(top.match, UNRELATED)):
            yield from (
                file
                for file in top.rglob("*")
                if file.is_file() and "__pycache__" not in file.parts
            )
