"""JSONL files, plain or compressed, line by line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from dasd_assets.questions.reading.rows import Row
from dasd_assets.questions.reading.unpacked import Unpacked
from dasd_assets.questions.reading.unusable import UnusableRowError


def read_json_lines(file: Path, max_row_bytes: int) -> Iterator[Row]:
    """Rows of a JSONL file (`.jsonl`, `.jsonl.gz`, `.jsonl.zst`), with their line numbers.

    Blank lines are skipped. Never more than `max_row_bytes` of a line are held. Reasons of rows
    that cannot be read: invalid_utf8, invalid_json, not_an_object, duplicate_key, line_too_long.

    Raises:
        DropError: it unpacks to more than it may.
        OSError: a compressed file is damaged.
    """
    # pyarrow's stream is a raw one to Python; the buffer gives it readline.
    unpacked = Unpacked(file)
    with io.BufferedReader(cast(Any, pa.input_stream(str(file), compression="detect"))) as stream:
        for line, content, n_bytes in _lines(stream, max_row_bytes, unpacked):
            if content is None:
                yield Row(line, UnusableRowError("line_too_long", f"{n_bytes} bytes"))
            elif content.strip():
                yield Row(line, _parsed(content, line))


def _lines(
    stream: BinaryIO, max_row_bytes: int, unpacked: Unpacked
) -> Iterator[tuple[int, bytes | None, int]]:
    """Line number, content (None if the line is too long) and length of every line."""
    line = 0
    while start := stream.readline(max_row_bytes + 1):
        line += 1
        n_bytes, end = len(start), start
        unpacked.add(n_bytes)
        while len(end) == max_row_bytes + 1 and not end.endswith(b"\n"):
            end = stream.readline(max_row_bytes + 1)
            n_bytes += len(end)
            unpacked.add(len(end), n_rows=0)
            if not end:
                break
        yield line, start if n_bytes <= max_row_bytes else None, n_bytes


def _parsed(content: bytes, line: int) -> dict[str, Any] | UnusableRowError:
    try:
        text = content.decode("utf-8-sig" if line == 1 else "utf-8")
        row = json.loads(text, object_pairs_hook=_once)
    except UnusableRowError as error:
        return error
    except UnicodeDecodeError as error:
        return UnusableRowError("invalid_utf8", f"byte {error.start}: {error.reason}")
    except json.JSONDecodeError as error:
        return UnusableRowError("invalid_json", f"{error.msg} (character {error.pos})")
    except RecursionError:
        return UnusableRowError("invalid_json", "nested too deeply")
    except ValueError as error:  # an integer of more digits than Python reads
        return UnusableRowError("invalid_json", str(error))
    if not isinstance(row, dict):
        return UnusableRowError("not_an_object", f"a JSON {type(row).__name__}")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; Python's reader takes the last of two values of a key, others the first.

    Raises:
        UnusableRowError: duplicate_key.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnusableRowError("duplicate_key", f"{twice!r} is there more than once")
    return found
