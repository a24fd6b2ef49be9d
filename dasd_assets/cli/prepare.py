"""What every command that talks to Dagster needs first: profile, data folder, DAGSTER_HOME."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from dasd_assets.profile import PROJECT_ROOT, Profile
from dasd_assets.profile.home import LAKE, active_profile, home, lake_address


def prepare() -> tuple[Profile, Path]:
    """Profile and data folder, with Dagster's home made and the working folder set.

    Dagster's processes start in the project's folder, so paths that the environment gives are made
    absolute before.

    Raises:
        ProfileError: the active profile cannot be used.
    """
    profile = active_profile()
    folder = home(profile)
    named = os.environ.get("DASD_PROFILE", "")
    if Path(named).is_file() and named.endswith((".yaml", ".yml")):
        os.environ["DASD_PROFILE"] = str(Path(named).resolve())
    os.environ["DASD_HOME"] = str(folder)
    if os.environ.get(LAKE):
        os.environ[LAKE] = str(lake_address(profile))
    dagster_home = folder / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    configuration = dagster_home / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(
            (PROJECT_ROOT / "deploy" / "local" / "dagster.yaml").read_text(encoding="utf-8"),
            encoding="utf-8",
        )
    os.environ["DAGSTER_HOME"] = str(dagster_home)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    quiet_dagster()
    os.chdir(PROJECT_ROOT)
    return profile, folder


def quiet_dagster() -> None:
    """Have no warning of each beta feature at each import; what we use of them is tested."""
    warnings.filterwarnings("ignore", module="dagster")
    warnings.filterwarnings("ignore", message=".*(beta|preview).*")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
