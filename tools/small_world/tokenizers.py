"""The tiny world's two kinds of tokenizer, with an option's letter and its brackets as one token.

What follows an option's text is then one token, and a small model finds it by the text that it
follows.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from tools.tiny_world import tokenizers

OPTION_LETTER: Final = r" ?\([A-D]\)|"

train_teacher_tokenizer = partial(
    tokenizers.train_teacher_tokenizer,
    split=OPTION_LETTER + tokenizers.TEACHER_SPLIT,
    vocabulary=1024,
)
train_student_tokenizer = partial(
    tokenizers.train_student_tokenizer,
    split=OPTION_LETTER + tokenizers.STUDENT_SPLIT,
    vocabulary=896,
)
