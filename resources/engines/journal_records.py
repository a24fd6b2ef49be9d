"""The format of a request journal: a header, then one checksummed record per completion.

A record is `<length, crc32><key, kind, n token ids, n logprobs><token ids><logprobs><top>`,
little-endian; length and checksum are of what follows them. `kind` is the finish reason, plus
KINDS times the number k of likeliest tokens that each token has in `top`: all their ids, then all
their logprobs. Without them a record is what it was before they could be asked for.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from resources.engines.protocol import NO_TOP, Completion, FinishReason, TopLogprobs
from resources.engines.settings import MOST_TOP

HEADER = b"dasd journal 2\n"
_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<32sBII")
_REASONS: tuple[FinishReason, ...] = get_args(FinishReason)
KINDS = len(_REASONS)
_Number = TypeVar("_Number", int, npt.NDArray[np.int64])
_CHUNK_BYTES = 1024**2
_KIND_AT = _FRAME.size + 32
_N_IDS_AT = _KIND_AT + 1
"""Where, from a record's first byte on, its number of token ids stands, before that of logprobs."""


class JournalError(RuntimeError):
    """A journal that cannot be used; the message names the file and what to do."""


def encode(completion: Completion) -> bytes:
    """The record of a completion; NaN and a lack of logprobs are kept as they are."""
    top = completion.top
    payload = b"".join(
        (
            _HEAD.pack(
                bytes.fromhex(completion.key),
                _REASONS.index(completion.finish_reason) + KINDS * top.token_ids.shape[1],
                len(completion.token_ids),
                len(completion.logprobs),
            ),
            completion.token_ids.astype("<i4").tobytes(),
            completion.logprobs.astype("<f4").tobytes(),
            top.token_ids.astype("<i4").tobytes(),
            top.logprobs.astype("<f4").tobytes(),
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
    key, kind, n_token_ids, n_logprobs = _HEAD.unpack_from(payload)
    k, reason = divmod(kind, KINDS)
    after = _HEAD.size + 4 * (n_token_ids + n_logprobs)
    n_top = k * n_token_ids
    return Completion(
        key=key.hex(),
        token_ids=np.frombuffer(payload, "<i4", n_token_ids, _HEAD.size),
        logprobs=np.frombuffer(payload, "<f4", n_logprobs, _HEAD.size + 4 * n_token_ids),
        finish_reason=_REASONS[reason],
        top=TopLogprobs(
            np.frombuffer(payload, "<i4", n_top, after).reshape(-1, k),
            np.frombuffer(payload, "<f4", n_top, after + 4 * n_top).reshape(-1, k),
        )
        if k
        else NO_TOP,
    )


@dataclass(frozen=True)
class Scanned:
    """What a journal's file holds."""

    offsets: dict[bytes, int]
    """SHA-256 of the request -> byte where its record starts; of two records the later one's."""
    end: int
    """Byte after the last whole record; 0 if there is not even a header."""
    unreadable: list[tuple[int, int]]
    """Ranges of bytes, first and after the last, in which there is no whole record."""


def scan(file: BinaryIO, path: Path | str) -> Scanned:
    """Find the whole records of a journal without holding more than a piece of it in memory.

    A record that is damaged is passed over, wherever the damage is: the next one is found by its
    form (length and counts agree) and its checksum, not by the length of the damaged one alone.

    Raises:
        JournalError: the file is not a journal of this version.
    """
    size = os.fstat(file.fileno()).st_size
    # The buffer belongs to this reader; the file descriptor stays the caller's.
    reader = os.fdopen(file.fileno(), "rb", _CHUNK_BYTES, closefd=False)
    reader.seek(0)
    header = reader.read(len(HEADER))
    if header != HEADER and HEADER.startswith(header):
        return Scanned({}, 0, [(0, size)] if size else [])
    start, end = len(HEADER), len(HEADER) if header == HEADER else 0
    offsets: dict[bytes, int] = {}
    unreadable: list[tuple[int, int]] = []
    while start < size:
        found = _record_at(reader, start, size)
        if found is None:
            start = _next_record(reader, start + 1, size)
            continue
        if start > end:
            unreadable.append((end, start))
        key, length = found
        offsets[key] = start
        start = end = start + length
    if header != HEADER and not offsets:
        raise JournalError(
            f"{path}: not a request journal of this version (expected it to start with "
            f"{HEADER!r}, found {header!r}). Finish the step with the version that began it, or "
            "delete the file: its requests are then asked again"
        )
    return Scanned(offsets, end, [*unreadable, (end, size)] if end < size else unreadable)


def _record_at(reader: BinaryIO, start: int, size: int) -> tuple[bytes, int] | None:
    """Key and bytes of the whole record that starts at a byte; None if there is none."""
    reader.seek(start)
    begin = reader.read(_FRAME.size + _HEAD.size)
    if len(begin) < _FRAME.size + _HEAD.size:
        return None
    length, checksum = _FRAME.unpack_from(begin)
    key, kind, n_token_ids, n_logprobs = _HEAD.unpack_from(begin, _FRAME.size)
    if (
        length != _payload_bytes(kind, n_token_ids, n_logprobs)
        or start + _FRAME.size + length > size
        or kind >= KINDS * (MOST_TOP + 1)
        or _checksum(reader, length - _HEAD.size, zlib.crc32(begin[_FRAME.size :])) != checksum
    ):
        return None
    return key, _FRAME.size + length


def _payload_bytes(kind: _Number, n_token_ids: _Number, n_logprobs: _Number) -> _Number:
    """Bytes of a record after its length and checksum."""
    return _HEAD.size + 4 * (n_token_ids + n_logprobs) + 8 * (kind // KINDS) * n_token_ids


def _next_record(reader: BinaryIO, start: int, size: int) -> int:
    """First byte from `start` on at which something has the form of a record; `size` if none."""
    begin_bytes = _FRAME.size + _HEAD.size
    while size - start >= begin_bytes:
        reader.seek(start)
        piece = np.frombuffer(reader.read(_CHUNK_BYTES + begin_bytes - 1), np.uint8)
        n_starts = len(piece) - begin_bytes + 1
        length, n_token_ids, n_logprobs = (
            _numbers(piece, offset, n_starts) for offset in (0, _N_IDS_AT, _N_IDS_AT + 4)
        )
        kind = piece[_KIND_AT : _KIND_AT + n_starts].astype(np.int64)
        has_form = length == _payload_bytes(kind, n_token_ids, n_logprobs)
        has_form &= start + np.arange(n_starts) + _FRAME.size + length <= size
        if len(candidates := np.flatnonzero(has_form)):
            return start + int(candidates[0])
        start += n_starts
    return size


def _numbers(piece: npt.NDArray[np.uint8], offset: int, n: int) -> npt.NDArray[np.int64]:
    """The 32-bit numbers that start at each of `n` successive bytes from an offset on."""
    number = np.zeros(n, np.int64)
    for byte in range(4):
        number |= piece[offset + byte : offset + byte + n].astype(np.int64) << (8 * byte)
    return number


def _checksum(reader: BinaryIO, n_bytes: int, checksum: int) -> int:
    while n_bytes and (chunk := reader.read(min(n_bytes, _CHUNK_BYTES))):
        checksum = zlib.crc32(chunk, checksum)
        n_bytes -= len(chunk)
    return checksum
