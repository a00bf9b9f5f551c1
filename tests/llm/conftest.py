"""The real starters of seed 0, built once in the user's cache, and small models of other makes."""

import pytest

from osiris.settings import Model, Settings


def settings_with(**model) -> Settings:
    """Settings with these values of the section `model`."""
    return Settings(model=Model(**model))


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
    import torch
    from peft import LoraConfig, get_peft_model

    from osiris.llm.loader import load_drafter

    folders = []
    for seed in range(4):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
        folder = tmp_path_factory.mktemp("adapters") / f"2005022{seed}"
        get_peft_model(load_drafter(settings).model, config).save_pretrained(folder)
        folders.append(folder)
    return folders
