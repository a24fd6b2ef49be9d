"""Reading a drop of questions: good rows are kept, bad ones quarantined with their reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from resources.contracts import QUARANTINED_ROWS, RAW_QUESTIONS

DOMAINS = ("math", "code", "science", "instruction_following")
MAX_EVIDENCE = 200
INT32 = range(-(2**31), 2**31)


@dataclass(frozen=True)
class DropContents:
    """Usable rows (RAW_QUESTIONS) and unusable ones (QUARANTINED_ROWS) of one drop."""

    rows: pa.Table
    quarantined: pa.Table


class _UnusableRowError(ValueError):
    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = evidence


def read_drop(drop: Path, name: str, max_row_bytes: int) -> DropContents:
    """Read a JSONL drop with the fields question, domain, answer and, optional, difficulty, source.

    No content makes this fail: a row that cannot be used is quarantined under its line with one of
    the reasons invalid_utf8, invalid_json, not_an_object, missing_field, wrong_type,
    empty_question, unknown_domain or line_too_long. Blank lines are skipped. Lines are read one at
    a time, and never more of one than `max_row_bytes`.
    """
    rows: list[dict[str, Any]] = []
    quarantined: list[dict[str, Any]] = []
    with drop.open("rb") as stream:
        for line, content, n_bytes in _lines(stream, max_row_bytes):
            try:
                if content is None:
                    raise _UnusableRowError("line_too_long", f"{n_bytes} bytes")
                if content.strip():
                    rows.append({"drop": name, "line": line, **_parse(content, line)})
            except _UnusableRowError as error:
                quarantined.append(
                    {
                        "drop": name,
                        "line": line,
                        "reason": error.reason,
                        "evidence": error.evidence[:MAX_EVIDENCE],
                    }
                )
    return DropContents(
        pa.Table.from_pylist(rows, schema=RAW_QUESTIONS),
        pa.Table.from_pylist(quarantined, schema=QUARANTINED_ROWS),
    )


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


def _parse(content: bytes, line: int) -> dict[str, Any]:
    try:
        text = content.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise _UnusableRowError("invalid_utf8", f"byte {error.start}: {error.reason}") from None
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        evidence = f"{error.msg} (character {error.pos})"
        raise _UnusableRowError("invalid_json", evidence) from None
    except RecursionError:
        raise _UnusableRowError("invalid_json", "nested too deeply") from None
    except ValueError as error:  # an integer of more digits than Python reads
        raise _UnusableRowError("invalid_json", str(error)) from None
    if not isinstance(row, dict):
        raise _UnusableRowError("not_an_object", f"a JSON {type(row).__name__}")
    for field in ("question", "domain", "answer"):
        if row.get(field) is None:
            raise _UnusableRowError("missing_field", field)
    question = _typed(row, "question", str)
    domain = _typed(row, "domain", str)
    if not question.strip():
        raise _UnusableRowError("empty_question", repr(question))
    if domain not in DOMAINS:
        raise _UnusableRowError("unknown_domain", f"{domain!r}; known: {', '.join(DOMAINS)}")
    difficulty = None if row.get("difficulty") is None else _typed(row, "difficulty", int)
    if difficulty is not None and difficulty not in INT32:
        raise _UnusableRowError("wrong_type", f"difficulty: {difficulty} has over 32 bits")
    return {
        "question": _text("question", question),
        "domain": domain,
        "answer": _text("answer", _reference(row["answer"])),
        "difficulty": difficulty,
        "source": None
        if row.get("source") is None
        else _text("source", _typed(row, "source", str)),
    }


def _typed(row: dict[str, Any], field: str, kind: type) -> Any:
    value = row[field]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _UnusableRowError(
            "wrong_type", f"{field}: expected {kind.__name__}, found {type(value).__name__}"
        )
    return value


def _reference(answer: Any) -> str:
    try:
        return json.dumps(answer, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except ValueError:
        raise _UnusableRowError("wrong_type", "answer: a number that is not finite") from None


def _text(field: str, value: str) -> str:
    r"""A string that has a UTF-8 form: JSON can spell half a surrogate pair (`\ud800`)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _UnusableRowError("invalid_utf8", f"{field}: a lone surrogate") from None
    return value
