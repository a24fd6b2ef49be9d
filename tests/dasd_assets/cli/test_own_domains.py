"""Domains of one's own, as docs/bring-your-own-domain.md tells a new user to have them."""

from __future__ import annotations

import json
import random
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from support.candidates import candidate, candidate_table
from support.faulty_server import FaultyServer
from support.small_tokenizer import build_tokenizer
from typer.testing import CliRunner

import checks
from dasd_assets.cli import doctor_machine, doctor_pipeline
from dasd_assets.cli.main import app
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.graph import BOXES
from dasd_assets.profile import PROJECT_ROOT, Profile, ProfileError, load_profile
from dasd_assets.questions import assets
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

PAGE = (PROJECT_ROOT / "docs" / "bring-your-own-domain.md").read_text(encoding="utf-8")
FIRST, OF_THE_JUDGE = (
    yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
)
HELD_OUT, DROP = re.findall(r"```json\n(.*?)```", PAGE, re.S)
OWN = ["capitals", "sums", "law"]


@pytest.fixture
def own(project: Path) -> Path:
    """The project with the page's profile, evaluation set and drop."""
    file = project / "profile.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["domains"] = FIRST["domains"]
    for section in ("response_filtering", "divergence_sampling", "evaluation"):
        settings[section] |= FIRST[section]
    settings["questions"].pop("layouts", None)
    (project / "inbox" / "example.jsonl").unlink()
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    (project / "held-out.jsonl").write_text(HELD_OUT, encoding="utf-8")
    (project / "new.jsonl").write_text(DROP, encoding="utf-8")
    return project


def profile_of(folder: Path) -> Profile:
    return load_profile(str(folder / "profile.yaml"))


def test_questions_of_own_domains_from_the_command_to_their_checks(own: Path) -> None:
    added = CliRunner().invoke(app, ["add-questions", str(own / "new.jsonl")])
    assert added.exit_code == 0, added.output
    assert "new: 4 usable row(s), 4 new question(s)" in added.output
    assert "unknown_domain: 'math'; known: capitals, sums, law" in added.output
    lengths = [f"--mean-answer-tokens={name}=300" for name in ("low", "high")]
    planned = CliRunner().invoke(app, ["plan", "--json", *lengths])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["questions_by_domain"] == {
        "capitals": 2, "sums": 1, "law": 1,
    }  # fmt: skip

    profile = profile_of(own)
    lake = Lake(root=str(own.parent / "lake"))
    made = assets.build(profile)
    measured = {}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("question_shard", ["new"])
        groups = {
            next(iter(group.check_specs)).asset_key: group
            for box in checks.BOXES
            for group in box.build(profile)
        }
        for name, key in (
            ("benchmark_questions", "mine"),
            ("raw_questions", "new"),
            ("questions", "new"),
        ):
            asset = next(one for one in made if one.key == dg.AssetKey(name))
            result = dg.materialize(
                [asset, groups[asset.key]], partition_key=key, instance=instance,
                resources={"lake": lake},
            )  # fmt: skip
            measured |= {
                (name, each.check_name): each for each in result.get_asset_check_evaluations()
            }
    for name in ("benchmark_questions", "raw_questions", "questions"):
        assert measured[name, "known_domains"].passed
    balance = measured["questions", "domain_balance"]
    assert balance.passed
    assert all(name in str(balance.metadata) for name in OWN)
    kept = lake.read("questions", {"question_shard": "new"}, ["domain", "answer"]).to_pylist()
    assert sorted({row["domain"] for row in kept}) == sorted(OWN)
    assert '["La Paz", "Nuestra Señora de La Paz"]' in [row["answer"] for row in kept]


def test_own_domains_make_stale_what_depends_on_them_and_nothing_else(own: Path) -> None:
    profile = profile_of(own)

    def versions(**changes: Any) -> dict[str, str | None]:
        changed = profile.model_copy(update=changes)
        return {
            spec.key.to_user_string(): spec.code_version
            for box in BOXES
            for asset in box.build(changed)
            for spec in asset.specs
        }

    before = versions()

    def stale(**domains: Any) -> set[str]:
        after = versions(domains={**profile.domains, **domains})
        whole = {"stage_report", "model_release", "dataset_release"}  # they show the profile
        return {name.split("/")[0] for name in before if before[name] != after[name]} - whole

    law, capitals = profile.domains["law"], profile.domains["capitals"]
    assert stale(law=law.model_copy(update={"max_cost": 99.0})) == set()
    judged = {"filtered_responses", "evaluation"}
    assert stale(law=law.model_copy(update={"prompt": "{{answer}}?"})) == judged
    verified = judged | {"mixed_policy_sample"}
    assert stale(capitals=capitals.model_copy(update={"ignore_case": True})) == verified
    assert stale(more=capitals) == {"raw_questions", "benchmark_questions", "evaluation"}


def test_the_budget_is_shared_out_over_own_domains(own: Path) -> None:
    sampling = profile_of(own).divergence_sampling.model_copy(
        update={"budget_samples": {"low": 10, "high": 10}, "budget_tokens": {}}
    )
    rng = random.Random(0)
    rows = [candidate(i, i, OWN[i % 3], rng) for i in range(60)]
    chosen = select(candidate_table(rows), sampling, "low", 0)
    picked = chosen.filter(chosen["is_selected"])["domain"].to_pylist()
    assert {name: picked.count(name) for name in OWN} == {"capitals": 5, "sums": 3, "law": 2}


def test_the_doctor_asks_the_judges_server_for_its_models(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(**changes: Any) -> tuple[str, str, str | None]:
        profile = profile_of(own)
        law = profile.domains["law"].model_copy(update=changes)
        domains = {**profile.domains, "law": law}
        (result,) = doctor_pipeline.judges(profile.model_copy(update={"domains": domains}))
        return result.level, result.found, result.remedy

    monkeypatch.delenv("JUDGE_API_KEY", raising=False)
    assert found()[:2] == (
        doctor_machine.PROBLEM,
        "domains.law: the environment variable JUDGE_API_KEY with the API key is not set",
    )
    monkeypatch.setenv("JUDGE_API_KEY", "sk-secret")
    down = found(base_url="http://127.0.0.1:9/v1", max_attempts=1)
    assert down[0] == doctor_machine.PROBLEM
    with closing(FaultyServer(build_tokenizer(), model="my-judge")) as server:
        assert found(base_url=server.base_url)[0] == doctor_machine.OK
        other = found(base_url=server.base_url, served_model="another")
        assert "does not have another; it has: my-judge" in other[1]
        assert server.asked == []
    (sandbox,) = doctor_machine.sandbox(profile_of(own))
    assert sandbox.found == "not needed: no domain has the grader code_tests"


def test_the_pages_judge_is_a_valid_one(own: Path) -> None:
    file = own / "profile.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["domains"] |= OF_THE_JUDGE["domains"]
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert list(profile_of(own).domains)[-1] in (*OWN, "essays")
    settings["response_filtering"]["verify_domains"] = ["maths"]
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(ProfileError, match=r"no domain 'maths'; known: capitals, "):
        profile_of(own)
