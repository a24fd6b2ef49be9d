"""Where the pictures of what is in the lake lie."""

from __future__ import annotations

from typing import Final

PICTURES: Final = "pictures"
HASH_LETTERS: Final = 12
"""Of a picture's SHA-256, in its file's name before `.png`."""


def pictures_of(name: str) -> str:
    """Folder of the pictures of a partition, a checkpoint or a page.

    Args:
        name: what they are pictures of, below the lake's root, such as `evaluation/…/data.parquet`.
    """
    return f"{PICTURES}/{name.removesuffix('/data.parquet').removesuffix('.html')}"
