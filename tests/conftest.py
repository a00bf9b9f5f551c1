"""The tiers of the tests, and how long the searching ones search.

`unit` tests start no process and load no model; `model` tests load or train one; `system` tests start processes:
servers, sandboxes, browsers, the command line. A unit test that starts a process fails.
"""

import sys
from typing import NamedTuple

import pytest

from flows.warm_kernel import OWN_TO_EACH_KERNEL

OWN_TO_EACH_KERNEL.add("PYTEST_CURRENT_TEST")  # another one in each test, so each would start a parent of its own

TIERS = ("unit", "model", "system")
SYSTEM = (
    "tests/browser/",
    "tests/cli/",
    "tests/flows/",
    "tests/journeys/",
    "tests/serving/",
    "tests/api/test_contract.py",
    "tests/core/test_run_log.py",
    "tests/core/test_server_lifetime.py",
    "tests/kernel/",
    "tests/labeling/test_settle.py",
    "tests/sandbox/test_session.py",
    "tests/storage/test_events.py",
    "tests/test_architecture.py",
    "tests/test_makefile.py",
    "tests/test_packaging.py",
    "tests/ui/test_review_page.py",
    "tests/ui/test_scripts.py",
)
MODEL = ("tests/api/test_models.py", "tests/drafting/", "tests/learn_check/", "tests/llm/", "tests/training/")
FIRST = "tests/api/test_models.py"
"""It trains the starter models where no cache has them. The other worker goes on with tests that need no model."""
LAST = ("tests/flows/", "tests/journeys/", "tests/browser/")
"""What takes longest comes last, so that a slip elsewhere shows within minutes."""
FIRST_OF_LAST = (
    "test_kernel.py",
    "test_night_crashes.py",
    "test_review_table.py",
    "test_learn_check.py",
    "test_whole_loop.py",
)
"""Of these, the longest come first, so that of two workers neither waits long for the other."""


class Count(NamedTuple):
    """How often something is tried: in `make test`, and with `--full`."""

    usual: int
    full: int


COUNTS = {
    "cases": Count(2_000, 20_000),  # generated ideas that the triple barrier is judged on
    "kills": Count(15, 100),  # kill -9 of the outcome logger, the relay and Redis, and of a patch being applied
    "simulations": Count(100, 300),  # repetitions of an experiment whose rate of error is known
    "asked-seconds": Count(15, 15),  # how long the API is asked made-up questions; five were too few
}


def tier_of(path: str) -> str:
    """The tier of a test file, by its path in the repository."""
    if path.startswith(SYSTEM):
        return "system"
    return "model" if path.startswith(MODEL) else "unit"


def pytest_configure(config: pytest.Config) -> None:
    for tier in TIERS:
        config.addinivalue_line("markers", f"{tier}: see tests/conftest.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[bool, bool, int, int]:
        path, name = item.path.relative_to(config.rootpath).as_posix(), item.path.name
        order = FIRST_OF_LAST.index(name) if name in FIRST_OF_LAST else len(FIRST_OF_LAST)
        return path != FIRST, path.startswith(LAST), TIERS.index(tier_of(path)), order

    for item in items:
        if not any(item.get_closest_marker(name) for name in TIERS):
            item.add_marker(tier_of(item.path.relative_to(config.rootpath).as_posix()))
    items.sort(key=place)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="try everything as often as a release asks for")
    for name, count in COUNTS.items():
        parser.addoption(f"--{name}", type=int, help=f"{count.usual}, {count.full} with --full")


def how_often(request: pytest.FixtureRequest, name: str) -> int:
    given = request.config.getoption(f"--{name}")
    return given if given is not None else COUNTS[name][request.config.getoption("--full")]


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int:
    return how_often(request, "cases")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    return how_often(request, "kills")


@pytest.fixture(scope="session")
def simulations(request: pytest.FixtureRequest) -> int:
    return how_often(request, "simulations")


@pytest.fixture(scope="session")
def asked_seconds(request: pytest.FixtureRequest) -> int:
    return how_often(request, "asked-seconds")


class _Processes:
    """Counts the processes that this one starts; an audit hook stays for good, so there is one."""

    started = 0

    @classmethod
    def hook(cls, event: str, _args: object) -> None:
        cls.started += event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec")


sys.addaudithook(_Processes.hook)


@pytest.fixture(autouse=True)
def _unit_tests_start_nothing(request: pytest.FixtureRequest):
    before = _Processes.started
    yield
    if request.node.get_closest_marker("unit") and _Processes.started > before:
        pytest.fail("a unit test started a process: mark it `system`", pytrace=False)
