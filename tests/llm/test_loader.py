import hashlib
import shutil
import subprocess
import sys
import threading

import pytest

from osiris.core.errors import NotFound
from osiris.llm.generate import DraftRequest, draft_replies
from osiris.llm.loader import load_drafter, load_judge
from osiris.llm.local_models import MAX_ATTACHED_ADAPTERS, LocalModels
from osiris.llm.prompts import render
from osiris.llm.sources import compute_base_hash, is_model_ready
from tests.llm.conftest import settings_with
from tests.llm.model_factories import make_tokenizer, save_llama

GREEDY = settings_with(temperature=0, retries=0, max_new_tokens=24)
PROMPT = render("advise", ticker="AAPL", snapshot="momentum up 1.2\nrsi down 43.0\nlast up 0.3")


def says(drafter):
    """What a drafter answers to one prompt when it always takes the likeliest token."""
    return draft_replies(drafter, [DraftRequest(PROMPT, "AAPL")], 1, GREEDY, 0)[0][0].text


def logits(drafter):
    import torch

    ids = drafter.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    with drafter.activate() as model, torch.no_grad():
        return model(input_ids=ids).logits


def same(a, b):
    import torch

    return torch.equal(logits(a), logits(b))


def kinds(drafter):
    return {type(module).__name__ for module in drafter.model.modules()}


@pytest.fixture(scope="module")
def fresh(settings, adapters):
    """A drafter of its own for each adapter, and last for the base."""
    return [load_drafter(settings, folder) for folder in [*adapters, None]]


def test_a_drafter_says_what_it_is(drafter, fresh, adapters):
    assert (drafter.name, drafter.adapter) == ("starter", "base")
    assert (fresh[0].name, fresh[0].adapter) == ("starter", adapters[0].name)


def test_a_folder_goes_the_same_way_as_the_starter(drafter, drafter_folder):
    by_path = load_drafter(settings_with(base=str(drafter_folder)))
    sha = hashlib.sha256((drafter_folder / "model.safetensors").read_bytes()).hexdigest()
    whole = hashlib.sha256(sha.encode()).hexdigest()
    assert compute_base_hash(settings_with(base=str(drafter_folder))) == compute_base_hash(settings_with()) == whole
    assert same(by_path, drafter)


def test_a_model_of_another_make_is_loaded_by_the_same_code(tmp_path):
    folder = save_llama(tmp_path, make_tokenizer())
    drafter = load_drafter(settings_with(base=str(folder)))
    assert type(drafter.model).__name__ == "LlamaForCausalLM"
    assert drafter.tokenizer.pad_token_id is not None
    assert says(drafter).startswith('{"ticker":"AAPL","rationale":"')
    assert is_model_ready("drafter", settings_with(base=str(folder)))


def test_a_hub_that_cannot_be_reached_is_the_networks_fault_and_worth_another_try(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    code = (
        "from osiris.llm.sources import compute_base_hash; from osiris.config.settings import ModelSettings, Settings\n"
        "compute_base_hash(Settings(model=ModelSettings(base='somebody/some-model')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert "SourceUnavailable" in ran.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["/no/such/folder", "no such model"])
def test_a_model_that_is_nowhere_is_a_clear_error(name):
    settings = settings_with(base=name, judge=name)
    for load in (load_drafter, load_judge, compute_base_hash):
        with pytest.raises(NotFound, match="starter"):
            load(settings)
    assert not is_model_ready("drafter", settings)


def test_a_folder_without_safetensors_has_no_hash(tmp_path):
    with pytest.raises(NotFound, match="safetensors"):
        compute_base_hash(settings_with(base=str(tmp_path)))


def test_auto_is_4bit_for_training_and_on_cuda_and_plain_for_answers_on_a_cpu(settings, adapters):
    import torch

    assert ("Linear4bit" in kinds(load_drafter(settings))) is torch.cuda.is_available()
    assert "Linear4bit" in kinds(load_drafter(settings, trainable=True))


@pytest.mark.parametrize(("quantize", "trainable", "quantized"), [("4bit", False, True), ("none", True, False)])
def test_quantize_can_be_told(adapters, quantize, trainable, quantized):
    drafter = load_drafter(settings_with(quantize=quantize), adapters[0], trainable=trainable)
    assert ("Linear4bit" in kinds(drafter)) is quantized
    assert says(drafter).startswith('{"ticker":"AAPL"')


def test_4bit_weights_still_write_valid_replies():
    drafter = load_drafter(settings_with(quantize="4bit"))
    replies = draft_replies(drafter, [DraftRequest(PROMPT, "AAPL")], 16, settings_with(retries=0), 0)[0]
    assert sum(reply.reply is not None for reply in replies) >= 15


def test_an_adapter_changes_the_answer_and_is_trainable_only_when_asked(settings, adapters, drafter, fresh):
    assert not same(fresh[0], drafter)
    assert not any(weight.requires_grad for weight in fresh[0].model.parameters())
    trainable = load_drafter(settings, adapters[0], trainable=True)
    names = [name for name, weight in trainable.model.named_parameters() if weight.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    assert trainable.model.training


def test_a_desk_answers_as_a_fresh_load_after_every_swap(settings, adapters, fresh):
    desk = LocalModels(settings)
    for turn in (4, 0, 1, 4, 0, 2, 1, 4):
        served = desk.serve([*adapters, None][turn])
        assert served.adapter == fresh[turn].adapter
        assert same(served, fresh[turn])


def test_drafters_handed_out_before_keep_answering_as_themselves(settings, adapters, fresh):
    desk = LocalModels(settings)
    base, first, second = desk.serve(None), desk.serve(adapters[0]), desk.serve(adapters[1])
    for _ in range(2):
        assert same(base, fresh[4])
        assert same(second, fresh[1])
        assert same(first, fresh[0])


def test_the_same_adapter_is_not_loaded_twice_but_changed_files_are(settings, adapters, tmp_path, fresh):
    folder = tmp_path / "20050301"
    shutil.copytree(adapters[0], folder)
    desk = LocalModels(settings)
    first = desk.serve(folder)
    assert desk.serve(folder) is first
    shutil.copytree(adapters[1], folder, dirs_exist_ok=True)
    assert same(desk.serve(folder), fresh[1])
    assert same(first, fresh[0])


def test_a_desk_lets_go_of_old_adapters_and_a_drafter_of_one_says_so(settings, adapters, fresh):
    desk = LocalModels(settings)
    served = [desk.serve(folder) for folder in adapters]
    assert len(adapters) == MAX_ATTACHED_ADAPTERS + 1
    with pytest.raises(NotFound, match="serve it again"):
        says(served[0])
    assert same(served[-1], fresh[3])
    assert same(desk.serve(adapters[0]), fresh[0])


def test_threads_that_draft_with_different_adapters_do_not_mix(settings, adapters, fresh):
    desk = LocalModels(settings)
    expected = {turn: says(fresh[turn]) for turn in (0, 1, 4)}
    came = []

    def work(turn):
        for _ in range(4):
            came.append((turn, says(desk.serve([*adapters, None][turn]))))

    threads = [threading.Thread(target=work, args=(turn,)) for turn in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 12
    assert all(text == expected[turn] for turn, text in came)


def test_a_desk_has_one_judge(settings):
    desk = LocalModels(settings)
    assert desk.judge is desk.judge
    assert desk.judge.name == "starter"
