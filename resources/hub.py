"""The Hugging Face hub: what `hf://` addresses name, and how it is brought onto this machine.

huggingface_hub draws the progress, resumes what was begun, and takes the token from `HF_TOKEN` or
from `hf auth login`; it is never read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCHEME: Final = "hf://"
DATASETS: Final = "hf://datasets/"
_ADDRESS = re.compile(
    r"hf://(?P<datasets>datasets/)?(?P<name>(?!datasets/)[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?"
    r"(/(?P<path>(?!.*\.\.)[^\s@]+))?"
)
WEIGHTS: Final = "*.safetensors"
MODEL_FILES: Final = ("*.json", "*.jinja", "*.txt", "*.model", WEIGHTS)


class HubError(ValueError):
    """What the hub does not give; the message says what to do."""


@dataclass(frozen=True)
class Address:
    """A repository of the hub, or one path in a data set."""

    name: str
    """OWNER/NAME."""
    revision: str | None
    is_dataset: bool
    path: str | None = None

    def __str__(self) -> str:
        kind, at = "datasets/" if self.is_dataset else "", f"@{self.revision}"
        path = f"/{self.path}" if self.path else ""
        return f"{SCHEME}{kind}{self.name}{at if self.revision else ''}{path}"


def parse_address(text: str) -> Address:
    """Take `hf://[datasets/]OWNER/NAME[@REVISION][/PATH]` apart.

    Raises:
        HubError: it is no such address.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or (match["path"] and not match["datasets"]):
        raise HubError(
            f"{text}: no address on the hub. Expected hf://OWNER/NAME[@REVISION] of a model, "
            "hf://datasets/OWNER/NAME[@REVISION][/PATH] of a data set"
        )
    return Address(match["name"], match["revision"], bool(match["datasets"]), match["path"])


def pull_model(name: str, revision: str | None, *, weights: bool = True) -> Path:
    """Bring a model's folder into the local hub cache; only what is missing is fetched.

    Files below folders of the repository are left out: they are the weights once more, in other
    formats (gpt-oss has two such folders).

    Args:
        weights: fetch them too; an API's teacher needs the tokenizer only.

    Raises:
        HubError: see `pull_dataset`.
    """
    patterns = [pattern for pattern in MODEL_FILES if weights or pattern != WEIGHTS]
    address = Address(name, revision, is_dataset=False)
    return _pull(address, allow_patterns=patterns, ignore_patterns=["*/*"])


def pull_dataset(address: Address, patterns: list[str], folder: Path | None = None) -> Path:
    """Bring the files of a data set that fit a pattern onto this machine.

    Args:
        patterns: paths in the repository; `*` stands for anything.
        folder: put the files themselves there; None: into the local hub cache.

    Returns:
        The folder that has them.

    Raises:
        HubError: it is not there, may not be read, or the hub cannot be reached and the local cache
            has not got it.
    """
    return _pull(address, allow_patterns=patterns, local_dir=folder)


def _pull(address: Address, **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    kind = "dataset" if address.is_dataset else "model"
    try:
        return Path(
            snapshot_download(address.name, repo_type=kind, revision=address.revision, **options)
        )
    except Exception as error:  # of the network, of rights and of names, of many libraries
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        of_type = "--repo-type dataset " if address.is_dataset else ""
        at = f" --revision {address.revision}" if address.revision else ""
        raise HubError(
            f"{address} is neither on the hub nor in its local cache ({what}). If it is gated or "
            "private, accept its terms and run `hf auth login`; without a network bring it into "
            f"the cache: `hf download {of_type}{address.name}{at}`"
        ) from error
