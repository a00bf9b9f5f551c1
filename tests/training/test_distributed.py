"""Training in two processes on the CPU (gloo): the loss and the adapter are those of one process."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from osiris.adapters.manifest import WEIGHTS_FILE
from osiris.core.errors import BadInput, NotFound
from osiris.training.distributed import read_processes, share_steps
from osiris.training.methods import train_adapter
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingOptions

TWO = "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nuse_cpu: true\nnum_processes: 2\n"


@pytest.fixture
def two(settings, tmp_path):
    """Settings under which two processes train."""
    (tmp_path / "two.yaml").write_text(TWO)
    return settings.model_copy(
        update={"training": settings.training.model_copy(update={"accelerate": "two.yaml"})}
    ).with_model(quantize="none")


def short():
    recipe = load_recipe("dpo", "dpo")
    changes = {"num_train_epochs": 2, "per_device_train_batch_size": 8}
    return replace(recipe, args=recipe.args | changes)


def test_two_processes_give_the_losses_and_the_adapter_of_one(settings, two, pairs, tmp_path):
    one = settings.with_model(quantize="none")
    alone, together = (
        train_adapter(each, pairs, TrainingOptions(None, tmp_path / name, short(), progress=False))
        for name, each in (("alone", one), ("together", two))
    )
    assert together.folder == tmp_path / "together"
    assert [entry["step"] for entry in together.history] == [entry["step"] for entry in alone.history] == [1, 2, 3, 4]
    for name in ("loss", "grad_norm"):
        assert [entry[name] for entry in together.history] == pytest.approx(
            [entry[name] for entry in alone.history], rel=0.02
        ), name
    assert together.after["rewards/margins"] == pytest.approx(alone.after["rewards/margins"], rel=0.02)
    ours, theirs = (load_file(one.folder / WEIGHTS_FILE) for one in (alone, together))
    # Adam moves a weight by its full rate however small its gradient is, so a few differ by rounding alone
    apart = torch.cat([(ours[name] - theirs[name]).abs().flatten() for name in ours])
    assert apart.quantile(0.9) < 1e-4


def test_an_error_of_a_process_is_the_error_here_and_nothing_is_kept(two, pairs, tmp_path):
    recipe = short()
    short_rows = replace(recipe, args=recipe.args | {"max_length": 16})
    with pytest.raises(BadInput, match=r"raise args\.max_length"):
        train_adapter(two, pairs, TrainingOptions(None, tmp_path / "out", short_rows, progress=False))
    assert not (tmp_path / "out").exists()


def test_a_step_that_cannot_be_shared_evenly_is_refused():
    assert share_steps(short(), 4).args["per_device_train_batch_size"] == 2
    with pytest.raises(BadInput, match="3 processes share evenly"):
        share_steps(short(), 3)


@pytest.mark.parametrize(
    "text", ["", "num_processes: none", "num_processes: 0", "num_machines: 2\nnum_processes: 2", "{"]
)
def test_a_configuration_that_is_none_is_named(tmp_path, text):
    file = tmp_path / "given.yaml"
    with pytest.raises(NotFound, match="accelerate config"):
        read_processes(file)
    file.write_text(text)
    with pytest.raises(BadInput, match=r"given\.yaml"):
        read_processes(file)
