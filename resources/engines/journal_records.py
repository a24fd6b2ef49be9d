"""The format of a request journal: a header, then one checksummed record per completion.

A record is `<length, crc32><key, finish_reason, n token ids, n logprobs><token ids><logprobs>`,
little-endian; length and checksum are of what follows them.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np

from resources.engines.protocol import Completion, FinishReason

HEADER = b"dasd journal 2\n"
_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<32sBII")
_REASONS: tuple[FinishReason, ...] = get_args(FinishReason)
_CHUNK_BYTES = 1024**2


class JournalError(RuntimeError):
    """A journal that cannot be used; the message names the file and what to do."""


def encode(completion: Completion) -> bytes:
    """The record of a completion; NaN and a lack of logprobs are kept as they are."""
    payload = b"".join(
        (
            _HEAD.pack(
                bytes.fromhex(completion.key),
                _REASONS.index(completion.finish_reason),
                len(completion.token_ids),
                len(completion.logprobs),
            ),
            completion.token_ids.astype("<i4").tobytes(),
            completion.logprobs.astype("<f4").tobytes(),
        )
    )
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def read_record(file: BinaryIO, offset: int) -> Completion | None:
    """The completion whose record starts at a byte of the file; None if it is damaged."""
    file.seek(offset)
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack(frame)
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    key, reason, n_token_ids, n_logprobs = _HEAD.unpack_from(payload)
    return Completion(
        key=key.hex(),
        token_ids=np.frombuffer(payload, "<i4", n_token_ids, _HEAD.size),
        logprobs=np.frombuffer(payload, "<f4", n_logprobs, _HEAD.size + 4 * n_token_ids),
        finish_reason=_REASONS[reason],
    )


def scan(file: BinaryIO, path: Path | str) -> tuple[dict[bytes, int], int]:
    """Find the whole records of a journal without holding more than a piece of it in memory.

    Returns:
        Key -> byte where its record starts, and the byte after the last whole record; 0 if not
        even the header is whole.

    Raises:
        JournalError: the file is not a journal of this version.
    """
    size = os.fstat(file.fileno()).st_size
    # The buffer belongs to this reader; the file descriptor stays the caller's.
    reader = os.fdopen(file.fileno(), "rb", _CHUNK_BYTES, closefd=False)
    reader.seek(0)
    header = reader.read(len(HEADER))
    if header != HEADER:
        if HEADER.startswith(header):
            return {}, 0
        raise JournalError(
            f"{path}: not a request journal of this version (expected it to start with "
            f"{HEADER!r}, found {header!r}). Finish the step with the version that began it, or "
            "delete the file: its requests are then asked again"
        )
    offsets: dict[bytes, int] = {}
    start = len(HEADER)
    while size - start >= _FRAME.size + _HEAD.size:
        length, checksum = _FRAME.unpack(reader.read(_FRAME.size))
        end = start + _FRAME.size + length
        if length < _HEAD.size or end > size:
            break
        head = reader.read(_HEAD.size)
        key, _, n_token_ids, n_logprobs = _HEAD.unpack(head)
        if length != _HEAD.size + 4 * (n_token_ids + n_logprobs):
            break
        if _checksum(reader, length - _HEAD.size, zlib.crc32(head)) != checksum:
            break
        offsets[key] = start
        start = end
    return offsets, start


def _checksum(reader: BinaryIO, n_bytes: int, checksum: int) -> int:
    while n_bytes and (chunk := reader.read(min(n_bytes, _CHUNK_BYTES))):
        checksum = zlib.crc32(chunk, checksum)
        n_bytes -= len(chunk)
    return checksum
