"""The training sets as other trainers read them: a Parquet file a stage, and what names it.

What the formats are, by library:

- TRL: `prompt` and `completion`, both messages; loss is taken on the completion.
- axolotl: `messages`, each with `training`, in a data set of type `chat_template`.
- LLaMA-Factory: `messages` under the name that `dataset_info.json` gives it.
- ms-swift: `messages`, each with `loss`.

Loss is to be taken on the last message alone, as in this project's own training.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from dasd_assets.release.library import Library
from dasd_assets.release.likely_tokens import FLAT, TOP_FIELDS, nested, token_table
from dasd_assets.release.training_sets import LOGPROBS, STAGES, logprob_rows, training_sets
from formats.chat import chat_of
from resources.lake.parquet_layout import row_groups, writer_options
from resources.lake.tables.release import RELEASED_LOGPROBS
from resources.lake.tables.response_filtering import FILTERED_RESPONSES

if TYPE_CHECKING:
    from dasd_assets.profile import Profile
    from resources.lake.lake import Lake


class ExportError(ValueError):
    """What cannot be exported; the message says why and what to do."""


LOSS_FLAG: Final = {Library.AXOLOTL: "training", Library.MS_SWIFT: "loss"}
"""Field of a message that says whether loss is taken on it, where a library has one."""

TEACHER: Final = {
    "teacher": "model", "teacher_token_ids": "token_ids", "teacher_logprobs": "logprobs",
    "teacher_token_starts": "teacher_token_starts",
}  # fmt: skip
"""Exported column -> column of RELEASED_LOGPROBS. Tokens are the teacher's, as it emitted them."""

_WITH_LOGPROBS = pa.schema(
    [
        *RELEASED_LOGPROBS,
        *(FILTERED_RESPONSES.field(name) for name in ("question", "earlier_messages")),
    ]
)
_WITH_TOPS = pa.schema([*_WITH_LOGPROBS, *TOP_FIELDS])
TOKENS_FILE: Final = "teacher_tokens.parquet"
_LLAMA_FACTORY = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
             "assistant_tag": "assistant", "system_tag": "system"},
}  # fmt: skip
_AXOLOTL = {
    "ds_type": "parquet", "type": "chat_template", "field_messages": "messages",
    "roles_to_train": [], "message_field_training": "training", "train_on_eos": "turn",
}  # fmt: skip


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    file: Path
    n_rows: int
    has_logprobs: bool


def export(
    lake: Lake, profile: Profile, folder: Path, library: Library, *, logprobs: bool
) -> list[Exported]:
    """Write the stages that there are into a new folder; a row group is in memory at a time.

    Args:
        logprobs: the teacher's tokens and logprobs too, where they are known: not of stage 3,
            which student and teacher wrote together. Where the profile asks for the likeliest
            tokens, they come along, and TOKENS_FILE says what each id spells.

    Raises:
        ExportError: the folder is there already, or no stage has been sampled.
    """
    if folder.exists():
        raise ExportError(f"{folder}: is there already. Name a folder that is not there yet.")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        written = []
        for name, has_logprobs, batches in _stages(lake, profile, logprobs):
            rows = (_exported(batch, profile.system_prompt, library) for batch in batches)
            n_rows = _write(partial / f"{name}.parquet", rows)
            written.append(Exported(folder / f"{name}.parquet", n_rows, has_logprobs))
        if not written:
            raise ExportError("no training set has been made yet: `dasd run`")
        _name_files(partial, [one.file for one in written], library)
        if logprobs and profile.teacher_responses.top_logprobs and profile.answerers:
            pq.write_table(token_table(profile), partial / TOKENS_FILE)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _stages(
    lake: Lake, profile: Profile, logprobs: bool
) -> Iterator[tuple[str, bool, Iterator[pa.RecordBatch]]]:
    for one in training_sets(lake, profile):
        key = STAGES.get(one.name)
        table, place = (
            ("divergence_sample", {"temperature": key}) if key else ("mixed_policy_sample", {})
        )
        if one.name.endswith(LOGPROBS) or not lake.exists(table, place):
            continue
        if logprobs and key:
            schema = _WITH_TOPS if profile.teacher_responses.top_logprobs else _WITH_LOGPROBS
            yield one.name, True, _weighed(logprob_rows(lake, key, schema), lake, key)
        else:
            yield one.name, False, one.rows()


def _weighed(batches: Iterator[pa.RecordBatch], lake: Lake, key: str) -> Iterator[pa.RecordBatch]:
    """The rows with the weight that each has in the sample."""
    sample = lake.read("divergence_sample", {"temperature": key}, ["response_id", "weight"])
    ids, weights = (sample[name].combine_chunks() for name in ("response_id", "weight"))
    for batch in batches:
        yield batch.append_column("weight", weights.take(pc.index_in(batch["response_id"], ids)))


def _exported(batch: pa.RecordBatch, system_prompt: str, library: Library) -> pa.RecordBatch:
    names = batch.schema.names
    asked = batch.select(["question", "earlier_messages"]).to_pylist()
    prompts: list[list[dict[str, Any]]] = [[*chat_of(row, system_prompt)] for row in asked]
    answers: list[list[dict[str, Any]]] = [
        [{"role": "assistant", "content": text}] for text in batch["response_text"].to_pylist()
    ]
    columns: dict[str, pa.Array] = {
        "id": batch["sample_id" if "sample_id" in names else "response_id"],
        "domain": batch["domain"],
    }
    if library is Library.TRL:
        columns |= {"prompt": _messages(prompts), "completion": _messages(answers)}
    else:
        flag = LOSS_FLAG.get(library)
        if flag:
            prompts = [[message | {flag: False} for message in prompt] for prompt in prompts]
            answers = [[message | {flag: True} for message in answer] for answer in answers]
        whole = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
        columns["messages"] = _messages(whole, flag)
    columns["weight"] = batch["weight"]
    columns |= {name: batch[column] for name, column in TEACHER.items() if column in names}
    columns |= nested(batch) if FLAT[0] in names else {}
    return pa.RecordBatch.from_pydict(columns)


def _messages(chats: list[list[dict[str, Any]]], flag: str | None = None) -> pa.Array:
    fields = [("role", pa.string()), ("content", pa.string())]
    return pa.array(chats, pa.list_(pa.struct(fields + ([(flag, pa.bool_())] if flag else []))))


def _write(file: Path, batches: Iterator[pa.RecordBatch]) -> int:
    groups = row_groups(batches)
    first = next(groups)
    n_rows = 0
    with pq.ParquetWriter(file, first.schema, **writer_options(first.schema)) as writer:
        for group in (first, *groups):
            writer.write_table(group)
            n_rows += group.num_rows
    return n_rows


def _name_files(folder: Path, files: list[Path], library: Library) -> None:
    """What a library needs besides the rows, to be named or pasted into its configuration."""
    if library is Library.LLAMA_FACTORY:
        info = {file.stem: {"file_name": file.name, **_LLAMA_FACTORY} for file in files}
        (folder / "dataset_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    elif library is Library.AXOLOTL:
        listed = {"datasets": [{"path": str(file.resolve()), **_AXOLOTL} for file in files]}
        text = yaml.safe_dump(listed, sort_keys=False)
        (folder / "datasets.yaml").write_text(text, encoding="utf-8")
