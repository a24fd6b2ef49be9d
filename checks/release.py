"""Checks on releases: whole, loadable, described, and of kept and clean responses only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

from checks.checked_partition import CheckedPartition, texts
from checks.declare import Measure, asset_checks
from checks.drift import Summary
from checks.expectations import Measurement
from dasd_assets.profile import Profile
from dasd_assets.questions.curation.contaminated_samples import (
    ASKED,
    contaminated,
    evaluation_questions,
)
from dasd_assets.release.cards import (
    CARD,
    DATASET_METADATA,
    DATASET_SECTIONS,
    MODEL_METADATA,
    MODEL_SECTIONS,
    card_problems,
)
from dasd_assets.release.folder import differences, release_link
from dasd_assets.release.publish import DATASET, MODEL, releases
from dasd_assets.release.training_sets import LOGPROBS, MIXED
from dasd_assets.release.weights import loading_problems


def build(profile: Profile) -> list[dg.AssetChecksDefinition]:
    """Checks of the box for one profile."""
    if profile.no_release:
        return []
    ngram_words = profile.questions.decontamination_ngram_words
    return [
        asset_checks(profile, "model_release", _model),
        asset_checks(profile, "dataset_release", _dataset(ngram_words)),
    ]


def _model(data: CheckedPartition) -> Iterator[Measurement | Summary]:
    folder = release_link(releases(data.lake), MODEL)
    yield from _common(folder, loading_problems(folder), MODEL_SECTIONS, MODEL_METADATA)


def _dataset(ngram_words: int) -> Measure:
    def measure(data: CheckedPartition) -> Iterator[Measurement | Summary]:
        folder = release_link(releases(data.lake), DATASET)
        problems, files = sound_files(folder)
        yield from _common(folder, problems, DATASET_SECTIONS, DATASET_METADATA)
        # Without stage 3 the two tables of continuations are empty views, or of an earlier profile.
        for table in ("filtered_responses", "teacher_continuations", "rejected_continuations"):
            data.view_all(table)
        stray: dict[str, float] = {}
        examples: list[str] = []
        for name, paths in files.items():
            stray[name], ids = _not_kept(data, name, paths)
            examples += [f"{name}: {one}" for one in ids]
        yield Measurement("kept_responses", stray, texts(examples))
        asked = [path for name, paths in files.items() if LOGPROBS not in name for path in paths]
        found = contaminated(_questions(asked), evaluation_questions(data.lake), ngram_words)
        named = texts(f"{name}: {evidence}" for name, evidence in found.items())
        yield Measurement("not_contaminated", {DATASET: len(found)}, named)

    return measure


def _common(
    folder: Path, problems: list[str], sections: Sequence[str], metadata: Sequence[str]
) -> Iterator[Measurement]:
    changed = differences(folder)
    yield Measurement("checksums_hold", {folder.name: len(changed)}, texts(changed))
    yield Measurement("loads", {folder.name: len(problems)}, texts(problems))
    card = folder / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    lacking = card_problems(text, sections, metadata)
    yield Measurement("card_complete", {folder.name: len(lacking)}, texts(lacking))


def sound_files(folder: Path) -> tuple[list[str], dict[str, list[Path]]]:
    """How files and card of a data release disagree, and the files that can be read.

    Only the footers of the files are read. A file whose columns are not those of the card is not
    among those that can be read.
    """
    from datasets import Features
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    try:
        card = DatasetCard.load(folder / CARD).data
        infos = DatasetInfosDict.from_dataset_card_data(card)
        configs = MetadataConfigs.from_dataset_card_data(card)
    except Exception as error:  # YAML's and the library's own
        return [f"{CARD}: {error}"], {}
    problems = [] if configs else [f"{CARD}: names no configuration"]
    files: dict[str, list[Path]] = {}
    for name, config in configs.items():
        n_rows = 0
        files[name] = []
        for path in [path for split in config["data_files"] for path in split["path"]]:
            try:
                footer = pq.read_metadata(folder / path)
                features = Features.from_arrow_schema(footer.schema.to_arrow_schema())
            except (pa.ArrowException, OSError) as error:
                problems.append(f"{name}: {path}: {error}")
                continue
            n_rows += footer.num_rows
            if features == infos[name].features:
                files[name].append(folder / path)
            else:
                problems.append(f"{name}: {path}: its columns are not those of the card")
        stated = sum(split.num_examples for split in infos[name].splits.values())
        if n_rows != stated:
            problems.append(f"{name}: {n_rows:,} rows, the card says {stated:,}")
    return problems, {name: paths for name, paths in files.items() if paths}


def _not_kept(data: CheckedPartition, name: str, files: list[Path]) -> tuple[int, tuple[str, ...]]:
    """Rows of a configuration that belong to nothing that was kept, or repeat another row."""
    key = "sample_id" if name == MIXED else "response_id"
    released = data.connection.read_parquet([str(file) for file in files]).select(key)
    released.create_view("released", replace=True)
    return data.broken(
        f"""select {key} from released where {key} not in (
                select response_id from filtered_responses
                union all select continuation_id from teacher_continuations
                    where continuation_id not in
                        (select continuation_id from rejected_continuations))
            union all select {key} from released group by {key} having count(*) > 1"""
    )


def _questions(files: list[Path]) -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from pq.ParquetFile(file).iter_batches(columns=ASKED)
