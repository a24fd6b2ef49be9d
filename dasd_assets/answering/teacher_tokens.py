"""An answer that a teacher did not write, as the tokens it would have written."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from formats.answer_format import Pieces
from formats.model_format import ModelFormat
from formats.student_text import TEMPLATE, part_spans
from formats.token_bytes import TokenizerError
from resources.engines.prompts import encode_pieces

Integers = npt.NDArray[np.int32]


class NoAnswerTextError(ValueError):
    """Tokens that cannot be placed in a text; the message is the reason."""


def tokens_in_format(
    reasoning: str, answer: str, wire: Pieces, teacher: ModelFormat
) -> tuple[Integers, Integers]:
    """An answer under the teacher's tokenizer, in its format, and the place of each token.

    Args:
        reasoning, answer: without outer white space; empty if the part is not there.
        wire: both in the teacher's format.

    Returns:
        Token ids, and the byte of the canonical text where each has its first non-space byte (-1: a
        token of the template), int32.

    Raises:
        NoAnswerTextError: the tokenizer rewrites the text so that no token can be placed in it.
    """
    token_ids: list[int] = []
    starts: list[Integers] = []
    token_bytes = teacher.token_bytes
    places = [first for first, _ in part_spans(reasoning, answer)]
    if not reasoning and len(wire) == 1:
        del places[0]
    pieces = zip(encode_pieces(teacher.tokenizer, wire), wire, places, strict=False)
    for (of_mark, of_text), (_, text), first in pieces:
        token_ids += of_mark + of_text
        ids = np.asarray(of_text, np.int32)
        try:
            original = token_bytes.normalised(text).original_starts
        except TokenizerError as error:
            raise NoAnswerTextError(str(error)) from error
        if int(token_bytes.n_bytes[ids].sum()) != len(original):
            raise NoAnswerTextError("the teacher's tokens do not spell the text")
        place = token_bytes.token_starts(ids) + token_bytes.first_nonspace[ids]
        starts += [
            np.full(len(of_mark), TEMPLATE, np.int32),
            (original[place] + first).astype(np.int32) if len(ids) else np.empty(0, np.int32),
        ]
    return np.asarray(token_ids, np.int32), np.concatenate(starts)
