"""Trainers that the training sets are exported for."""

from __future__ import annotations

from enum import StrEnum


class Library(StrEnum):
    """Who is to read the files."""

    TRL = "trl"
    AXOLOTL = "axolotl"
    LLAMA_FACTORY = "llama-factory"
    MS_SWIFT = "ms-swift"
