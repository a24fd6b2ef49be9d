"""`dasd init`: a project folder with a profile, an inbox and an example drop in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from dasd_assets.cli.completion import profiles
from dasd_assets.cli.exits import refusing
from dasd_assets.profile import PROFILE_FOLDER, PROJECT_ROOT, load_profile

TINY = "tiny"
PROFILE = "profile.yaml"
INBOX = "inbox"
EXAMPLE = "example.jsonl"
EXAMPLE_ROWS = 60
NAME = re.compile(r"[^a-z0-9_.-]+")

HEADER = """\
# Settings of this pipeline. An unknown key or a bad value is an error that names what is allowed;
# what is not set here has the default that docs/reference/settings.md names.
# Relative paths are relative to this file's folder{shipped}.
# Data goes to .dasd/{name} beside this file, or to $DASD_HOME.
"""
SHIPPED = "; tiny_world/… is what the project ships"
README = """\
# {name}

A pipeline of its own for dasd-dagster, begun from the profile `{base}`.

```console
export DASD_PROFILE={profile}
dasd doctor                      # can it run on this machine?
dasd plan                        # what will it cost?
dasd add-questions my.jsonl      # your questions, beside or instead of inbox/example.jsonl
dasd run                         # make everything
dasd status                      # what is there, what is not
```

- `profile.yaml`: every setting, with comments
- `inbox/`: question drops; each becomes one question_shard
- `.dasd/`: what is made (not for git)
"""


class InitError(ValueError):
    """The folder cannot be begun; nothing in it was changed."""


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make, or one to add to.")] = Path(),
    base: Annotated[
        str,
        typer.Option("--from", help="Shipped profile to begin from.", autocompletion=profiles),
    ] = TINY,
) -> None:
    """Begin a project: a commented profile, an inbox with an example drop, .gitignore and README.

    Nothing that is there already is overwritten: if one of the files exists, nothing is made.
    """
    with refusing(InitError, OSError):
        files = scaffold(folder.resolve(), base)
        written = _write(folder.resolve(), files)
    for file in written:
        typer.echo(f"made {folder / file}")
    profile = shlex.quote(str(folder / PROFILE))
    typer.echo(f"\nnow: DASD_PROFILE={profile} dasd run")
    if base != TINY:
        typer.echo(
            f"     (first `DASD_PROFILE={profile} dasd doctor` and `dasd plan`: the models of "
            f"{base} are large)"
        )


def scaffold(folder: Path, base: str) -> dict[str, str]:
    """Relative path -> content of every file of a new project.

    The profile is the shipped one with its comments, under the folder's name, with an inbox of its
    own; the example drop is the beginning of the tiny world's questions.

    Raises:
        InitError: no profile of that name is shipped.
    """
    file = PROFILE_FOLDER / f"{base}.yaml"
    if not file.is_file():
        raise InitError(f"{base}: no profile of that name is shipped: {', '.join(profiles(''))}")
    name = NAME.sub("-", folder.name.lower()).strip("-._") or "project"
    header = HEADER.format(name=name, shipped=SHIPPED if base == TINY else "")
    profile = _set(file.read_text(encoding="utf-8"), "name", name)
    if "\n  inbox: " in profile:  # else it has that of its base, which is beside any profile
        profile = _set(profile, "  inbox", INBOX)
    drop = next(iter(sorted((PROJECT_ROOT / "tiny_world" / "inbox").glob("*.jsonl"))))
    with drop.open(encoding="utf-8") as lines:
        example = "".join(line for line, _ in zip(lines, range(EXAMPLE_ROWS), strict=False))
    return {
        PROFILE: f"{header}\n{profile}",
        f"{INBOX}/{EXAMPLE}": example,
        ".gitignore": ".dasd/\n",
        "README.md": README.format(
            name=name, base=base, profile=shlex.quote(str(folder / PROFILE))
        ),
    }


def _set(text: str, key: str, value: str) -> str:
    """The YAML with the first line of a key changed and all else, comments too, as it was."""
    changed, n = re.subn(rf"^{re.escape(key)}: \S+", f"{key}: {value}", text, count=1, flags=re.M)
    assert n == 1, f"the shipped profile has no line {key!r}"
    return changed


def _write(folder: Path, files: dict[str, str]) -> list[str]:
    """Write the files of a new project.

    Raises:
        InitError: one of them is there already; none is written then.
    """
    if folder.exists() and not folder.is_dir():
        raise InitError(f"{folder}: is no folder")
    if folder in (PROJECT_ROOT, PROFILE_FOLDER):
        raise InitError(f"{folder}: is the project's own. Choose a folder of its own.")
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise InitError(
            f"{folder}: {', '.join(there)} is there already, and nothing is overwritten. Choose "
            "another folder, or move it away."
        )
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(content)
    load_profile(str(folder / PROFILE))
    return list(files)
