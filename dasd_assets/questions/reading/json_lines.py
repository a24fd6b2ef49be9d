"""JSONL files, plain or compressed, line by line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from dasd_assets.questions.reading.rows import Row
from dasd_assets.questions.reading.unusable import UnusableRowError


def read_json_lines(file: Path, max_row_bytes: int) -> Iterator[Row]:
    """Rows of a JSONL file (`.jsonl`, `.jsonl.gz`, `.jsonl.zst`), with their line numbers.

    Blank lines are skipped. Never more than `max_row_bytes` of a line are held. Reasons of rows
    that cannot be read: invalid_utf8, invalid_json, not_an_object, line_too_long.

    Raises:
        OSError: a compressed file is damaged.
    """
    # pyarrow's stream is a raw one to Python; the buffer gives it readline.
    with io.BufferedReader(cast(Any, pa.input_stream(str(file), compression="detect"))) as stream:
        for line, content, n_bytes in _lines(stream, max_row_bytes):
            if content is None:
                yield Row(line, UnusableRowError("line_too_long", f"{n_bytes} bytes"))
            elif content.strip():
                yield Row(line, _parsed(content, line))


def _lines(stream: BinaryIO, max_row_bytes: int) -> Iterator[tuple[int, bytes | None, int]]:
    """Line number, content (None if the line is too long) and length of every line."""
    line = 0
    while start := stream.readline(max_row_bytes + 1):
        line += 1
        n_bytes, end = len(start), start
        while len(end) == max_row_bytes + 1 and not end.endswith(b"\n"):
            end = stream.readline(max_row_bytes + 1)
            n_bytes += len(end)
            if not end:
                break
        yield line, start if n_bytes <= max_row_bytes else None, n_bytes


def _parsed(content: bytes, line: int) -> dict[str, Any] | UnusableRowError:
    try:
        row = json.loads(content.decode("utf-8-sig" if line == 1 else "utf-8"))
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
