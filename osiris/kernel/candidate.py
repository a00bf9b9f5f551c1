"""A pytest plugin: the policy's own tests ask a candidate, which answers from its sandbox.

The tests run outside the sandbox, where the candidate cannot reach them. `--candidate` names the folder of its files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from osiris.policy import PATCHABLE_FILES
from osiris.sandbox.policies import CandidatePolicy

if TYPE_CHECKING:
    from _pytest.config.argparsing import Parser

MAX_EXAMPLES = 40
"""Examples of each test. An example asks the sandbox at least once, and all tests share `prove.MAX_TEST_SECONDS`."""

settings.register_profile("prove", max_examples=MAX_EXAMPLES, database=None, deadline=None, print_blob=False,
                          suppress_health_check=list(HealthCheck))  # fmt: skip
settings.load_profile("prove")


def pytest_addoption(parser: "Parser") -> None:
    """Add the option `--candidate`."""
    parser.addoption("--candidate", required=True, help="folder of the candidate's files")


@pytest.fixture(scope="session")
def candidate(request: pytest.FixtureRequest) -> Iterator[CandidatePolicy]:
    """The candidate in its sandbox, for all tests of the run."""
    folder = Path(request.config.getoption("--candidate"))
    files = {name: (folder / name).read_text(encoding="utf-8") for name in PATCHABLE_FILES}
    with CandidatePolicy(files) as policy:
        yield policy
