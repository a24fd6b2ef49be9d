"""A Parquet file of the lake, of which nothing is given that was not verified first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.manifest import Manifest, chunk_range, crc32_of, footer_crc

HAS_SIZE = "has {found:,} bytes where {expected} were written"


class AlteredError(ValueError):
    """What is wrong with a file: the rest of a sentence that begins with the file's name."""


class VerifiedParquet:
    """One open file. A context manager.

    Its size and footer are those that the manifest names, and the chunks of a row group are
    verified before they are decoded. A file without a manifest is verified as far as it can verify
    itself: by the checksums of its pages, if it has them.
    """

    def __init__(self, file: Path, manifest: Manifest | None) -> None:
        """Open a file that is there.

        Raises:
            AlteredError: size or footer are none that the manifest names.
        """
        # Opened once: another file may take its name at any time.
        self._file = pa.OSFile(str(file))
        try:
            n_bytes = self._file.size()
            crc = footer_crc(self._file, n_bytes)
            versions = manifest.versions if manifest else []
            if versions and n_bytes not in [one.n_bytes for one in versions]:
                raise AlteredError(wrong_size(n_bytes, [one.n_bytes for one in versions]))
            fitting = [
                one for one in versions if one.n_bytes == n_bytes and one.footer in (None, crc)
            ]
            if crc is None or (versions and not fitting):
                raise AlteredError("has a footer that is not what was written")
            self._chunks = fitting[0].chunks if fitting else ()
            self.parquet = pq.ParquetFile(self._file, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            self._file.close()
            raise AlteredError(f"cannot be read ({_short(error)})") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> VerifiedParquet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.parquet.close()
        self._file.close()

    @property
    def schema(self) -> pa.Schema:
        """Columns of the file."""
        return self.parquet.schema_arrow

    @property
    def n_groups(self) -> int:
        """Row groups of the file."""
        return int(self.parquet.num_row_groups)

    def group(self, number: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of one row group.

        Raises:
            AlteredError: a chunk of these columns is not what was written.
        """
        self._verify(number, columns)
        try:
            return self.parquet.read_row_group(number, columns=list(columns))
        except (pa.ArrowException, OSError) as error:
            raise AlteredError(f"cannot be read in row group {number} ({_short(error)})") from error

    def _verify(self, number: int, columns: Collection[str]) -> None:
        footer = self.parquet.metadata
        for column, crc in enumerate(self._chunks[number] if self._chunks else ()):
            path = footer.row_group(number).column(column).path_in_schema
            if path.split(".")[0] not in columns:
                continue
            if crc32_of(self._file, *chunk_range(footer, number, column)) != crc:
                raise AlteredError(
                    f"has bytes in row group {number}, column {path}, that are not what was written"
                )


def wrong_size(n_bytes: int, expected: Sequence[int]) -> str:
    """What is wrong with a file of that size."""
    sizes = " or ".join(f"{size:,}" for size in dict.fromkeys(expected))
    return HAS_SIZE.format(found=n_bytes, expected=sizes)


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
