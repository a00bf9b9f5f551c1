"""Training: weights really move, the same way for the same seed, and nothing is left of a training that failed."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from osiris.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE
from osiris.adapters.probe import load_and_probe
from osiris.config.settings import ModelSettings
from osiris.core.errors import AdapterRejected, BadInput, TooLittleData
from osiris.training.methods import train_adapter
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingDiverged, TrainingOptions


@pytest.fixture(scope="module")
def sft():
    return load_recipe("qlora", "sft")


@pytest.fixture(scope="module")
def dpo():
    return load_recipe("dpo", "dpo")


@pytest.fixture
def parent(settings, examples, tmp_path, sft):
    return train_adapter(settings, examples, TrainingOptions(None, tmp_path / "parent", sft, 0, progress=False)).folder


def changed(recipe, **args):
    from dataclasses import replace

    return replace(recipe, args=recipe.args | args)


def test_qlora_changes_the_weights_lowers_the_loss_and_leaves_only_an_adapter(
    settings, examples, tmp_path, sft, capsys
):
    result = train_adapter(settings, examples, TrainingOptions(None, tmp_path / "out", sft, seed=0, progress=False))
    assert result.tensors == 16, "A and B of four linear layers in two blocks"
    assert result.tensors_changed == result.tensors
    assert 0 < result.largest_change < 0.1
    assert result.after["loss"] < result.before["loss"]
    assert [entry["step"] for entry in result.history] == [1, 2]
    assert all(math.isfinite(entry["loss"]) for entry in result.history)
    assert {path.name for path in result.folder.iterdir()} <= {WEIGHTS_FILE, CONFIG_FILE, "README.md"}
    assert {tensor.dtype for tensor in load_file(result.folder / WEIGHTS_FILE).values()} == {torch.float32}
    assert capsys.readouterr().out == ""


def test_dpo_learns_the_preference_and_reports_it_before_and_after(settings, pairs, tmp_path, dpo):
    result = train_adapter(settings, pairs, TrainingOptions(None, tmp_path / "out", dpo, seed=0, progress=False))
    assert result.reference == "base"
    assert result.before["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert result.after["rewards/margins"] > result.before["rewards/margins"]
    assert result.after["rewards/accuracies"] > 0.6
    assert {"logps/chosen", "logps/rejected", "rewards/chosen", "loss"} <= set(result.after)
    assert result.after["logps/chosen"] > result.before["logps/chosen"], "the sft term keeps good replies likely"
    assert (result.rows, result.tensors_changed) == (len(pairs), result.tensors)


def test_kto_learns_from_single_replies_which_are_good(settings, pairs, tmp_path):
    judged = [
        {"prompt": pair["prompt"], "reply": pair[f"{kind}_reply"], "label": kind == "good"}
        for pair in pairs
        for kind in ("good", "bad")
    ]
    result = train_adapter(
        settings, judged, TrainingOptions(None, tmp_path / "out", load_recipe("kto", "kto"), progress=False)
    )
    assert result.tensors_changed == result.tensors
    assert result.after["rewards/margins"] > 0.1
    assert result.before["rewards/margins"] == pytest.approx(0, abs=1e-5)
    with pytest.raises(TooLittleData):
        train_adapter(settings, [], TrainingOptions(None, tmp_path / "none", load_recipe("kto", "kto")))


def test_dpo_on_a_parent_starts_from_it_and_compares_with_it(settings, pairs, parent, tmp_path, dpo):
    still = train_adapter(
        settings,
        pairs,
        TrainingOptions(parent, tmp_path / "still", changed(dpo, learning_rate=1e-12), 0, progress=False),
    )
    assert still.reference == "parent"
    assert still.largest_change < 1e-9
    ours, theirs = load_file(still.folder / WEIGHTS_FILE), load_file(parent / WEIGHTS_FILE)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-9) for key in ours), "not even rounded"
    assert still.before["rewards/margins"] == pytest.approx(0, abs=1e-6), "the reference is the parent, not the base"
    moved = train_adapter(settings, pairs, TrainingOptions(parent, tmp_path / "moved", dpo, 0, progress=False))
    assert moved.tensors_changed == moved.tensors
    assert moved.after["rewards/margins"] > 0


def test_qlora_on_a_parent_continues_its_tensors(settings, examples, parent, tmp_path, sft):
    further = train_adapter(settings, examples, TrainingOptions(parent, tmp_path / "out", sft, 0, progress=False))
    from_new = train_adapter(settings, examples, TrainingOptions(None, tmp_path / "new", sft, 0, progress=False))
    assert further.before["loss"] == pytest.approx(from_new.after["loss"], rel=1e-3)
    assert further.after["loss"] < further.before["loss"]


def test_the_same_seed_gives_the_same_tensors_and_another_seed_others(settings, pairs, tmp_path, dpo):
    short = changed(dpo, num_train_epochs=1)
    once, again, other = (
        load_file(
            train_adapter(settings, pairs, TrainingOptions(None, tmp_path / name, short, seed, progress=False)).folder
            / WEIGHTS_FILE
        )
        for name, seed in (("once", 5), ("again", 5), ("other", 6))
    )
    assert all(torch.equal(once[key], again[key]) for key in once)
    assert any(not torch.equal(once[key], other[key]) for key in once)


def test_without_quantization_the_same_call_trains_the_full_base(settings, examples, tmp_path, sft):
    plain = settings.model_copy(update={"model": ModelSettings(base=settings.model.base, quantize="none")})
    full, nf4 = (
        train_adapter(chosen, examples, TrainingOptions(None, tmp_path / name, sft, 0, progress=False))
        for chosen, name in ((plain, "plain"), (settings, "nf4"))
    )
    assert full.before["loss"] != nf4.before["loss"], "the base of one of them is 4-bit"
    assert full.before["loss"] == pytest.approx(nf4.before["loss"], rel=0.02)
    assert full.history[0]["grad_norm"] == pytest.approx(nf4.history[0]["grad_norm"], rel=0.1), "gradients pass nf4"


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_training_that_is_not_finite_is_an_error_and_leaves_nothing(
    settings, examples, pairs, tmp_path, method, sft, dpo
):
    absurd = {"learning_rate": 1e30, "max_grad_norm": 0.0, "num_train_epochs": 3, "per_device_train_batch_size": 4}
    rows, recipe = (examples, sft) if method == "sft" else (pairs, dpo)
    with pytest.raises(TrainingDiverged, match="finite"):
        train_adapter(
            settings, rows, TrainingOptions(None, tmp_path / "out", changed(recipe, **absurd), 0, progress=False)
        )
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_merges_across_the_reply_boundary_is_refused(pairs, settings, make_base, tmp_path, dpo):
    base = make_base(tmp_path / "merging", merges=[("Ċ", "{")])
    merging = settings.model_copy(update={"model": ModelSettings(base=str(base))})
    with pytest.raises(BadInput, match="keeps prompt and reply apart"):
        train_adapter(merging, pairs, TrainingOptions(None, tmp_path / "out", dpo, 0, progress=False))


def test_what_does_not_fit_is_refused_before_training(settings, examples, pairs, parent, tmp_path, sft, dpo):
    from dataclasses import replace

    with pytest.raises(TooLittleData):
        train_adapter(settings, [], TrainingOptions(None, tmp_path / "out", sft))
    with pytest.raises(TooLittleData):
        train_adapter(settings, [], TrainingOptions(None, tmp_path / "out", dpo))
    with pytest.raises(BadInput, match="at most 20 tokens"):
        train_adapter(settings, examples, TrainingOptions(None, tmp_path / "out", changed(sft, max_length=20)))
    with pytest.raises(BadInput, match="recipe's r 4"):
        train_adapter(
            settings, pairs, TrainingOptions(parent, tmp_path / "out", replace(dpo, lora=dpo.lora | {"r": 4}))
        )
    for key, value in {"lora_dropout": 0.5, "use_rslora": True}.items():
        with pytest.raises(BadInput, match=f"recipe's {key} {value}"):
            train_adapter(
                settings, pairs, TrainingOptions(parent, tmp_path / "out", replace(dpo, lora=dpo.lora | {key: value}))
            )


def test_a_training_that_changes_nothing_leaves_nothing(settings, pairs, parent, tmp_path, dpo):
    with pytest.raises(BadInput, match="changes an adapter"):
        train_adapter(
            settings,
            pairs,
            TrainingOptions(parent, tmp_path / "out", changed(dpo, learning_rate=0.0), 0, progress=False),
        )
    assert not (tmp_path / "out").exists()


def test_the_progress_bar_goes_to_stderr_alone(settings, examples, tmp_path, sft, capfd):
    train_adapter(settings, examples, TrainingOptions(None, tmp_path / "out", sft, 0, progress=True))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "training the adapter" in printed.err


def rewritten(parent, change):
    save_file(change(load_file(parent / WEIGHTS_FILE)), parent / WEIGHTS_FILE)


def test_the_probe_passes_a_trained_adapter(settings, parent):
    load_and_probe(settings, parent)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: {key: value * math.nan for key, value in tensors.items()}, "place|finite"),
        (lambda tensors: {key: value * 0 for key, value in tensors.items()}, "differs from the base"),
        (lambda tensors: {key: value * 1e30 for key, value in tensors.items()}, "finite forward pass"),
        (lambda tensors: {key.replace("layers", "levels"): value for key, value in tensors.items()}, "in its place"),
        (lambda tensors: dict(list(tensors.items())[::2]), "in its place"),
        (lambda tensors: {key: value[:4, :4].clone() for key, value in tensors.items()}, "peft can load"),
    ],
    ids=["nan", "zero", "huge", "renamed", "half", "shape"],
)
def test_the_probe_rejects_what_peft_would_load_or_choke_on(settings, parent, change, reason):
    rewritten(parent, change)
    with pytest.raises(AdapterRejected, match=reason):
        load_and_probe(settings, parent)


def test_the_saved_config_names_what_the_shelf_checks(parent):
    config = json.loads((parent / CONFIG_FILE).read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 16, 32)
    assert not config["modules_to_save"]
