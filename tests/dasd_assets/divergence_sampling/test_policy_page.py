"""The page of `dasd compare-policies`: self-contained, and it says what the table says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from support.candidates import candidate_rows, candidate_table
from support.html_page import Page

from dasd_assets.divergence_sampling.compare import Comparison, compare_policies
from dasd_assets.divergence_sampling.policies import POLICIES
from dasd_assets.divergence_sampling.policy_page import render_policy_page
from dasd_assets.profile import DivergenceSampling

pytestmark = pytest.mark.slow


def comparison(**settings: object) -> Comparison:
    return compare_policies(
        candidate_table(candidate_rows(60)), DivergenceSampling.model_validate(settings), "low", 0
    )


def test_the_page_needs_nothing_else_and_has_every_policy() -> None:
    compared = comparison(budget_samples={"low": 12})
    page = render_policy_page("Policies of <tiny>", [compared])
    assert not re.search(r"<script|<link|src=|@import|url\((?!#)", page)
    assert "Policies of &lt;tiny&gt;" in page
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        texts = {text.strip() for text in ET.fromstring(drawing).itertext()}
        names = {name.replace("_", " ") for name in POLICIES}
        assert names - texts == {"divergence count"}
        assert "divergence count *" in texts
    for choice in compared.choices:
        assert f'<th scope="row">{choice.policy.replace("_", " ")}' in page
        assert f"{choice.n_tokens:,}" in page


def test_the_page_marks_the_profiles_policy() -> None:
    page = render_policy_page("Policies", [comparison(budget_samples={"low": 12})])
    marked = r'<tr class="configured" aria-current="true"><th scope="row">(.*?)</th>'
    (row,) = re.findall(marked, page)
    assert row == 'divergence count <span class="tag">in the profile</span>'


def test_the_table_can_be_stacked_on_a_phone() -> None:
    page = Page(render_policy_page("Policies", [comparison(budget_samples={"low": 12})]))
    assert page.cut_on_a_phone() == []
    assert page.values("data-label")[4:7] == [
        "Teacher Sentences, %", "Common, %", "Student Sentences, %",
    ]  # fmt: skip


def test_empty_choices_can_be_drawn() -> None:
    page = render_policy_page("Nothing", [comparison(budget_tokens={"low": 1})])
    assert page.count("<svg") == 4
