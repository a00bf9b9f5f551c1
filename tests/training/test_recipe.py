"""Recipes: the names of TRL and peft, nothing unknown, the values of the right type."""

import shutil

import pytest

from osiris.core.errors import BadInput, NotFound
from osiris.training.recipe import RECIPE_FOLDER, load_recipe

GOOD = "method: dpo\nlora: {r: 4, target_modules: [o_proj]}\nargs: {beta: 0.2, learning_rate: 1e-3}\n"


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_the_recipes_of_the_house_are_valid_and_build_their_configs(tmp_path):
    sft, dpo = load_recipe("qlora", "sft"), load_recipe("dpo", "dpo")
    arguments = dpo.to_trainer_args(tmp_path, seed=3)
    assert (arguments.loss_type, arguments.loss_weights, arguments.beta) == (["sigmoid", "sft"], [1.0, 1.0], 0.3)
    assert (arguments.bf16, arguments.gradient_checkpointing, arguments.seed) == (False, False, 3)
    assert sft.to_trainer_args(tmp_path, seed=3).completion_only_loss is True
    for recipe in (sft, dpo):
        lora = recipe.to_lora_config()
        assert (lora.r, lora.lora_alpha, lora.task_type) == (16, 32, "CAUSAL_LM")
        assert lora.target_modules == "all-linear"


def test_a_file_of_the_users_works_and_numbers_may_be_written_as_yaml_reads_them_wrong(tmp_path):
    recipe = load_recipe(written(tmp_path, GOOD), "dpo")
    assert (recipe.name, recipe.args["learning_rate"]) == ("mine", 0.001)
    assert (
        recipe.to_params()
        == {"method": "dpo", "data": "like", "lora.r": 4, "lora.target_modules": ["o_proj"]} | recipe.args
    )


