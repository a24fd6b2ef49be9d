"""`dasd add-questions`: look at question drops, then put them into the inbox whole."""

from __future__ import annotations

import os
import shutil
import uuid
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer

from dasd_assets.cli.completion import layouts
from dasd_assets.cli.drop_check import DropCheck, check_drop
from dasd_assets.cli.exits import refusing
from dasd_assets.cli.prepare import quiet_dagster
from dasd_assets.profile import TINY_WORLD, Profile, ProfileError
from dasd_assets.profile.home import active_profile, home
from resources.durable import sync
from resources.hub import SCHEME, HubError, parse_address, pull_dataset

PULLED = "pulled"
"""Folder of DASD_HOME for data sets of the hub on their way into the inbox."""


class RefusedDropError(ValueError):
    """A drop that is not added; the message says why and what to do."""


def add_questions(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="JSONL or Parquet files, folders of them, or data sets of the hub: "
            "`hf://datasets/OWNER/NAME[@REVISION][/PATH]`.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the question_shard. Default: the file's name.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Layout of the profile to read with; the drop is named so that it fits.",
            autocompletion=layouts,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at the drops and add none.")
    ] = False,
) -> None:
    """Check question drops and put them into the inbox, where each becomes a question_shard.

    Counts usable rows, rows that will be quarantined with their reasons, and questions that another
    shard has already. Nothing is added if one of the drops cannot be: an unreadable file, no new
    question, or a name that is taken.
    """
    from dasd_assets.questions.inbox.listing import InboxError, inbox_at, list_inbox
    from dasd_assets.questions.inbox.partition_keys import InvalidPartitionKeyError
    from dasd_assets.questions.reading.rows import DropError

    with refusing(
        ProfileError, RefusedDropError, InboxError, InvalidPartitionKeyError, DropError, HubError,
        OSError,
    ):  # fmt: skip
        profile = active_profile()
        if "://" in profile.questions.inbox:
            raise RefusedDropError(
                f"the inbox is {profile.questions.inbox}: copy the drop there with the tool of "
                "that store, under a name that begins with a dot until it is complete"
            )
        if profile.questions.inbox.startswith(f"{TINY_WORLD}/") and not dry_run:
            raise RefusedDropError(
                f"the inbox of the profile {profile.name} is shipped with the project and stays as "
                "it is. `dasd init FOLDER` begins a project with an inbox of its own; --dry-run "
                "only looks at the drop."
            )
        if name is not None and len(files) > 1:
            raise RefusedDropError("--name names one drop; give one FILE, or leave it out")
        inbox = inbox_at(profile.questions.inbox)
        inbox.mkdir(parents=True, exist_ok=True)
        listing = list_inbox(inbox)
        checked: dict[str, Path] = {}
        pulled = home(profile) / PULLED
        for file in files:
            drop = _pulled(file, pulled) if file.startswith(SCHEME) else _existing(Path(file))
            target = _target(drop, name, layout, profile)
            shard = _free_shard(target, profile, {*listing.drops, *checked})
            _check(drop, shard, profile, {**listing.drops, **checked})
            checked[shard] = drop
        for shard, drop in checked.items():
            place = inbox / _target(drop, name, layout, profile)
            if not dry_run:
                _put(drop, place)
            verb = "would be added" if dry_run else "added"
            typer.echo(f"{verb}: {place}\n{_partitions(shard, profile)}")
        if not dry_run:
            shutil.rmtree(pulled, ignore_errors=True)
    if not dry_run:
        typer.echo("\nnow: dasd run")


def _pulled(address: str, folder: Path) -> Path:
    """A data set of the hub, or a file or folder of one, under the name that it has there.

    What was fetched stays until it is in the inbox, so that what was interrupted goes on.
    """
    from dasd_assets.questions.inbox.partition_keys import DROP_SUFFIXES

    found = parse_address(address)
    if not found.is_dataset:
        raise RefusedDropError(f"{address}: is a model; questions are hf://datasets/OWNER/NAME")
    inside = f"{found.path}/*" if found.path else "*"
    patterns = [f"{inside}{end}" for end in DROP_SUFFIXES]
    place = folder / (found.revision or "newest") / found.name.split("/")[-1]
    pull_dataset(found, [found.path, *patterns] if found.path else patterns, place)
    drop = place / (found.path or "")
    if not drop.exists():
        raise RefusedDropError(
            f"{address}: has no file whose name ends in {', '.join(DROP_SUFFIXES)}"
        )
    return drop


def _existing(file: Path) -> Path:
    drop = file.resolve()
    if not drop.exists():
        raise RefusedDropError(f"{file}: no such file or folder")
    if not (drop.is_file() or drop.is_dir()):
        raise RefusedDropError(
            f"{file}: neither a file nor a folder (a pipe or a device?). Write what it gives into "
            "a file and add that."
        )
    return drop


