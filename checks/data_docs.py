"""The checks as Great Expectations knows them: suites as JSON, validation results, Data Docs.

One suite an asset, one column of its batch a check, one row a subject: a partition, or a domain or
table of one. The values are those that the checks have kept (`checks.kept_results`), so that no row
of the lake is read again, and all partitions of an asset are validated at once. If the rows are
asked for, each table's suite (`checks.row_suites`) is validated on DuckDB as well.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.kept_results import KeptResult, kept_results
from dasd_assets.declaring.pages import DATA_DOCS, DATA_DOCS_FOLDER
from dasd_assets.profile import Profile
from dasd_assets.profile.check_settings import CheckSettings
from dasd_assets.profile.data_contracts import CONTRACTS, MATCHES_CONTRACT
from resources.lake.lake import Lake

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite

SUBJECT = "subject"


class NothingCheckedError(Exception):
    """There are no results to show."""


def build_data_docs(
    lake: Lake, profile: Profile, *, with_rows: bool = False
) -> tuple[Path, dict[str, int]]:
    """Validate what is kept with Great Expectations, and write its pages.

    The folder is a Great Expectations project: suites below `gx/expectations`, each validation
    below `gx/uncommitted/validations`. A further build adds its results to those of the earlier.

    Args:
        with_rows: validate the rows of each table, too.

    Returns:
        The first page, and asset, or `<table>.rows` -> expectations that do not hold.

    Raises:
        NothingCheckedError: no check has run since results are kept.
    """
    by_asset: defaultdict[str, list[KeptResult]] = defaultdict(list)
    for one in kept_results(lake):
        by_asset[one.asset].append(one)
    if not by_asset:
        raise NothingCheckedError("no check has run yet: `dasd run`")
    context = _project(Path(lake.root, DATA_DOCS_FOLDER))
    source = context.data_sources.add_or_update_pandas("lake")
    unmet = {}
    for asset, results in by_asset.items():
        stored = context.suites.add_or_update(suite(asset, profile))
        table = _table(results, [expectation.column for expectation in stored.expectations])
        batch = _batch_definition(source, stored.name)
        unmet[asset] = _validate(
            context, stored, batch, [SUBJECT], result="COMPLETE", dataframe=table
        )
    if with_rows:
        unmet |= _validate_rows(context, lake, profile)
    (page,) = context.build_data_docs().values()
    return Path(page.removeprefix("file://")), unmet


def page_of(lake: Lake, asset: str) -> str | None:
    """The page of an asset's suite below the lake's root, once there is one."""
    page = f"{DATA_DOCS}/expectations/{asset}.html"  # a dot of the suite's name is a folder
    return page if Path(lake.root, page).is_file() else None


def suite(asset: str, profile: Profile) -> ExpectationSuite:
    """The checks on an asset that have a limit.

    Args:
        asset: its key, with slashes; the first part names the contract.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported
    import great_expectations as gx

    settings = profile.checks.of(asset.split("/")[0])
    expectations = [
        _expectation(contract.name, contract.description, contract.blocking, settings)
        for contract in CONTRACTS[asset.split("/")[0]]
        if (settings[contract.name].min, settings[contract.name].max) != (None, None)
    ]
    return gx.ExpectationSuite(name=_name(asset), expectations=expectations)


def _expectation(
    check: str, description: str, blocking: bool, settings: Mapping[str, CheckSettings]
) -> Any:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    limits = settings[check]
    critical = limits.severity == "error"
    return gxe.ExpectColumnValuesToBeBetween(
        column=check,
        min_value=limits.min,
        max_value=limits.max,
        severity=FailureSeverity.CRITICAL if critical else FailureSeverity.WARNING,
        description=f"{check}: {description} Allowed: {limits.allowed}.",
        meta={"check": check, "blocking": blocking},
    )


def _project(folder: Path) -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    folder.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="file", project_root_dir=str(folder))
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _validate_rows(context: Any, lake: Lake, profile: Profile) -> dict[str, int]:
    """Validate every table that the lake has rows of; suite -> expectations that do not hold."""
    from great_expectations.datasource.fluent import GxDatasourceWarning

    from checks.row_suites import row_suite, shown_columns, write_views

    address, tables = write_views(lake, Path(lake.root, DATA_DOCS_FOLDER, "rows.duckdb"))
    with warnings.catch_warnings():  # which would rather have a PostgresDatasource
        warnings.simplefilter("ignore", GxDatasourceWarning)
        source = context.data_sources.add_or_update_sql("rows", connection_string=address)
    unmet = {}
    for table in tables:
        stored = context.suites.add_or_update(row_suite(table, profile))
        asset = source.add_table_asset(stored.name, table_name=table)
        batch = asset.add_batch_definition_whole_table("all partitions")
        unmet[stored.name] = _validate(
            context, stored, batch, shown_columns(table), result="SUMMARY"
        )
    # What is open keeps the file from being made again.
    source.get_engine().dispose()
    source.get_execution_engine().close()
    return unmet


def _validate(
    context: Any, suite: Any, batch: Any, shown: list[str], *, result: str, **parameters: Any
) -> int:
    """Validate a batch and store the result; returns how many expectations do not hold.

    Args:
        shown: columns that tell a row.
    """
    import great_expectations as gx

    validation = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=suite.name, data=batch, suite=suite)
    )
    found = validation.run(
        batch_parameters=parameters or None,
        result_format={"result_format": result, "unexpected_index_column_names": shown},
    )
    unmet = [one for one in found.results if not one.success]
    checks = {one.expectation_config.meta["check"] for one in unmet if one.result}
    unknown = [one.exception_info for one in unmet if not one.result]
    # Nothing can be said about a column that is not there, or of another type: that it is so.
    if unknown and MATCHES_CONTRACT.name not in checks:
        raise RuntimeError(f"{suite.name}: could not be validated: {unknown[0]}")
    return len(unmet)


def _batch_definition(source: Any, name: str) -> Any:
    """The asset's batch of the project; one of an earlier build is taken again."""
    if name in {asset.name for asset in source.assets}:
        return source.get_asset(name).get_batch_definition("kept")
    return source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("kept")


def _table(results: list[KeptResult], checks: list[str]) -> pd.DataFrame:
    """A row per subject and a column per check; a subject that a check does not have is null."""
    import pandas as pd

    rows: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in results:
        for check, values in one.measured.items():
            for subject, value in values.items():
                is_whole = subject == one.partition
                rows[one.partition if is_whole else f"{one.partition}: {subject}"][check] = value
    table = pd.DataFrame(
        {check: [row.get(check) for row in rows.values()] for check in checks}, dtype="float64"
    )
    table.insert(0, SUBJECT, list(rows))
    return table


def _name(asset: str) -> str:
    return asset.replace("/", ".")
