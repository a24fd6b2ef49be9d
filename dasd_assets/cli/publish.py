"""`dasd publish`: the released model and data sets go to the Hugging Face hub."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.profile import ProfileError
from dasd_assets.profile.home import active_profile, home, lake_folder


class What(StrEnum):
    """What is published."""

    BOTH = "both"
    MODEL = "model"
    DATASET = "dataset"


def publish(
    what: Annotated[What, typer.Argument(help="The model, the data sets, or both.")] = What.BOTH,
    public: Annotated[
        bool, typer.Option("--public", help="Everybody may read it; without it, it is private.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go where; nothing is sent.")
    ] = False,
) -> None:
    """Upload the newest releases to the hub, under the ids of the profile's section `release`.

    Only files that are what was released go. An upload that was interrupted goes on where it was
    when the command is run again. The token is that of `hf auth login`, or HF_TOKEN.
    """
    from dasd_assets.release.folder import release_link
    from dasd_assets.release.hub_upload import Kind, UploadError, files_to_upload, upload

    with refusing(ProfileError, UploadError):
        profile = active_profile()
        releases = lake_folder(profile, home(profile)) / "releases"
        ids: dict[Kind, str] = {
            "model": profile.release.model_id, "dataset": profile.release.dataset_id
        }  # fmt: skip
        wanted = {kind: id for kind, id in ids.items() if what in (What.BOTH, kind)}
        listed = {kind: files_to_upload(release_link(releases, kind)) for kind in wanted}
        for kind, hub_id in wanted.items():
            sizes = {file: file.stat().st_size for file in listed[kind]}
            typer.echo(
                f"{kind} {hub_id} ({'public' if public else 'private'}): {len(sizes)} files, "
                f"{sum(sizes.values()) / 1e6:,.1f} MB"
            )
            folder = release_link(releases, kind)
            if dry_run:
                for file, size in sizes.items():
                    typer.echo(f"  {file.relative_to(folder)}  {size:,} bytes")
            else:
                typer.echo(f"  {upload(folder, hub_id, kind, public=public)}")
    if dry_run:
        typer.echo(
            "nothing was sent. profile.yaml and lineage.json are among the files: they name paths "
            "of this machine."
        )
