"""How long the searching tests search."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, default=20_000, help="generated ideas that the outcome kernel is judged on")
    parser.addoption("--kills", type=int, default=100, help="kill -9 of the outcome logger, the relay and Redis")


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--cases")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--kills")
