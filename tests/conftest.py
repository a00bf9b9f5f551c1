"""How long the searching tests search."""

import pytest

SLOW_FOLDERS = ("tests/flows/", "tests/journeys/", "tests/browser/")
"""What starts servers, trains or drives a browser: it comes last, so that a slip elsewhere shows within minutes."""
SLOWEST_FILES = ("test_whole_loop.py", "test_learn_check.py", "test_outcome_crashes.py", "test_night_crashes.py")
"""Of these, what takes minutes: first, so that of two workers neither waits long for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[bool, int]:
        long = any(part in item.path.as_posix() for part in SLOW_FOLDERS)
        return long, SLOWEST_FILES.index(item.path.name) if item.path.name in SLOWEST_FILES else len(SLOWEST_FILES)

    items.sort(key=place)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, default=20_000, help="generated ideas that the outcome kernel is judged on")
    parser.addoption("--asked-seconds", type=int, default=15, help="how long the API is asked made-up questions")
    parser.addoption("--kills", type=int, default=100, help="kill -9 of the outcome logger, the relay and Redis")


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--cases")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--kills")


@pytest.fixture(scope="session")
def asked_seconds(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--asked-seconds")
