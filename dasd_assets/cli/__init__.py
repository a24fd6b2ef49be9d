"""The commands."""

import sys

from dasd_assets.own_packages import ForeignPackageError, require_own_packages

# Before a command's modules are imported: they would fail with words that help nobody.
try:
    require_own_packages()
except ForeignPackageError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
