"""Rows become tokens a part at a time: in this process, or in several side by side.

A part is a row group of a file. `python -m training.encode_parts --config FILE --first K --step N`
encodes every N-th part from the K-th on and leaves each as a file in the folder of the set that is
being made; `training.make_set` starts it, takes the parts in their order, and ends it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from transformers import AutoConfig

from formats.model_format import AUTO, FormatSettings, student_format
from resources.durable import FULL
from resources.engines.load import load_tokenizer
from resources.section import Section
from training.expected_model import have_same_tokenizer
from training.rows import load_samples
from training.samples import SampleError, Samples

SECONDS_BETWEEN_LOOKS = 0.05
ERROR = "error.txt"


class SetConfig(Section):
    """A training set: of which rows it is made, for which model, and how it is packed."""

    model_path: str
    """The model that is to be trained, or another with its tokenizer and its configuration."""
    samples: list[str]
    system_prompt: str
    output_dir: str
    mask_student_prefix: bool = False
    counted_by: str | None = None
    """The model whose tokenizer counted the samples' tokens, if it is not `model_path`."""
    format: FormatSettings = AUTO
    max_length: int = 65_536
    packing: bool = True
    multiple_of: int = 1
    """The number of packed sequences is a multiple of this (`training.packing.pack`)."""
    workers: int = 1
    """Processes that encode side by side; shapes nothing."""


class Part(NamedTuple):
    """What is encoded at once."""

    file: str
    row_group: int


class Encoded(NamedTuple):
    """The samples of one part; numbers of tokens, and -1 where a table states none."""

    token_ids: npt.NDArray[np.int32]
    n_tokens: npt.NDArray[np.int32]
    n_prompt: npt.NDArray[np.int32]
    n_masked: npt.NDArray[np.int32]
    n_response: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]


def compares_lengths(config: SetConfig) -> bool:
    """Whether the lengths that the table states are of this model's tokenizer."""
    return not config.counted_by or have_same_tokenizer(
        Path(config.model_path), Path(config.counted_by)
    )


def parts_of(config: SetConfig) -> list[Part]:
    """All parts, in the order of the rows."""
    return [
        Part(file, group)
        for file in config.samples
        for group in range(pq.read_metadata(file).num_row_groups)
    ]


def encoded_parts(config: SetConfig, folder: Path) -> Iterator[Encoded]:
    """The samples of all parts, in the order of the rows.

    Args:
        folder: where other processes leave theirs.

    Raises:
        SampleError: of the first row that cannot be trained on.
        OSError: the disk is full.
    """
    parts = parts_of(config)
    workers = min(config.workers, len(parts))
    if workers > 1:
        yield from _side_by_side(config, folder, len(parts), workers)
        return
    encoder = _Encoder(config)
    for part in parts:
        yield encoder.encoded(part)


class _Encoder:
    """Encodes parts for one model, whose tokenizer is loaded once."""

    def __init__(self, config: SetConfig) -> None:
        model = Path(config.model_path)
        self._student = student_format(load_tokenizer(model, config.format), config.format)
        self._config = config
        self._shape = AutoConfig.from_pretrained(model, trust_remote_code=False)
        self._compare_lengths = compares_lengths(config)

    def encoded(self, part: Part) -> Encoded:
        """The samples of a part."""
        config = self._config
        samples: Samples = load_samples(
            [Path(part.file)],
            self._student,
            system_prompt=config.system_prompt,
            max_length=config.max_length,
            vocab_size=self._shape.vocab_size,
            max_positions=getattr(self._shape, "max_position_embeddings", None),
            mask_student_prefix=config.mask_student_prefix,
            compare_lengths=self._compare_lengths,
            row_groups=[part.row_group],
        )
        return Encoded(
            samples.token_ids, samples.lengths.astype(np.int32), samples.n_prompt,
            samples.n_masked, samples.n_response, samples.weights,
        )  # fmt: skip


def _side_by_side(config: SetConfig, folder: Path, n_parts: int, workers: int) -> Iterator[Encoded]:
    settings = folder / "set.json"
    settings.write_text(config.model_dump_json(), encoding="utf-8")
    environment = {
        **os.environ,
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with tempfile.TemporaryFile() as told:
        children = [
            subprocess.Popen(
                [
                    sys.executable, "-W", "ignore", "-m", "training.encode_parts",
                    "--config", str(settings), "--first", str(first), "--step", str(workers),
                ],
                stdin=subprocess.PIPE, stdout=told, stderr=told, env=environment,
            )
            for first in range(workers)
        ]  # fmt: skip
        try:
            for number in range(n_parts):
                file = _part_file(folder, number)
                child = children[number % workers]
                while not file.is_file():
                    if child.poll() is not None and not file.is_file():
                        told.seek(0)
                        said = told.read().decode()[-2_000:]
                        raise _error(folder, number % workers, child.returncode, said)
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                with np.load(file) as arrays:
                    yield Encoded(**arrays)
                file.unlink()
        finally:
            for child in children:
                child.kill()
                child.wait()
                assert child.stdin
                child.stdin.close()
            settings.unlink()


def _error(folder: Path, worker: int, code: int, told: str) -> Exception:
    if code in FULL:
        return OSError(code, os.strerror(code), str(folder))
    cause = folder / f"{worker}.{ERROR}"
    if cause.is_file():
        return SampleError(cause.read_text(encoding="utf-8"))
    return RuntimeError(f"a process that encodes rows ended without its parts: {told}")


def _part_file(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.npz"


def _encode(config: SetConfig, folder: Path, first: int, step: int) -> None:
    parts = parts_of(config)
    try:
        encoder = _Encoder(config)
        for number in range(first, len(parts), step):
            file = _part_file(folder, number)
            temporary = file.with_suffix(".npz.tmp")
            with temporary.open("wb") as stream:
                np.savez(stream, **encoder.encoded(parts[number])._asdict())
            temporary.rename(file)
    except SampleError as error:
        (folder / f"{first}.{ERROR}").write_text(str(error), encoding="utf-8")
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL:
            raise
        sys.exit(error.errno)  # where nothing can be written, it is said by this alone


def _end_with_input() -> None:
    """Standard input comes from who started this: when that is gone, so is this."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="JSON with SetConfig's fields")
    parser.add_argument("--first", required=True, type=int)
    parser.add_argument("--step", required=True, type=int)
    arguments = parser.parse_args()
    threading.Thread(target=_end_with_input, daemon=True).start()
    config = SetConfig.model_validate_json(arguments.config.read_text(encoding="utf-8"))
    _encode(config, arguments.config.parent, arguments.first, arguments.step)


if __name__ == "__main__":
    main()
