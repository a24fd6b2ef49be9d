"""A student whose tokenizer did not count the sample: trained from its text, by its own tokens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.training_rows import STUDENT, row, with_set
from transformers import AutoTokenizer

from formats.model_format import student_format
from formats.student_text import response_parts
from training.certificate import CertificateError
from training.expected_model import have_same_tokenizer
from training.rows import load_samples
from training.samples import SampleError, Samples
from training.sft import SftConfig, train

pytestmark = pytest.mark.slow

NO_LENGTHS = "the tables state no lengths (n_student_tokens) of this tokenizer to compare with"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The tiny student with a tokenizer that merges less, so that a text has more tokens."""
    folder = Path(shutil.copytree(STUDENT, tmp_path / "other"))
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["model"]["merges"][100:]
    file.write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def counted(
    config: SftConfig, other: Path, write_rows: Callable[..., Path], tmp_path: Path
) -> SftConfig:
    """Training of the other student on rows that the first one's tokenizer counted."""
    first = student_format(AutoTokenizer.from_pretrained(STUDENT))
    rows = [row(number) for number in range(8)]
    lengths = [len(first.encode(*response_parts(one["response_text"]))) for one in rows]
    file = write_rows(
        *(one | {"n_student_tokens": n} for one, n in zip(rows, lengths, strict=True))
    )
    (tmp_path / "rows").mkdir()
    file.rename(tmp_path / "rows" / file.name)
    return config.model_copy(update={"model_path": str(other), "epochs": 1})


def rows_of(counted: SftConfig) -> Path:
    return Path(counted.output_dir).parent / "rows" / "sample.parquet"


def certificate(config: SftConfig) -> dict[str, object]:
    return dict(json.loads((Path(config.output_dir) / "certificate.json").read_text()))


def test_lengths_of_another_tokenizer_are_not_compared(counted: SftConfig, other: Path) -> None:
    assert not have_same_tokenizer(other, STUDENT)
    with pytest.raises(CertificateError, match="cut, or made for another tokenizer"):
        with_set(counted, rows_of(counted))
    config = with_set(counted, rows_of(counted), counted_by=str(STUDENT))
    train(config, lambda line: None)
    assert NO_LENGTHS in certificate(config)["warnings"]  # type: ignore[operator]


def test_lengths_of_the_same_tokenizer_are(counted: SftConfig) -> None:
    first = counted.model_copy(update={"model_path": str(STUDENT)})
    config = with_set(first, rows_of(counted), counted_by=str(STUDENT))
    train(config, lambda line: None)
    assert NO_LENGTHS not in certificate(config)["warnings"]  # type: ignore[operator]


def test_a_row_that_is_too_long_for_this_tokenizer_is_refused_by_name(
    counted: SftConfig, other: Path
) -> None:
    def load(model: Path, max_length: int) -> Samples:
        return load_samples(
            [rows_of(counted)],
            student_format(AutoTokenizer.from_pretrained(model)),
            system_prompt="You are a helpful assistant.",
            max_length=max_length,
            vocab_size=2**31,
            compare_lengths=False,
        )

    longest = int(load(STUDENT, 10_000).lengths.max())
    assert len(load(STUDENT, longest)) == 8
    with pytest.raises(
        SampleError, match=rf"sample\.parquet, row 0: \d+ tokens, but a sequence takes {longest}"
    ):
        load(other, longest)