@pytest.mark.parametrize(
    ("name", "method", "data", "loss"),
    [
        ("ipo", "dpo", "like", ["ipo", "sft"]),
        ("robust", "dpo", "like", ["robust", "sft"]),
        ("ranked", "dpo", "ranked", ["sigmoid", "sft"]),
        ("dpo-plain", "dpo", "like", ["sigmoid"]),
        ("kto", "kto", "unpaired", "kto"),
        ("winners", "sft", "winners", "nll"),
    ],
)
def test_each_method_has_a_recipe_that_its_trainer_takes(tmp_path, name, method, data, loss):
    recipe = load_recipe(name, "dpo", "kto", "sft")
    arguments = recipe.to_trainer_args(tmp_path, 0)
    assert (recipe.method, recipe.data, arguments.loss_type) == (method, data, loss)
    assert arguments.num_train_epochs == 8  # the same budget for all, so that they can be compared


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD.replace("learning_rate", "learning_rat"), "nearest is learning_rate.*learning_rat"),
        (GOOD.replace("r: 4", "rank: 4, r: 4"), "key of LoraConfig, nearest is .*rank"),
        (GOOD + "lorra: {}\n", "nearest is lora.*lorra"),
        (GOOD.replace("beta: 0.2", "beta: high"), "args.beta.*high"),
        (GOOD.replace("beta: 0.2", "seed: 1"), "seed, which the training sets itself"),
        (GOOD.replace("dpo", "sft"), "method dpo.*'sft'"),
        (GOOD + "data: unpaired\n", "data like or ranked for method dpo.*'unpaired'"),
        (GOOD.replace("args", "#"), "section `args`"),
        ("method: [", "YAML"),
        ("just words", "method, data, lora, args"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_key_and_what_it_could_be(tmp_path, text, named):
    with pytest.raises(BadInput, match=named):
        load_recipe(written(tmp_path, text), "dpo")


@pytest.mark.parametrize(
    ("was", "now", "named"),
    [
        ("beta: 0.2", "beta: -0.3", "args.beta.*greater than 0"),
        ("beta: 0.2", "beta: 0", "args.beta"),
        ("beta: 0.2", "beta: .nan", "args.beta"),
        ("beta: 0.2", "beta: true", "args.beta.*truth value"),
        ("beta: 0.2", "beta: 0.2, loss_weights: [-1, 1]", "args.loss_weights"),
        ("beta: 0.2", "beta: 0.2, loss_weights: [0, 0]", "args.loss_weights"),
        ("beta: 0.2", "beta: 0.2, loss_weights: [true, 1]", "args.loss_weights.*truth value"),
        ("beta: 0.2", "beta: 0.2, num_train_epochs: 0", "args.num_train_epochs"),
        ("beta: 0.2", "beta: 0.2, num_train_epochs: -1", "args.num_train_epochs"),
        ("beta: 0.2", "beta: 0.2, max_steps: 0", "args.max_steps"),
        ("beta: 0.2", "beta: 0.2, per_device_train_batch_size: 0", "args.per_device_train_batch_size"),
        ("beta: 0.2", "beta: 0.2, gradient_accumulation_steps: 0", "args.gradient_accumulation_steps"),
        ("beta: 0.2", "beta: 0.2, label_smoothing: 0.5", "args.label_smoothing"),
        ("beta: 0.2", "beta: 0.2, bf16: 1", "args.bf16.*true or false"),
        ("beta: 0.2", "beta: 0.2, beta: 0.3", "mine.yaml|beta twice"),
        ("beta: 0.2", "beta: 0.2, chat_template_path: other", "chat_template_path"),
        ("1e-3", "true", "args.learning_rate.*truth value"),
        ("1e-3", "0", "args.learning_rate"),
        ("1e-3", "-1e-3", "args.learning_rate"),
        ("1e-3", ".inf", "args.learning_rate"),
        ("r: 4", "r: 0", r"lora\.r"),
        ("r: 4", "r: true", r"lora\.r.*truth value"),
        ("r: 4", "r: 4, lora_dropout: 1.5", r"lora\.lora_dropout"),
        ("r: 4", "r: 4, lora_alpha: -32", r"lora\.lora_alpha"),
        ("r: 4", "r: 4, lora_alpha: 65", "scales by more than 16"),
        ("r: 4", "r: 4, lora_alpha: 33, use_rslora: true", "scales by more than 16"),
        ("r: 4", "r: 4, use_dora: true", r"lora\.use_dora"),
        ("r: 4", "r: 4, modules_to_save: [lm_head]", r"lora\.modules_to_save"),
        ("r: 4", "r: 4, lora_bias: true", r"lora\.lora_bias"),
        ("r: 4", "r: 4, trainable_token_indices: [1]", r"lora\.trainable_token_indices"),
        ("r: 4", "r: 4, target_parameters: [x]", r"lora\.target_parameters"),
        ("r: 4", "r: 4, bias: all", r"lora\.bias"),
        ("[o_proj]", "[]", r"lora\.target_modules"),
        *(("r: 4", f"r: 4, init_lora_weights: {kind}", r"lora\.init_lora_weights")
          for kind in ("olora", "pissa", "pissa_niter_4", "corda", "loftq", "eva", "orthogonal", "mica", "false")),
    ],
)  # fmt: skip
def test_a_value_that_no_training_can_make_sense_of_is_refused_by_its_key(tmp_path, was, now, named):
    with pytest.raises(BadInput, match=named) as refused:
        load_recipe(written(tmp_path, GOOD.replace(was, now)), "dpo")
    assert "mine.yaml" in str(refused.value)


def test_kto_compares_the_replies_of_a_batch(tmp_path):
    text = GOOD.replace("dpo", "kto").replace("beta: 0.2", "per_device_train_batch_size: 1")
    with pytest.raises(BadInput, match=r"args\.per_device_train_batch_size"):
        load_recipe(written(tmp_path, text), "kto")


def test_a_start_that_leaves_the_base_as_it_is_is_taken(tmp_path):
    text = GOOD.replace("r: 4", "r: 4, init_lora_weights: gaussian, lora_alpha: 8")
    assert load_recipe(written(tmp_path, text), "dpo").lora["init_lora_weights"] == "gaussian"


def test_brackets_nested_by_the_thousand_are_no_recipe(tmp_path):
    with pytest.raises(BadInput, match="YAML"):
        load_recipe(written(tmp_path, "[" * 50_000), "dpo")


def test_an_argument_of_the_other_trainer_is_unknown(tmp_path):
    with pytest.raises(BadInput, match="beta"):
        load_recipe(written(tmp_path, GOOD.replace("dpo", "sft")), "sft")


def test_values_that_do_not_go_together_are_named(tmp_path):
    recipe = load_recipe(
        written(tmp_path, GOOD.replace("beta: 0.2", "loss_type: [sigmoid], loss_weights: [1, 2]")), "dpo"
    )
    with pytest.raises(BadInput, match="loss_weights"):
        recipe.to_trainer_args(tmp_path, 0)


def test_an_unknown_recipe_is_not_found_and_the_known_ones_are_listed():
    with pytest.raises(NotFound, match="dpo, dpo-plain, dpo-pretrained, ipo, kto, qlora"):
        load_recipe("ppo", "dpo")


def test_the_hash_depends_on_the_settings_and_on_nothing_else(tmp_path):
    first = load_recipe(written(tmp_path, GOOD), "dpo").hash
    assert load_recipe(written(tmp_path, "# said\n" + GOOD), "dpo").hash == first
    assert load_recipe(written(tmp_path, GOOD.replace("0.2", "0.3")), "dpo").hash != first
    copy = shutil.copyfile(RECIPE_FOLDER / "dpo.yaml", tmp_path / "copy.yaml")
    assert load_recipe(copy, "dpo").hash == load_recipe("dpo", "dpo").hash
