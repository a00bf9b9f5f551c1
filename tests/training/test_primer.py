"""The primer on small random models: what it trains, what it makes, and what takes the place of the base."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from osiris.config.settings import ModelSettings, Settings
from osiris.core.errors import BadInput, NotFound
from osiris.llm.chat import format_exchange, token_counter
from osiris.llm.generate import DraftRequest, draft_replies
from osiris.llm.loader import load_drafter
from osiris.llm.primed import PRIMER_ADAPTER, PRIMER_FILE, PrimerRecipe
from osiris.llm.sources import compute_base_hash, is_model_ready, locate_model
from osiris.training import primer
from osiris.training.primer import encode_situation, prime_model, reply_loss
from osiris.training.primer_data import make_situations
from tests.llm.model_factories import save_llama

SHORT = PrimerRecipe(situations=6, batch=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer):
    return save_llama(tmp_path_factory.mktemp("llama"), tokenizer, positions=2048)


@pytest.fixture(scope="module")
def settings(base, cache):
    return Settings(model=ModelSettings(base=str(base), cache=cache, max_new_tokens=64))


@pytest.fixture(scope="module")
def report(settings):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(primer, "CHECK_SITUATIONS", 4)
        return prime_model(settings, SHORT, progress=False)


def primed(settings):
    return settings.model_copy(update={"model": settings.model.model_copy(update={"primed": True})})


def test_the_loss_over_a_shared_prompt_is_that_of_each_reply_by_itself(settings):
    drafter = load_drafter(settings)
    tokenizer, model = drafter.tokenizer, drafter.model.float()
    situation = make_situations(settings, 0, 1, token_counter(tokenizer))[0]
    shared = reply_loss(model, *encode_situation(situation, tokenizer, SHORT))
    total, weight = torch.zeros(()), 0.0
    for reply in situation.replies:
        question, answer = format_exchange(tokenizer, situation.snapshot.prompt, reply.to_json())
        encoded = tokenizer(question + answer, return_offsets_mapping=True, add_special_tokens=False)
        ids = torch.tensor([encoded["input_ids"]])
        losses = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        side = len(question) + answer.index(f'"{reply.side}"')
        reason = len(question) + answer.index(reply.rationale)
        spans = [(side, side + len(f'"{reply.side}"')), (reason, reason + len(reply.rationale))]
        for loss, (start, end) in zip(losses, encoded["offset_mapping"][1:], strict=True):
            if start >= len(question):
                decides = any(start < last and end > first for first, last in spans)
                total = total + loss * (SHORT.decision_weight if decides else 1.0)
                weight += SHORT.decision_weight if decides else 1.0
    assert float(shared.detach()) == pytest.approx(float(total.detach()) / weight, rel=1e-4)


def test_the_balance_is_between_buying_and_selling_for_the_same_reason(settings):
    drafter = load_drafter(settings)
    tokenizer, model = drafter.tokenizer, drafter.model.float()
    situation = make_situations(settings, 0, 1, token_counter(tokenizer))[0]
    encoded = encode_situation(situation, tokenizer, SHORT)
    differences = []
    for buy, sell in zip(situation.replies[::2], situation.replies[1::2], strict=True):
        assert (buy.side, sell.side, buy.rationale) == ("long", "short", sell.rationale.replace("sell", "buy"))
        question, answer = format_exchange(tokenizer, situation.snapshot.prompt, buy.to_json())
        read = question + answer[: answer.index(", buy") + 2]
        logits = model(torch.tensor([tokenizer(read, add_special_tokens=False)["input_ids"]])).logits[0, -1]
        act = {one: tokenizer(read + one, add_special_tokens=False)["input_ids"][-len(one)] for one in ("buy", "sell")}
        differences.append(float((logits[act["buy"]] - logits[act["sell"]]).detach()))
    added = reply_loss(model, *encoded, 2.0) - reply_loss(model, *encoded)
    assert float(added.detach()) == pytest.approx(2 * np.mean(np.square(differences)), rel=1e-3)


def test_the_prompt_learns_too_from_the_replies_to_it(settings):
    drafter = load_drafter(settings)
    model = drafter.model.float()
    situation = make_situations(settings, 0, 1, token_counter(drafter.tokenizer))[0]
    prompt, replies = encode_situation(situation, drafter.tokenizer, SHORT)
    embedding = model.get_input_embeddings().weight.requires_grad_(True)
    reply_loss(model, prompt, replies).backward()
    only_in_prompt = {*prompt} - {token for reply in replies for token in reply.ids}
    assert all(embedding.grad[token].abs().sum() > 0 for token in only_in_prompt)


def test_what_was_made_is_a_model_folder_with_its_adapter_and_its_figures(report, base):
    folder = Path(report.folder)
    content = json.loads((folder / PRIMER_FILE).read_text())
    assert (content["base"], content["report"]["drafts"]) == (str(base), 4)
    assert (folder / PRIMER_ADAPTER / "adapter_model.safetensors").is_file()
    before, after = (load_file(where / "model.safetensors") for where in (base, folder))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in changed} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


def test_it_is_made_once_and_half_a_folder_is_made_anew(report, settings, cache, monkeypatch):
    monkeypatch.setattr(primer, "_train", lambda *_: pytest.fail("trained again"))
    assert prime_model(settings, SHORT, progress=False) == report
    assert not list(cache.glob(".tmp-*"))


def test_with_the_setting_it_drafts_in_place_of_the_base_and_adapters_know_it(report, settings, monkeypatch):
    monkeypatch.setattr("osiris.llm.sources.PrimerRecipe", lambda: SHORT)
    ours = primed(settings)
    assert locate_model(settings.model.base, "drafter", ours) == report.folder
    assert locate_model(settings.model.base, "judge", ours) != report.folder
    assert compute_base_hash(ours) != compute_base_hash(settings)
    assert is_model_ready("drafter", ours)
    request = DraftRequest("Ticker: AAPL\nmomentum up 1.2", "AAPL")
    here, there = (draft_replies(load_drafter(one), [request], 1, one, 0)[0][0].text for one in (ours, settings))
    assert here != there


def test_a_model_that_was_not_primed_yet_names_the_command(settings, report):
    ours = primed(settings)  # of the usual recipe, which nobody made
    assert not is_model_ready("drafter", ours)
    with pytest.raises(NotFound, match="osiris models prime"):
        load_drafter(ours)


def test_a_starter_is_not_primed(cache):
    with pytest.raises(BadInput, match="a starter, which drafts already"):
        prime_model(Settings(model=ModelSettings(cache=cache)))


def test_a_training_that_fails_leaves_nothing(settings, tmp_path, monkeypatch):
    elsewhere = settings.model_copy(update={"model": settings.model.model_copy(update={"cache": tmp_path})})
    monkeypatch.setattr(primer, "_merge", lambda *_: (_ for _ in ()).throw(RuntimeError("no memory")))
    with pytest.raises(RuntimeError, match="no memory"):
        prime_model(elsewhere, PrimerRecipe(situations=1, batch=1), progress=False)
    assert not list(tmp_path.glob("primed-*[!k]"))
    assert not list(tmp_path.glob("primed-*/"))
