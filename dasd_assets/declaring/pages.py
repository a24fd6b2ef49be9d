"""Where the pages and pictures that assets write are to be seen: `dasd ui` serves them.

A picture in the metadata is an address: the event log keeps each event twice or more, for as long
as there are runs, and with the pictures in it they would be most of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import dagster as dg

from resources.lake.lake import Lake
from resources.lake.manifest import SUFFIX, record_of
from resources.lake.pictures import HASH_LETTERS, pictures_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGES_URL: Final = "DASD_PAGES_URL"
"""Environment variable with the address of the pages, where it is not the default."""
DEFAULT_PORT: Final = 3001
DATA_DOCS_FOLDER: Final = "_data_docs"
"""Great Expectations' project in the lake's folder on this machine, also of a lake in a bucket."""
DATA_DOCS: Final = f"{DATA_DOCS_FOLDER}/gx/uncommitted/data_docs/local_site"
"""Its pages."""

EARLIER_PICTURES: Final = 12
"""Pictures of one partition, beside those of today, that what was made of it before shows."""


def pages_url(host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> str:
    """The address that is set, or that of a host and port."""
    return os.environ.get(PAGES_URL, f"http://{host}:{port}").rstrip("/")


def page_link(name: str) -> dg.UrlMetadataValue:
    """Link to a page of the lake for the UI.

    Args:
        name: of its file below the lake's root.
    """
    return dg.MetadataValue.url(_address(name))


def kept_pictures(
    lake: Lake, shown_with: str, figures: Mapping[str, Figure]
) -> dict[str, dg.MarkdownMetadataValue]:
    """Write figures to the lake as pictures; gives what the UI shows them by, under their names.

    A picture's file is named by its content, so that what was made earlier shows what it was: of
    pictures of the same that were written before, the last EARLIER_PICTURES stay.

    Args:
        lake: where to.
        shown_with: what they are pictures of, as a name in the lake: `pictures_of` has the folder.
        figures: by name.
    """
    from dasd_assets.reporting.figures import PIXELS_IN_THE_UI, to_png

    shown, folder, files = {}, pictures_of(shown_with), set[str]()
    for name, figure in figures.items():
        content = to_png(figure, PIXELS_IN_THE_UI)
        file = f"{folder}/{name}.{record_of(content).sha256[:HASH_LETTERS]}.png"
        lake.publish_page(file, content)
        files |= {file, file + SUFFIX}
        shown[name] = dg.MetadataValue.md(f"![{figure.get_label()}]({_address(file)})\n\n`{file}`")
    found = lake.listing(f"{folder}/")
    earlier = [one for one in found if one.rpartition("/")[0] == folder and one not in files]
    earlier.sort(key=lambda one: (one.endswith(".png"), found[one].changed))
    # The oldest, and all manifests: one that could not be drawn again must not be missed for good.
    n_manifests = sum(not one.endswith(".png") for one in earlier)
    for there in earlier[: max(n_manifests, len(earlier) - EARLIER_PICTURES)]:
        lake.take_away(there)
    return shown


def _address(name: str) -> str:
    return f"{pages_url()}/{quote(name)}"
