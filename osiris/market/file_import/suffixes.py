"""Which files may hold bars, by the endings of their names."""

from pathlib import Path

TEXT_SUFFIXES = (".csv", ".csv.gz", ".txt", ".tsv", ".txt.gz")
PARQUET_SUFFIX = ".parquet"
BAR_SUFFIXES = (*TEXT_SUFFIXES, PARQUET_SUFFIX)


def suffix_of(file: Path) -> str | None:
    """The ending in `BARS` that the file's name has; `None` for another."""
    return next((ending for ending in BAR_SUFFIXES if file.name.lower().endswith(ending)), None)


def name_without_suffix(file: Path) -> str:
    """The file's name without its ending."""
    return file.name[: -len(suffix_of(file) or "")] if suffix_of(file) else file.stem
