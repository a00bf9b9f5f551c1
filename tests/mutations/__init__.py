"""The mutations of `tests/mutations/*.toml`: which code is a safeguard, and which tests fail without it."""

import tomllib
from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    """A safeguard: its name, its file, its code, the code without it, the tests that must then fail, and why."""

    name: str
    file: str
    find: str
    replace: str
    tests: str
    why: str

    def applied_to(self, text: str) -> str:
        """The text of the file without the safeguard; raises `ValueError` unless the code stands there once."""
        if (count := text.count(self.find)) != 1:
            raise ValueError(f"{self.name}: expected its code once in {self.file}, found it {count} times")
        return text.replace(self.find, self.replace)


def read_mutations() -> list[Mutation]:
    """All of them, in the order of the files."""
    tables = (tomllib.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("*.toml")))
    return [Mutation(**row) for table in tables for row in table["mutation"]]
