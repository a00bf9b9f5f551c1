"""The files that hold bars: one that a person names, or those in a folder."""

from collections.abc import Collection
from pathlib import Path

from osiris.core.errors import BadInput, NotFound
from osiris.market.file_import.suffixes import BAR_SUFFIXES, PARQUET_SUFFIX, suffix_of
from osiris.market.file_import.tables import has_bar_columns


def find_bar_files(path: Path, exclude: Collection[Path] = ()) -> list[Path]:
    """The files to read: `path` itself, or the files in that folder, sorted.

    Hidden files, such as macOS' `._AAPL.csv`, hold no bars. `exclude` names files that are known to hold none.
    Raises `NotFound` for a wrong path, `BadInput` for a single file of another kind.
    """
    if not path.exists():
        raise NotFound("a .csv or .parquet file of bars", f"{path}, no such file or folder", "check the path")
    if not path.is_dir():
        if suffix_of(path) is None:
            raise BadInput(f"a file of bars that ends in {', '.join(BAR_SUFFIXES)}", str(path), "convert it")
        return [path]
    excluded = {file.resolve() for file in exclude}
    inside = [file for file in sorted(path.iterdir()) if file.resolve() not in excluded]
    bar_files = [file for file in inside if file.is_file() and suffix_of(file) and not file.name.startswith(".")]
    # A folder may hold a readme.txt, so a .txt file is read only if it has the columns of bars.
    bar_files = [file for file in bar_files if suffix_of(file) != ".txt" or has_bar_columns(file)]
    _reject_parts(path, [file for file in inside if file.is_dir()])
    if not bar_files:
        raise NotFound("a .csv or .parquet file of bars", f"{path}, a folder without one", "check the path")
    return bar_files


def find_ignored_files(path: Path, files: Collection[Path]) -> list[str]:
    """The names of the files in the folder `path` that are not among `files`, sorted; none if `path` is a file."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return [file.name for file in inside if file.is_file() and file not in files]


def _reject_parts(path: Path, folders: list[Path]) -> None:
    """Refuse a Parquet data set in parts (`bars.parquet/ticker=AAPL/...`): it has its tickers in names of folders."""
    parts = [folder for folder in folders if "=" in folder.name or folder.name.lower().endswith(PARQUET_SUFFIX)]
    if parts:
        got = f"a Parquet data set in parts, {parts[0]}"
        raise BadInput(f"files of bars in {path}", got, "write it as one .parquet file with a ticker column")