def _target(drop: Path, name: str | None, layout: str | None, profile: Profile) -> str:
    """Name of the drop in the inbox, with the suffix of a drop.

    Raises:
        RefusedDropError: the profile has no such layout, or the name belongs to another one.
    """
    from dasd_assets.questions.inbox.partition_keys import DROP_SUFFIXES

    ends = () if drop.is_dir() else DROP_SUFFIXES
    suffix = next((end for end in ends if drop.name.endswith(end)), "")
    if not drop.is_dir() and not suffix:
        raise RefusedDropError(
            f"{drop.name}: no drop; expected a name ending in {', '.join(DROP_SUFFIXES)}, or a "
            "folder"
        )
    shard = name or drop.name.removesuffix(suffix)
    if layout is None:
        return shard + suffix
    known = profile.questions.layouts
    if layout not in known:
        raise RefusedDropError(
            f"no layout {layout!r} in the profile; there are {', '.join(known) or 'none'}"
        )
    if not fnmatchcase(shard, layout) and name is None:
        shard = layout.replace("*", shard)
    fitting = next((pattern for pattern in known if fnmatchcase(shard, pattern)), None)
    if fitting != layout:
        raise RefusedDropError(
            f"a drop named {shard!r} is read with {f'layout {fitting!r}' if fitting else 'none'} "
            f"of the profile's layouts, not with {layout!r}. Choose a --name that fits it."
        )
    return shard + suffix


def _free_shard(target: str, profile: Profile, taken: set[str]) -> str:
    """The question shard of a name in the inbox.

    Raises:
        RefusedDropError: there is one already, in the inbox or in the lake.
    """
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.questions.inbox.partition_keys import question_shard_of

    shard = question_shard_of(target)
    lake = open_lake(profile)
    if shard in taken or lake.exists("raw_questions", {"question_shard": shard}):
        raise RefusedDropError(
            f"there is a question_shard {shard!r} already, and a drop is never changed once it is "
            "there: answers to its questions may have been paid for. Choose another --name; "
            "questions that are in both are asked once."
        )
    return shard


def _check(drop: Path, shard: str, profile: Profile, others: dict[str, Path]) -> None:
    """Print what is in a drop.

    Raises:
        RefusedDropError: it has no question that is new.
    """
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.questions.reading.drops import layout_of

    lake = open_lake(profile)
    stored = {
        keys["question_shard"]: lake.read("questions", keys, ["question_id"])[0].to_pylist()
        for keys in lake.partitions("questions")
    }
    layout = layout_of(shard, profile.questions.layouts)
    found = check_drop(drop, layout, profile, others, stored)
    _print(shard, found)
    if found.same_as is not None:
        raise RefusedDropError(f"{drop}: the very content of the drop {found.same_as!r}")
    if not found.usable:
        raise RefusedDropError(
            f"{drop}: no usable row. `dasd docs bring-your-own-questions` says what a row "
            "needs and how columns of other names are mapped (`questions.layouts`)."
        )
    if not found.new:
        raise RefusedDropError(f"{drop}: every question is there already")


def _print(shard: str, found: DropCheck) -> None:
    typer.echo(f"{shard}: {found.usable:,} usable row(s), {found.new:,} new question(s)")
    for reason, n in sorted(found.reasons.items()):
        typer.echo(f"  to quarantine: {n:,} {reason}")
    for example in found.examples:
        typer.echo(f"    {example}")
    if found.repeated:
        typer.echo(f"  asked more than once in this drop: {found.repeated:,}")
    for path in found.passed_over:
        typer.echo(f"  passed over, as its name is no data file's: {path}")
    for other, n in found.known.items():
        typer.echo(f"  already in question_shard {other}: {n:,}")


def _put(drop: Path, target: Path) -> None:
    """Copy a drop so that it appears whole: under a hidden name first, then renamed."""
    hidden = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        if drop.is_dir():
            shutil.copytree(drop, hidden, ignore=shutil.ignore_patterns(".cache"))
            hidden.rename(target)  # fails if somebody was faster: a folder is not replaced
        else:
            shutil.copyfile(drop, hidden)
            sync(hidden)
            os.link(hidden, target)  # as this does, where a rename would replace
        sync(target.parent)
    finally:
        if hidden.is_dir():
            shutil.rmtree(hidden)
        hidden.unlink(missing_ok=True)


def _partitions(shard: str, profile: Profile) -> str:
    """Which partitions the new shard brings, by the definitions of the assets."""
    import dagster as dg

    quiet_dagster()
    from dasd_assets.graph import build_definitions

    graph = build_definitions(profile, home(profile)).resolve_asset_graph()
    grid: list[str] = []
    rows: list[str] = []
    for level in graph.toposorted_asset_keys_by_level:
        for key in sorted(level):
            partitions = graph.get(key).partitions_def
            if isinstance(partitions, dg.MultiPartitionsDefinition):
                grid.append(key.to_user_string())
            elif isinstance(partitions, dg.DynamicPartitionsDefinition):
                rows.append(key.to_user_string())
    cells = ", ".join(f"{shard}|{t}" for t in profile.teacher_responses.temperatures)
    return f"  partition {shard} of {', '.join(rows)}\n  partitions {cells} of {', '.join(grid)}"
