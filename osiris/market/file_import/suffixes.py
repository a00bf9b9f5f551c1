"""The suffixes of files that may hold bars."""

from pathlib import Path

TEXT_SUFFIXES = (".csv", ".csv.gz", ".txt", ".tsv", ".txt.gz")
PARQUET_SUFFIX = ".parquet"
BAR_SUFFIXES = (*TEXT_SUFFIXES, PARQUET_SUFFIX)


def suffix_of(file: Path) -> str | None:
    """The one of `BAR_SUFFIXES` that the file's name ends in; `None` for another suffix."""
    return next((suffix for suffix in BAR_SUFFIXES if file.name.lower().endswith(suffix)), None)


def name_without_suffix(file: Path) -> str:
    """The file's name without its suffix."""
    return file.name[: -len(suffix_of(file) or "")] if suffix_of(file) else file.stem
