"""Storage: bytes per token of token_ids + logprobs for the encodings that Parquet offers.

    python -m benchmarks.storage [--answers 512] [--tokens 2000000]

Three samples: answers of the tiny teacher at T = 1, and two synthetic ones that a large model could
have given, 8,000 tokens an answer: ids by Zipf's law over 200,000, independent of each other (text
repeats itself, so this is harder), numbered by frequency as in a BPE vocabulary or at random;
logprobs of which half are nearer to 0 than 0.01, with a long tail, as a float32 log-softmax gives
them. Sizes are those of the column chunks, lengths of lists included.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dasd_assets.profile import PROJECT_ROOT
from resources.lake.parquet_layout import row_groups, writer_options
from resources.lake.table import LOGPROBS, TOKEN_IDS

SCHEMA = pa.schema([("token_ids", TOKEN_IDS), ("logprobs", LOGPROBS)])
IDS, LPS = "token_ids.list.element", "logprobs.list.element"
SPLIT, DELTA = "BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED"
ZSTD = {"compression": "zstd"}
PLAIN = {**ZSTD, "use_dictionary": False}

CANDIDATES: dict[str, dict[str, Any]] = {
    "uncompressed, plain": {"compression": "none", "use_dictionary": False},
    "zstd, Parquet's default (dictionary)": ZSTD,
    "zstd, plain": PLAIN,
    "zstd, delta ids, split logprobs": {**PLAIN, "column_encoding": {IDS: DELTA, LPS: SPLIT}},
    "zstd, dictionary ids, split logprobs": {
        **ZSTD, "use_dictionary": [IDS], "column_encoding": {LPS: SPLIT},
    },
    "zstd, split both": {**PLAIN, "column_encoding": {IDS: SPLIT, LPS: SPLIT}},
    "zstd 9, split both": {
        **PLAIN, "compression_level": 9, "column_encoding": {IDS: SPLIT, LPS: SPLIT},
    },
    "the lake's": writer_options(SCHEMA),
}  # fmt: skip


def main() -> None:
    """Print a table of bytes per token and seconds per million tokens for each sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny_world/models/teacher")
    parser.add_argument("--answers", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=2_000_000, help="of a synthetic sample")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    samples = {
        "tiny teacher": teacher_sample(arguments.model, arguments.answers, arguments.threads),
        "synthetic, ids by frequency": synthetic_sample(arguments.tokens, is_by_frequency=True),
        "synthetic, ids at random": synthetic_sample(arguments.tokens, is_by_frequency=False),
    }
    for name, rows in samples.items():
        n_tokens = len(rows["token_ids"].combine_chunks().flatten())
        print(f"\n{name}: {rows.num_rows:,} answers, {n_tokens:,} tokens; bytes per token")
        print(f"{'':38}{'ids':>6}{'logprobs':>10}{'both':>7}{'s/Mtoken':>10}")
        for candidate, options in CANDIDATES.items():
            start = time.perf_counter()
            ids, logprobs = (size / n_tokens for size in column_bytes(rows, options))
            seconds = (time.perf_counter() - start) / n_tokens * 1e6
            print(f"{candidate:38}{ids:6.2f}{logprobs:10.2f}{ids + logprobs:7.2f}{seconds:10.2f}")


def column_bytes(rows: pa.Table, options: dict[str, Any]) -> tuple[int, int]:
    """Bytes on disk of both columns, in the lake's row groups."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, rows.schema, **options) as writer:
        for group in row_groups(rows.to_batches()):
            writer.write_table(group, row_group_size=group.num_rows)
    metadata = pq.ParquetFile(buffer).metadata
    sizes = {IDS: 0, LPS: 0}
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            sizes[column.path_in_schema] += column.total_compressed_size
    return sizes[IDS], sizes[LPS]


def teacher_sample(model: str, n_answers: int, threads: int) -> pa.Table:
    """Real answers of a model to the tiny world's questions, at T = 1."""
    import torch

    from resources.engines.protocol import GenerationRequest
    from resources.engines.settings import TransformersSettings
    from resources.engines.transformers_engine import TransformersEngine

    torch.set_num_threads(threads)
    settings = TransformersSettings(dtype="float32", device="cpu", batch_size=128)
    engine = TransformersEngine(model, settings)
    questions = [
        json.loads(line)["question"]
        for drop in sorted((PROJECT_ROOT / "tiny_world" / "inbox").iterdir())
        for line in drop.read_text(encoding="utf-8").splitlines()
    ]
    requests = []
    for index in range(n_answers):
        question = {"role": "user", "content": questions[index % len(questions)]}
        requests.append(GenerationRequest(engine.render([question]), 1.0, 1.0, 320, index))
    rows = [
        {"token_ids": completion.token_ids, "logprobs": completion.logprobs}
        for completion in engine.generate(requests)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def synthetic_sample(n_tokens: int, *, is_by_frequency: bool) -> pa.Table:
    """Independent draws; see the module's text."""
    rng = np.random.default_rng(0)
    weights = 1 / (np.arange(200_000) + 2.7)
    ids = rng.choice(200_000, n_tokens, p=weights / weights.sum()).astype(np.int32)
    if not is_by_frequency:
        ids = rng.permutation(200_000).astype(np.int32)[ids]
    # The logit of the drawn token above all others together; below 0, another was likelier.
    margin = rng.normal(5.0, 4.5, n_tokens)
    others = np.exp(-np.abs(margin)).astype(np.float32)
    logprobs = np.minimum(margin, 0).astype(np.float32) - np.log(np.float32(1) + others)
    offsets = np.append(np.arange(0, n_tokens, 8_000), n_tokens).astype(np.int32)
    lists = [pa.ListArray.from_arrays(offsets, values) for values in (ids, logprobs)]
    return pa.Table.from_arrays(lists, schema=SCHEMA)


if __name__ == "__main__":
    main()
