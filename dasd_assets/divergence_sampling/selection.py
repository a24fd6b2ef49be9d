"""Selection under a budget: ranked per domain, never by a fixed threshold (paper section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.policies import random_order, scored
from dasd_assets.divergence_sampling.quotas import (
    Integers,
    filled,
    fitting,
    length_strata,
    place_in_question,
    shared_out,
)
from dasd_assets.profile import DivergenceSampling
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import CONTROLS, DIVERGENCE_CANDIDATES

SELECTED = "selected"
OVER_ANSWERS_PER_QUESTION = "over_answers_per_question"
OVER_DOMAIN_QUOTA = "over_domain_quota"
OVER_STRATUM_QUOTA = "over_stratum_quota"
TOO_LONG_FOR_BUDGET = "too_long_for_budget"

DECISIONS = (
    SELECTED, OVER_ANSWERS_PER_QUESTION, OVER_DOMAIN_QUOTA, OVER_STRATUM_QUOTA, TOO_LONG_FOR_BUDGET,
)  # fmt: skip
"""A candidate's decision is its place here."""


@dataclass(frozen=True)
class _Domain:
    """The candidates of one domain as row numbers, best first."""

    rows: Integers
    allowed: Integers
    """Those among the first k answers to their question."""
    strata: Integers
    """Length stratum of every row of the table; 0 outside the domain."""

    def sizes_by_stratum(self, rows: Integers, sizes: Integers) -> dict[int, int]:
        """Sum of the rows' sizes in each stratum that has candidates."""
        sums = np.bincount(self.strata[rows], sizes[rows], int(self.strata.max()) + 1)
        strata = np.unique(self.strata[self.rows]).tolist()
        return {stratum: int(sums[stratum]) for stratum in strata}


def select(
    responses: pa.Table, settings: DivergenceSampling, temperature: str, seed: int
) -> pa.Table:
    """Choose the best responses of each domain, and two controls beside them.

    Within a domain, the best answer to each question comes before the second best to any
    (`best_of_question`; arXiv 2512.20908), and of answers in the same place that with the higher
    score; ties are broken by a seeded hash of the id. So a budget of fewer answers than questions
    takes the questions whose best answer has the highest score, and a larger one goes on with
    second answers. Of the answers to one question at most k may be chosen. The budget (samples or
    tokens) is shared out over the domains, and within a domain over length strata in proportion to
    their candidates. What one cannot fill goes to the others. A budget larger than what is
    available takes all that is available. In a budget of tokens, a response that is too long for
    what is left is passed over, so that the budget is never exceeded.

    The controls are drawn from the same candidates in the same way, at random and by length. In
    each domain and stratum they fill the token count of the selection as far as they can without
    exceeding that of the domain.

    Args:
        responses: rows with the schema RESPONSE_PROVENANCE and a column question_shard.
        temperature: partition whose budget holds.

    Returns:
        Table with the schema DIVERGENCE_CANDIDATES: every candidate with score, rank, stratum and
        decision, in the order of the responses.

    Raises:
        ContractError: there is no candidate at all, one is there twice, a share names a domain
            that is not there, or a score is not finite.
    """
    _require_distinct(responses)
    scores = scored(responses, settings.policy, seed)
    lots = random_order(responses, seed)
    n_tokens = responses["n_student_tokens"].to_numpy().astype(np.int64)
    questions = _codes(responses["question_id"])[0]
    unit, budget = settings.budget(temperature)
    sizes = n_tokens if unit == "tokens" else np.ones_like(n_tokens)

    domains = _domains(responses, scores, lots, questions, n_tokens, settings)
    available = {name: int(sizes[domain.allowed].sum()) for name, domain in domains.items()}
    quotas = shared_out(budget, available, _shares(settings, temperature, available))
    chosen = {name: _best(domain, sizes, quotas[name]) for name, domain in domains.items()}
    rank = np.zeros(len(scores), np.int64)
    for domain in domains.values():
        rank[domain.rows] = np.arange(1, len(domain.rows) + 1)
    crumbs = _crumbs(domains, chosen, quotas, sizes, np.lexsort((lots, rank)))
    is_selected = np.isin(np.arange(len(scores)), np.concatenate([*chosen.values(), crumbs]))

    decision = np.empty(len(scores), np.int64)
    draw = random_order(responses, seed, "random control")
    controls = dict(zip(CONTROLS, (-draw, n_tokens.astype(np.float64)), strict=True))
    is_control = {name: np.zeros(len(scores), bool) for name in controls}
    for name, domain in domains.items():
        decision[domain.rows] = _decisions(domain, is_selected, sizes, quotas[name])
        selected = domain.rows[is_selected[domain.rows]]
        budgets = domain.sizes_by_stratum(selected, n_tokens)
        for control, by in controls.items():
            drawn, is_allowed = _ranked(domain.rows, by, draw, questions, settings)
            drawn = drawn[is_allowed]
            is_control[control][filled(drawn, domain.strata[drawn], n_tokens, budgets)] = True

    strata = np.sum([domain.strata for domain in domains.values()], axis=0)
    return _table(
        responses,
        policy=pa.repeat(settings.policy, len(scores)),
        score=pa.array(scores, pa.float32()),
        rank=pa.array(rank, pa.int32()),
        length_stratum=pa.array(strata, pa.int32()),
        is_selected=pa.array(is_selected),
        decision=pa.array(DECISIONS).take(pa.array(decision)),
        **{f"is_{name}_control": pa.array(drawn) for name, drawn in is_control.items()},
    )


