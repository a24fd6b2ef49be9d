"""Answers that somebody else delivers: taken apart from their text, and their tokens placed in it.

Which tokens come along differs. Those of gpt-oss may be the whole Harmony answer, or begin inside
the analysis, or be the reasoning alone; others spell the text with its marks. So nothing is assumed
of a row: its tokens have to spell its parts, whatever marks stand between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from formats.harmony import MARKS, MESSAGE_END, HarmonyFormat
from formats.student_text import CLOSE_MARK, OPEN_MARK, TEMPLATE, part_spans
from formats.token_bytes import NormalisedText, TokenBytes, TokenizerError

WHITE_SPACE = b" \t\n\r\x0b\x0c"
HARMONY_MARK = "<|channel|>"
_HEADER_OPEN, _HEADER_CLOSE = ("<|start|>", HARMONY_MARK), "<|message|>"
SHOWN_BYTES = 40


class DeliveredTextError(ValueError):
    """A text that cannot be taken apart, or tokens that do not spell it; says where."""


@dataclass(frozen=True)
class DeliveredTokens:
    """The tokens of one answer.

    Attributes:
        starts: byte of the canonical text where each token's first non-space byte lies, int32; -1:
            a token of a template.
        has_answer: whether they spell the final answer, too, and not the reasoning alone.
        has_end: whether the last one is a special token, which ends the answer.
    """

    starts: npt.NDArray[np.int32]
    has_answer: bool
    has_end: bool


def delivered_parts(text: str) -> tuple[str, str]:
    """Reasoning and answer of a text with marks of thinking or in Harmony, stripped; '' if absent.

    A text without any mark is all answer: whoever wrote it did not think first.

    Raises:
        DeliveredTextError: it has marks of Harmony in other places than Harmony.
    """
    if HARMONY_MARK in text:
        reasoning, last = HarmonyFormat().begun(text)
        answer = _without_end(last or "")
        if mark := next((mark for mark in MARKS if mark in reasoning + answer), None):
            raise DeliveredTextError(f"{mark} stands where Harmony has none")
        return reasoning.strip(), answer
    before, mark, after = text.partition(CLOSE_MARK)
    if not mark and not text.lstrip().startswith(OPEN_MARK):
        return "", text.strip()
    return before.lstrip().removeprefix(OPEN_MARK).strip(), after.strip()


def _without_end(text: str) -> str:
    """The answer without the mark that ends a turn of Harmony."""
    for mark in ("<|return|>", MESSAGE_END):
        text = text.rstrip().removesuffix(mark)
    return text.strip()


def delivered_tokens(
    token_ids: npt.NDArray[np.int32], reasoning: str, answer: str, token_bytes: TokenBytes
) -> DeliveredTokens:
    """Place the tokens of an answer in its canonical text.

    They have to spell the reasoning and then the answer, or the reasoning alone; between these may
    be white space, `<think>` and `</think>`, special tokens, and the names of Harmony's channels.

    Args:
        token_ids: any of the tokenizer's.
        reasoning, answer: as `delivered_parts` gives them.
        token_bytes: byte tables of the tokenizer that the ids are of.

    Raises:
        DeliveredTextError: naming the first byte that differs, or the id that is unknown.
    """
    unknown = token_ids[(token_ids < 0) | (token_ids >= token_bytes.size)]
    if len(unknown):
        raise DeliveredTextError(f"the tokenizer has no token {unknown[0]}")
    is_special = token_bytes.is_special[token_ids]
    is_text = ~is_special & ~_in_header(token_ids, token_bytes)
    spelled = token_bytes.decode(token_ids[is_text])
    try:
        parts = token_bytes.normalised(reasoning), token_bytes.normalised(answer)
    except TokenizerError as error:
        raise DeliveredTextError(str(error)) from error
    begins = _begins(spelled, parts)
    sizes = np.where(is_text, token_bytes.n_bytes[token_ids], 0)
    first = np.cumsum(sizes) - sizes + token_bytes.first_nonspace[token_ids]
    starts = np.full(len(token_ids), TEMPLATE, np.int32)
    spans = part_spans(reasoning, answer)
    for begin, part, (offset, _) in zip(begins, parts, spans, strict=True):
        if begin is None:
            continue
        n_bytes = len(part.original_starts)
        inside = np.flatnonzero((sizes > 0) & (first >= begin) & (first < begin + n_bytes))
        starts[inside] = part.original_starts[first[inside] - begin] + offset
    return DeliveredTokens(starts, begins[1] is not None, bool(len(token_ids) and is_special[-1]))


def _in_header(token_ids: npt.NDArray[np.int32], token_bytes: TokenBytes) -> npt.NDArray[np.bool_]:
    """Whether each token names a role or a channel of Harmony."""
    opens = [index for mark in _HEADER_OPEN if (index := token_bytes.id_of(mark)) is not None]
    change = np.isin(token_ids, opens).astype(np.int8)
    change[token_ids == (token_bytes.id_of(_HEADER_CLOSE) or -1)] = -1
    place = np.where(change != 0, np.arange(len(change)), -1)
    latest = np.maximum.accumulate(place) if len(place) else place
    return np.asarray((latest >= 0) & (change[latest] > 0))


def _begins(
    spelled: bytes, parts: tuple[NormalisedText, NormalisedText]
) -> tuple[int | None, int | None]:
    """Byte at which each part begins in what the tokens spell; None: it is not there."""
    reasoning, answer = (part.text.encode() for part in parts)
    first = _skipped(spelled, 0, OPEN_MARK)
    after = _matched(spelled, first, reasoning, "reasoning")
    second = _skipped(spelled, after, CLOSE_MARK if reasoning else OPEN_MARK)
    if second == len(spelled) and reasoning and answer:
        return first, None
    if not reasoning:
        second = _skipped(spelled, second, CLOSE_MARK)
    end = _matched(spelled, second, answer, "answer")
    if rest := spelled[end:].strip(WHITE_SPACE):
        raise DeliveredTextError(f"behind the answer the tokens spell {_shown(rest)}")
    return (first if reasoning else None), (second if answer else None)


def _skipped(spelled: bytes, place: int, mark: str) -> int:
    """The place behind white space and one mark, if it is there."""
    place = len(spelled) - len(spelled[place:].lstrip(WHITE_SPACE))
    if not spelled.startswith(mark.encode(), place):
        return place
    place += len(mark.encode())
    return len(spelled) - len(spelled[place:].lstrip(WHITE_SPACE))


def _matched(spelled: bytes, place: int, part: bytes, name: str) -> int:
    """The place behind a part of the text.

    Raises:
        DeliveredTextError: the tokens spell something else there.
    """
    if spelled.startswith(part, place):
        return place + len(part)
    found = np.frombuffer(spelled[place : place + len(part)], np.uint8)
    wanted = np.frombuffer(part, np.uint8)[: len(found)]
    differing = np.flatnonzero(found != wanted)
    byte = int(differing[0]) if len(differing) else len(found)
    raise DeliveredTextError(
        f"at byte {byte} of its {name} the text has {_shown(part[byte:])}, the tokens spell "
        f"{_shown(spelled[place + byte :])}"
    )


def _shown(content: bytes) -> str:
    return repr(content[:SHOWN_BYTES].decode(errors="replace")) if content else "nothing more"
