"""One deployment writes a lake: the others are told so, and may read.

Two deployments have two Dagster instances, and neither knows what the other makes stale. The owner
is an object that can be made only where there is none.
"""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from resources.lake.bucket import Bucket
from resources.lake.bucket_errors import ObjectStoreError

OWNER = "_owner.json"
DEPLOYMENT = "DASD_DEPLOYMENT"
"""Environment variable: the name that all machines of one deployment have in common."""


def deployment(home: Path) -> str:
    """Name of this deployment: what the environment says, else this machine's folder."""
    return os.environ.get(DEPLOYMENT) or f"{socket.gethostname()}:{home}"


def require_owner(bucket: Bucket, owner: str) -> None:
    """Own the lake, or stop before anything is written.

    Raises:
        ObjectStoreError: another deployment owns it.
    """
    found = bucket.get(OWNER)
    if found is None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        bucket.create(OWNER, json.dumps({"owner": owner, "since": since}).encode())
        found = bucket.get(OWNER)
    claim = json.loads(found or b"{}")
    if claim.get("owner") != owner:
        raise ObjectStoreError(
            f"{bucket.uri}: is written by the deployment {claim.get('owner')!r} since "
            f"{claim.get('since')}; this is {owner!r}. Use another prefix. If both are one "
            f"deployment on several machines, give all of them the same {DEPLOYMENT}; if the "
            f"other is gone, delete {bucket.uri}/{OWNER} and run the step again"
        )
