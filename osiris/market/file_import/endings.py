"""Which files may hold bars, by the endings of their names."""

from pathlib import Path

TEXT = (".csv", ".csv.gz", ".txt", ".tsv", ".txt.gz")
PARQUET = ".parquet"
BARS = (*TEXT, PARQUET)


def kind(file: Path) -> str | None:
    """The ending in `BARS` that the file's name has; `None` for another."""
    return next((ending for ending in BARS if file.name.lower().endswith(ending)), None)


def stem(file: Path) -> str:
    """The file's name without its ending."""
    return file.name[: -len(kind(file) or "")] if kind(file) else file.stem
