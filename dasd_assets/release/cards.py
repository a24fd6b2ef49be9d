"""The cards: README.md with the metadata that the hub reads, and what a person has to know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dasd_assets.profile import PROJECT_ROOT, Profile
from dasd_assets.release import card_tables
from dasd_assets.release.data_files import SPLIT, DataFiles
from dasd_assets.release.facts import Facts
from dasd_assets.release.training_sets import TrainingSet
from dasd_assets.reporting.metrics import OVERALL
from dasd_assets.reporting.stage_table import SIGNIFICANT, StageRow
from formats.pages import markdown_table

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
TEMPLATES = Path(__file__).parent / "templates"
TAGS = ["distillation", "reasoning", "dasd"]
QUESTION = "What is 12 + 30?"
DOMAIN_NAMES: Final[dict[str, str]] = {
    "math": "mathematics", "code": "programming", "science": "science",
    "instruction_following": "following instructions",
}  # fmt: skip

MODEL_SECTIONS: Final = (
    "Use", "Intended use and limits", "Evaluation", "Recipe", "Data lineage", "Licence",
    "Files and checksums",
)  # fmt: skip
DATASET_SECTIONS: Final = (
    "Use", "Configurations", "Columns", "Counts", "How it was made", "Intended use and limits",
    "Licence", "Files and checksums",
)  # fmt: skip
MODEL_METADATA: Final = (
    "license", "pipeline_tag", "library_name", "language", "tags", "datasets", "eval_results",
)  # fmt: skip
DATASET_METADATA: Final = ("license", "language", "tags", "task_categories", "configs")


def model_card(
    facts: Facts, rows: Sequence[StageRow], released: StageRow, context_tokens: int
) -> str:
    """The card of the released model.

    Args:
        rows: the stage table.
        released: the model's row of it.
        context_tokens: of the model's configuration.
    """
    from huggingface_hub import ModelCard, ModelCardData

    profile = facts.profile
    release = profile.release
    data = ModelCardData(
        license=release.license,
        library_name="transformers",
        pipeline_tag="text-generation",
        language=list(release.languages),
        base_model=base_model(profile),
        datasets=[release.dataset_id],
        tags=TAGS,
        model_name=_name(release.model_id),
        eval_results=_results(released, profile),
    )
    text = _render(
        "model_card.md.j2",
        facts,
        name=_name(release.model_id),
        stage_rows=rows,
        released=released,
        n_stages=["one stage", "two stages", "three stages"][len(facts.sets) - 1],
        question=QUESTION,
        max_tokens=max(
            benchmark.max_tokens for benchmark in profile.evaluation.benchmarks.values()
        ),
        context_tokens=context_tokens,
        domains=[
            DOMAIN_NAMES.get(d, d.replace("_", " "))
            for d in profile.domains
            if any(d in s.by_domain for s in facts.sets)
        ],
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def dataset_card(facts: Facts, sets: Sequence[TrainingSet], files: dict[str, DataFiles]) -> str:
    """The card of the released training sets; `datasets` reads their files, columns and counts.

    Args:
        files: name of each set -> its files.
    """
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard, DatasetCardData

    release = facts.profile.release
    data = DatasetCardData(
        license=release.license,
        language=list(release.languages),
        task_categories=["text-generation"],
        pretty_name=_name(release.dataset_id),
        tags=[*TAGS, "sft"],
    )
    infos = {}
    configs = {}
    for one in sets:
        found = files[one.name]
        split = SplitInfo(SPLIT, num_bytes=found.n_bytes, num_examples=found.n_rows)
        infos[one.name] = DatasetInfo(
            features=Features.from_arrow_schema(one.schema),
            splits=SplitDict({SPLIT: split}),
            download_size=found.file_bytes,
            dataset_size=found.n_bytes,
        )
        configs[one.name] = {"data_files": [{"split": SPLIT, "path": found.names}]}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    MetadataConfigs(configs).to_dataset_card_data(data)
    schemas: dict[Any, list[str]] = {}
    for one in sets:
        schemas.setdefault(one.schema, []).append(f"`{one.name}`")
    text = _render(
        "dataset_card.md.j2",
        facts,
        name=_name(release.dataset_id),
        sets=sets,
        configurations=markdown_table(
            ["configuration", "rows", "files", "MB", "what"],
            [
                [f"`{one.name}`", f"{files[one.name].n_rows:,}", len(files[one.name].names),
                 f"{files[one.name].file_bytes / 1e6:,.1f}", one.description]
                for one in sets
            ],
        ),
        columns=[
            (", ".join(names), card_tables.columns_table(schema))
            for schema, names in schemas.items()
        ],
    )  # fmt: skip
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def base_model(profile: Profile) -> str | None:
    """Hub id of the base student; None for a folder that nobody but its owner has."""
    if profile.release.base_model:
        return profile.release.base_model
    path = profile.base_student.path
    is_hub_id = re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not (PROJECT_ROOT / path).exists()
    return path if is_hub_id else None


def card_problems(text: str, sections: Sequence[str], metadata: Sequence[str]) -> list[str]:
    """Sections and metadata that a card lacks, or that are empty.

    Args:
        text: README.md.
        sections: headings of the second level that have to be there.
        metadata: fields that have to be there.
    """
    from huggingface_hub import DatasetCard, ModelCard

    kind = ModelCard if "eval_results" in metadata else DatasetCard
    try:
        card = kind(text)
    except Exception as error:  # a YAML error, or a model index that is none
        return [f"metadata cannot be read: {error}"]
    found = dict(re.findall(r"^## (.+)\n((?:(?!## ).*(?:\n|\Z))*)", card.text, re.MULTILINE))
    problems = [f"section {name}: missing" for name in sections if name not in found]
    problems += [
        f"section {name}: empty" for name in sections if name in found and not found[name].strip()
    ]
    return problems + [f"metadata {name}: missing" for name in metadata if not card.data.get(name)]


def _results(row: StageRow, profile: Profile) -> list[EvalResult]:
    """What the hub shows beside the card; the interval is among the metric's arguments."""
    from huggingface_hub import EvalResult

    settings = profile.evaluation
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=name,
            dataset_name=name.replace("_", " "),
            metric_type="accuracy",
            metric_name=f"avg@{score.k}",
            metric_value=round(100 * score.avg_at_k.value, 2),
            metric_args={
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "max_tokens": settings.benchmarks[name].max_tokens,
                "confidence": score.avg_at_k.confidence,
                "interval": [
                    round(100 * bound, 2) for bound in (score.avg_at_k.low, score.avg_at_k.high)
                ],
            },
        )
        for name, score in row.scores.items()
        if score is not None and name != OVERALL
    ]


def _render(template: str, facts: Facts, **values: Any) -> str:
    """Markdown from a template: a missing value is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shown = {
        function.__name__: function
        for function in (
            card_tables.answers_table, card_tables.counts_table, card_tables.domains_table,
            card_tables.evaluation_table, card_tables.funnel_table, card_tables.gains_table,
            card_tables.sources_table, card_tables.stages_table,
        )
    }  # fmt: skip
    environment.globals.update(shown)
    profile = facts.profile
    return environment.get_template(template).render(
        SIGNIFICANT=SIGNIFICANT, facts=facts, profile=profile, release=profile.release, **values
    )


def _name(hub_id: str) -> str:
    return hub_id.split("/")[-1]
