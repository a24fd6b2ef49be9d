"""Where the pages that assets write are to be seen in a browser: `dasd ui` serves them."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import quote

import dagster as dg

PAGES_URL: Final = "DASD_PAGES_URL"
"""Environment variable with the address of the pages, where it is not the default."""
DEFAULT_PORT: Final = 3001
DATA_DOCS_FOLDER: Final = "_data_docs"
"""Great Expectations' project in the lake's folder on this machine, also of a lake in a bucket."""
DATA_DOCS: Final = f"{DATA_DOCS_FOLDER}/gx/uncommitted/data_docs/local_site"
"""Its pages."""


def pages_url(host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> str:
    """The address that is set, or that of a host and port."""
    return os.environ.get(PAGES_URL, f"http://{host}:{port}").rstrip("/")


def page_link(name: str) -> dg.UrlMetadataValue:
    """Link to a page of the lake for the UI.

    Args:
        name: of its file below the lake's root.
    """
    return dg.MetadataValue.url(f"{pages_url()}/{quote(name)}")
