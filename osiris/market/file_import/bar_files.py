"""Which files hold bars: one that was named, or those of a folder."""

from collections.abc import Collection
from pathlib import Path

from osiris.core.errors import BadInput, NotFound
from osiris.market.file_import.suffixes import BAR_SUFFIXES, PARQUET_SUFFIX, suffix_of
from osiris.market.file_import.tables import has_bar_columns


def find_bar_files(path: Path, exclude: Collection[Path] = ()) -> list[Path]:
    """The files to read: `path` itself, or those in that folder, sorted.

    Hidden files, such as macOS' `._AAPL.csv`, hold no bars; `leave_out` names files that are known to hold none.
    Raises `NotFound` for a wrong path, `BadInput` for a single file of another kind.
    """
    if not path.exists():
        raise NotFound("a .csv or .parquet file of bars", f"{path}, no such file or folder", "check the path")
    if not path.is_dir():
        if suffix_of(path) is None:
            raise BadInput(f"a file of bars that ends in {', '.join(BAR_SUFFIXES)}", str(path), "convert it")
        return [path]
    known = {other.resolve() for other in exclude}
    inside = [file for file in sorted(path.iterdir()) if file.resolve() not in known]
    taken = [file for file in inside if file.is_file() and suffix_of(file) and not file.name.startswith(".")]
    taken = [file for file in taken if suffix_of(file) != ".txt" or has_bar_columns(file)]
    _reject_parts(path, [file for file in inside if file.is_dir()])
    if not taken:
        raise NotFound("a .csv or .parquet file of bars", f"{path}, a folder without one", "check the path")
    return taken


def find_ignored_files(path: Path, files: Collection[Path]) -> list[str]:
    """The names of the files beside `files` in the folder `path`, sorted; none where `path` is a file."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return [file.name for file in inside if file.is_file() and file not in files]


def _reject_parts(path: Path, folders: list[Path]) -> None:
    """A Parquet data set in parts (`bars.parquet/ticker=AAPL/...`) keeps the ticker in names of folders."""
    parts = [folder for folder in folders if "=" in folder.name or folder.name.lower().endswith(PARQUET_SUFFIX)]
    if parts:
        came = f"a Parquet data set in parts, {parts[0]}"
        raise BadInput(f"files of bars in {path}", came, "write it as one .parquet file with a ticker column")
