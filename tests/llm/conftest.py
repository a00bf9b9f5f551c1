"""The real starters of seed 0, built once in the user's cache, and small models of other makes."""

import pytest

from osiris.config.settings import ModelSettings, Settings
from tests.builders import random_adapter


def settings_with(**model) -> Settings:
    """Settings with these values of the section `model`."""
    return Settings(model=ModelSettings(**model))


@pytest.fixture(scope="session")
def settings():
    return settings_with()


@pytest.fixture(scope="session")
def drafter_folder(settings):
    from osiris.llm.starter import ensure_starter

    return ensure_starter("drafter", settings)


@pytest.fixture(scope="session")
def drafter(settings, drafter_folder):
    from osiris.llm.loader import load_drafter

    return load_drafter(settings)


@pytest.fixture(scope="session")
def judge(settings):
    from osiris.llm.loader import load_judge

    return load_judge(settings)


@pytest.fixture(scope="session")
def adapters(tmp_path_factory, settings, drafter_folder):
    """Four LoRA adapters with random weights, strong enough to change what the drafter writes."""
    return [random_adapter(tmp_path_factory.mktemp("adapters") / f"2005022{seed}", seed) for seed in range(4)]