def _require_distinct(responses: pa.Table) -> None:
    if not responses.num_rows:
        raise ContractError("divergence_sample: there are no filtered responses to choose from")
    n_twice = responses.num_rows - pc.count_distinct(responses["response_id"]).as_py()
    if n_twice:
        shards = responses.group_by("response_id").aggregate([("question_shard", "list")])
        twice = next(row for row in shards.to_pylist() if len(row["question_shard_list"]) > 1)
        raise ContractError(
            f"divergence_sample: {n_twice} response(s) are there more than once, for example "
            f"{twice['response_id']} in the shards "
            f"{', '.join(sorted(twice['question_shard_list']))}"
        )


def _domains(
    responses: pa.Table,
    scores: npt.NDArray[np.float64],
    lots: npt.NDArray[np.float64],
    questions: Integers,
    n_tokens: Integers,
    settings: DivergenceSampling,
) -> dict[str, _Domain]:
    """Domains by name, in the order of their names."""
    codes, names = _codes(responses["domain"])
    domains = {}
    for code, name in sorted(enumerate(names), key=lambda pair: pair[1]):
        members = np.flatnonzero(codes == code)
        strata = np.zeros(len(codes), np.int64)
        strata[members] = length_strata(n_tokens[members], settings.length_strata)
        rows, is_allowed = _ranked(members, scores, lots, questions, settings)
        domains[name] = _Domain(rows, rows[is_allowed], strata)
    return domains


def _ranked(
    rows: Integers,
    scores: npt.NDArray[np.float64],
    lots: npt.NDArray[np.float64],
    questions: Integers,
    settings: DivergenceSampling,
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """The rows, best first, and whether each may be chosen beside those of its question."""
    rows = rows[np.lexsort((lots[rows], -scores[rows]))]
    places = place_in_question(rows, questions)
    is_allowed = places < (settings.max_answers_per_question or len(rows) + 1)
    if not settings.best_of_question:
        return rows, is_allowed
    by_place = np.argsort(places, kind="stable")
    return rows[by_place], is_allowed[by_place]


def _best(domain: _Domain, sizes: Integers, quota: int) -> Integers:
    """The best of every length stratum, within the domain's quota."""
    by_stratum = shared_out(
        quota,
        domain.sizes_by_stratum(domain.allowed, sizes),
        domain.sizes_by_stratum(domain.rows, sizes),
    )
    return filled(domain.allowed, domain.strata[domain.allowed], sizes, by_stratum)


def _crumbs(
    domains: dict[str, _Domain],
    chosen: dict[str, Integers],
    quotas: dict[str, int],
    sizes: Integers,
    best_first: Integers,
) -> Integers:
    """What still fits into what all domains together left of their quotas (tokens only)."""
    left = sum(quotas.values()) - sum(int(sizes[rows].sum()) for rows in chosen.values())
    is_open = np.zeros(len(sizes), bool)
    for name, domain in domains.items():
        is_open[domain.allowed] = quotas[name] > 0
        is_open[chosen[name]] = False
    return fitting(best_first[is_open[best_first]], sizes, left)


def _decisions(
    domain: _Domain, is_selected: npt.NDArray[np.bool_], sizes: Integers, quota: int
) -> Integers:
    """Place in DECISIONS of every row of the domain, aligned with its rows."""
    rows = domain.rows
    strata = domain.strata[rows]
    place = np.arange(len(rows))
    last = np.full(strata.max() + 1, -1)  # worst place that was selected, per stratum
    np.maximum.at(last, strata[is_selected[rows]], place[is_selected[rows]])
    without_strata = fitting(domain.allowed, sizes, quota)
    cases = {
        SELECTED: is_selected[rows],
        OVER_ANSWERS_PER_QUESTION: ~np.isin(rows, domain.allowed),
        TOO_LONG_FOR_BUDGET: place < last[strata],
        OVER_STRATUM_QUOTA: np.isin(rows, without_strata),
    }
    return np.select(
        list(cases.values()),
        [DECISIONS.index(name) for name in cases],
        DECISIONS.index(OVER_DOMAIN_QUOTA),
    )


def _shares(
    settings: DivergenceSampling, temperature: str, available: dict[str, int]
) -> dict[str, float]:
    shares = settings.domain_shares.get(temperature)
    if shares is None:
        return {name: float(size) for name, size in available.items()}
    unknown = [name for name, share in shares.items() if share > 0]
    unknown = sorted(set(unknown) - set(available))
    if unknown:
        raise ContractError(
            f"divergence_sampling.domain_shares.{temperature} names {', '.join(unknown)}, but "
            f"there are only responses of {', '.join(sorted(available))}"
        )
    return shares


def _codes(column: pa.ChunkedArray) -> tuple[Integers, list[str]]:
    """Each value as its place in a list of the distinct ones."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _table(responses: pa.Table, **columns: pa.Array) -> pa.Table:
    taken_over = {name: responses[name] for name in responses.column_names}
    table = pa.table({**taken_over, **columns})
    return table.select(DIVERGENCE_CANDIDATES.names).cast(DIVERGENCE_CANDIDATES)
