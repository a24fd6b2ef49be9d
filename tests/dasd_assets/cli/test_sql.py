"""`dasd sql`: a query's rows in every form, errors without a traceback, the prompt."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.small_lake import HOSTILE
from typer.testing import CliRunner, Result

from dasd_assets.cli import sql as module
from dasd_assets.cli.main import app
from resources.lake.lake import Lake
from resources.lake.warehouse import open_warehouse

pytestmark = pytest.mark.slow


def dasd_sql(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["sql", *arguments], input=typed)


def test_a_query_prints_a_table(lake: Lake) -> None:
    result = dasd_sql("SELECT response_id, verdict, decision FROM samples ORDER BY response_id")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["│", "r1", "│", "kept", "│", "selected", "│"] in lines
    assert ["│", "r3", "│", "rejected", "│", "NULL", "│"] in lines


def test_csv_keeps_commas_quotes_and_line_ends(lake: Lake) -> None:
    result = dasd_sql("SELECT 'a,\"b\"\nc' AS x, NULL AS y, [1, 2] AS z", "--csv")
    assert list(csv.reader(io.StringIO(result.stdout))) == [
        ["x", "y", "z"], ['a,"b"\nc', "", "[1, 2]"]
    ]  # fmt: skip


def test_json_has_one_object_a_row(lake: Lake) -> None:
    result = dasd_sql("SELECT broken_rules FROM samples WHERE verdict = 'rejected'", "--json")
    (row,) = map(json.loads, result.stdout.splitlines())
    assert row["broken_rules"][0] == {"rule": "hit_max_tokens", "evidence": "9 tokens"}


def test_parquet_is_written_with_its_types(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    result = dasd_sql("SELECT response_id, logprobs FROM teacher_responses", "--parquet", str(file))
    assert result.exit_code == 0
    rows = pq.read_table(file)
    assert rows.num_rows == 4
    assert str(rows.schema.field("logprobs").type.value_type) == "float"


def test_a_query_may_come_through_a_pipe(lake: Lake) -> None:
    assert "42" in dasd_sql(typed="SELECT 40 + 2 AS answer").stdout


def test_what_a_model_wrote_does_not_reach_the_terminal_as_control(lake: Lake) -> None:
    result = dasd_sql("SELECT question FROM questions ORDER BY question_id")
    assert "\x1b" in HOSTILE
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SELEC 1"], "syntax error"),
        (["FROM no_such_table"], "no_such_table does not exist"),
        (["SELECT 1", "--csv", "--json"], "exclude each other"),
        (["SELECT 1", "--parquet", "no/such/folder/x.parquet"], "no such folder"),
        (["COPY (SELECT 1) TO 'x.csv'"], "disabled"),
    ],
)
def test_errors_are_messages_with_the_exit_code_of_bad_input(
    lake: Lake, arguments: list[str], message: str
) -> None:
    result = dasd_sql(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_a_result_is_never_written_into_the_lake(lake: Lake) -> None:
    file = lake.path("questions", {"question_shard": "drop-01"})
    before = file.read_bytes()
    result = dasd_sql("SELECT 1", "--parquet", str(file))
    assert result.exit_code == 2
    assert "lies in the lake" in result.stderr
    assert file.read_bytes() == before


def test_without_a_lake_the_message_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASD_HOME", str(tmp_path / "nothing"))
    result = dasd_sql("SELECT 1")
    assert result.exit_code == 2
    assert "`dasd run` makes it" in result.stderr


@pytest.fixture
def at_the_prompt(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Type lines (or raise errors) at the prompt; gives all that is printed."""

    def type_lines(*lines: str | type[BaseException]) -> str:
        typed: Iterator[str | type[BaseException]] = iter(lines)

        def read(prompt: str) -> str:
            line = next(typed, EOFError)
            if not isinstance(line, str):
                raise line
            return line

        monkeypatch.setattr("builtins.input", read)
        module._shell(open_warehouse(Path(lake.root)))
        printed = capsys.readouterr()
        return printed.out + printed.err

    return type_lines


def test_the_prompt_runs_queries_of_several_lines_and_goes_on_after_an_error(
    at_the_prompt: Callable[..., str],
) -> None:
    printed = at_the_prompt("SELECT 40", "+ 2 AS answer;", "selec;", "", "SELECT 'on' AS goes;")
    assert "42" in printed
    assert "error: Parser Error" in printed
    assert "goes" in printed


def test_the_prompt_knows_its_commands(at_the_prompt: Callable[..., str]) -> None:
    printed = at_the_prompt(".help", ".tables", ".columns questions", ".quit", "SELECT 42;")
    assert ".columns VIEW" in printed
    assert "training_samples" in printed
    assert "content hash of the normalised question" in printed
    assert "42" not in printed


def test_ctrl_c_forgets_what_was_typed(at_the_prompt: Callable[..., str]) -> None:
    printed = at_the_prompt("SELECT nonsense", KeyboardInterrupt, "SELECT 42 AS answer;")
    assert "42" in printed
    assert "error" not in printed
