"""A release becomes a repository of the Hugging Face hub.

huggingface_hub takes the token from `HF_TOKEN` or from `hf auth login`; it is never read here.
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from dasd_assets.release.folder import differences, release_files

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset"]

OF_AN_EARLIER_RELEASE: Final = ["data/*", "*.safetensors", "*.safetensors.index.json"]
"""Files whose names depend on how much there was: those of the release before go, so that the
repository's files are those that SHA256SUMS lists. What else somebody put there stays."""


FILES_AT_ONCE: Final = 5
"""Large files that are sent together. Those that went stay, when a later one does not."""


class UploadError(Exception):
    """A release that is not uploaded; the message says why and what to do."""


def files_to_upload(folder: Path) -> list[Path]:
    """The files of a release that hold.

    Raises:
        UploadError: there is no release, or a file is not what it was when it was released.
    """
    if not folder.is_dir():
        raise UploadError(f"{folder}: nothing is released yet: `dasd run`")
    if found := differences(folder):
        raise UploadError(
            f"{folder}: is not what was released: {'; '.join(found[:3])}. Delete the folder it "
            "links to and materialize the release again."
        )
    return release_files(folder)


def upload(folder: Path, hub_id: str, kind: Kind, *, public: bool) -> str:
    """Make the repository if there is none and upload what it has not; returns its address.

    All of it becomes visible in one commit. After an interruption the same call goes on: what the
    hub has got is not sent again.

    Args:
        hub_id: OWNER/NAME, or a name, which is then of the token's owner.
        public: let everybody read it; False: a repository that is public is refused.

    Raises:
        UploadError: no token, no right to write there, a public repository, or no connection.
    """
    from huggingface_hub import HfApi

    files_to_upload(folder)
    api = HfApi()
    try:
        return _upload(api, folder, hub_id, kind, public)
    except UploadError:
        raise
    except Exception as error:  # of the network, of rights and of names, of many libraries
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UploadError(
            f"{kind} {hub_id}: not uploaded ({what}). A token that may write there comes from "
            "`hf auth login` or HF_TOKEN. A server that has no Xet (a mirror) needs "
            "HF_HUB_DISABLE_XET=1. What was uploaded is kept: run the command again."
        ) from error


def _upload(api: HfApi, folder: Path, hub_id: str, kind: Kind, public: bool) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    made = api.create_repo(hub_id, repo_type=kind, private=not public, exist_ok=True)
    # One that was there before is left as it was.
    if api.repo_info(made.repo_id, repo_type=kind).private == public:
        there, asked = ("private", "public") if public else ("public", "private")
        raise UploadError(
            f"{kind} {made.repo_id}: the repository is {there} already, and a {asked} one was "
            f"asked for. Change it in its settings on the hub, or "
            f"{'leave out' if public else 'say'} --public."
        )
    added = [
        CommitOperationAdd(file.relative_to(folder).as_posix(), file)
        for file in release_files(folder)
    ]
    # Not upload_folder: under Xet it commits what it has every five minutes, the removal of the
    # release before first, and the repository has half a release until the last of them.
    for start in range(0, len(added), FILES_AT_ONCE):
        api.preupload_lfs_files(
            made.repo_id,
            added[start : start + FILES_AT_ONCE],
            repo_type=kind,
            num_threads=FILES_AT_ONCE,
            free_memory=False,
        )
    kept = {operation.path_in_repo for operation in added}
    removed = [
        CommitOperationDelete(name)
        for name in api.list_repo_files(made.repo_id, repo_type=kind)
        if name not in kept and any(fnmatch(name, old) for old in OF_AN_EARLIER_RELEASE)
    ]
    api.create_commit(
        made.repo_id,
        [*removed, *added],
        commit_message=f"Release {folder.resolve().name}",
        repo_type=kind,
    )
    return str(made)
