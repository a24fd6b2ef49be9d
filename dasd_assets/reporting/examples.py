"""Example answers with their sentences, for the stage report and the provenance viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dasd_assets.reporting.data_plots import probabilities_along_answer
from dasd_assets.reporting.figures import to_svg
from dasd_assets.reporting.report import ExampleAnswer
from resources.lake.table import ContractError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_EXAMPLE = """
FROM response_provenance
JOIN filtered_responses USING (temperature, question_shard, response_id)
LEFT JOIN divergence_candidates AS c USING (temperature, question_shard, response_id)
SELECT response_id, temperature, question_shard, filtered_responses.domain, question,
       response_text, response_provenance.n_sentences, response_provenance.n_teacher_sentences,
       c.rank, c.score, c.policy, c.decision
"""


def best_ranked(
    warehouse: DuckDBPyConnection, temperature: str, most: int | None = None
) -> list[str]:
    """Ids of the best-ranked selected answer of every domain, best first; at most so many."""
    chosen = _first_of_every_domain(warehouse, temperature, "is_selected", "rank")
    return chosen[:most]


def last_ranked(warehouse: DuckDBPyConnection, temperature: str) -> list[str]:
    """Ids of the last-ranked answer of every domain that was not selected."""
    return _first_of_every_domain(warehouse, temperature, "NOT is_selected", "rank DESC")


def example_answers(
    warehouse: DuckDBPyConnection, response_ids: Sequence[str], temperature: str | None = None
) -> list[ExampleAnswer]:
    """Answers with their sentences and a picture of them, in the order of the ids.

    An answer without provenance (rejected, or not scored yet) is left out.

    Args:
        warehouse: from `open_warehouse`.
        response_ids: answers to show.
        temperature: partition that all of them are in, if that is known: the others are not read.
    """
    where = "" if temperature is None else "temperature = $temperature AND"
    place = {} if temperature is None else {"temperature": temperature}
    cells = warehouse.sql(
        "SELECT response_id, temperature, question_shard FROM response_provenance "
        f"WHERE {where} list_contains($ids, response_id)",
        params={"ids": list(response_ids), **place},
    ).to_arrow_table()
    by_id = {cell["response_id"]: _example(warehouse, cell) for cell in cells.to_pylist()}
    return [by_id[name] for name in response_ids if name in by_id]


def _first_of_every_domain(
    warehouse: DuckDBPyConnection, temperature: str, condition: str, order: str
) -> list[str]:
    found = warehouse.sql(
        f"""
        SELECT response_id FROM divergence_candidates
        WHERE temperature = $temperature AND {condition}
        QUALIFY row_number() OVER (PARTITION BY domain ORDER BY {order}) = 1
        ORDER BY rank, domain
        """,
        params={"temperature": temperature},
    )
    return [row[0] for row in found.fetchall()]


def _example(warehouse: DuckDBPyConnection, cell: dict[str, Any]) -> ExampleAnswer:
    where = " AND ".join(f"{name} = ${name}" for name in cell)
    found = warehouse.sql(f"{_EXAMPLE} WHERE {where}", params=cell).to_arrow_table().to_pylist()
    if not found:
        raise ContractError(
            f"filtered_responses {cell['temperature']}/{cell['question_shard']}: the answer "
            f"{cell['response_id']} has provenance, but is not there. Materialize both again."
        )
    sample = found[0]
    sentences = warehouse.sql(
        f"FROM sentence_provenance WHERE {where} ORDER BY sentence_index", params=cell
    ).to_arrow_table()
    about = {
        "response": sample["response_id"],
        "domain": sample["domain"],
        "temperature": sample["temperature"],
        "Teacher Sentences": f"{sample['n_teacher_sentences']} of {sample['n_sentences']}",
    }
    if sample["rank"] is not None:
        about |= {
            "score": f"{sample['score']:.2f} ({sample['policy']})",
            "rank": f"{sample['rank']} in its domain",
            "decision": sample["decision"].replace("_", " "),
        }
    return ExampleAnswer(
        response_id=sample["response_id"],
        question=sample["question"],
        response_text=sample["response_text"],
        sentences=sentences,
        about=about,
        picture=to_svg(probabilities_along_answer(sentences.to_pylist(), "the teacher")),
    )
