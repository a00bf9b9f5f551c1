import json
import random
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict

import numpy as np
import pytest

from osiris.core.ideas import Side
from osiris.llm import starter_data as data
from osiris.llm.generate import DraftRequest, draft_replies
from osiris.llm.hermes import JudgedIdea, score_ideas
from osiris.llm.sources import is_model_ready
from osiris.llm.starter import ensure_starter, ensure_starter_folder, ensure_starters, starter_folder
from osiris.llm.starter_recipe import PROMPTS_FOLDER, recipe_key, starter_recipe
from tests.llm.conftest import settings_with

ODD = ["BRK-B", "^GSPC", "BTC-USD", "0700.HK", "EURUSD=X", "600519.SS", "A", "ABCDEFGHIJKLMNO"]


def quick(kind="drafter", seed=0):
    return starter_recipe(kind, seed, steps=2)


def weights(folder):
    return (folder / "model.safetensors").read_bytes(), (folder / "tokenizer.json").read_bytes()


def written_at(folder):
    file = (folder / "model.safetensors").stat()
    return file.st_ino, file.st_mtime_ns


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return ensure_starter_folder(quick(), tmp_path_factory.mktemp("cache"), progress=False)


def draw(drafter, tickers):
    settings = settings_with(retries=0)
    rng = random.Random("fresh prompts")
    markets = [data.random_features(rng) for _ in tickers]
    asked = zip(tickers, markets, strict=True)
    requests = [DraftRequest(data.render_draft_prompt(ticker, market), ticker) for ticker, market in asked]
    return [drafts[0].reply for drafts in draft_replies(drafter, requests, 1, settings, 0)], markets


@pytest.mark.parametrize("tickers", [["AAPL", "GOOG", "IBM", "MSFT"], ODD], ids=["usual", "odd"])
def test_the_drafter_is_valid_and_means_what_it_says_on_any_ticker(drafter, tickers):
    replies, markets = draw(drafter, tickers * (256 // len(tickers)))
    valid = [(reply, market) for reply, market in zip(replies, markets, strict=True) if reply]
    assert len(valid) >= 0.98 * len(replies)
    assert np.mean([data.is_coherent(*pair) for pair in valid]) >= 0.98


def test_the_drafter_has_no_edge(drafter):
    replies, markets = draw(drafter, ["AAPL"] * 512)
    longs = np.array([reply.side is Side.LONG for reply in replies if reply])
    assert abs(longs.mean() - 0.5) < 0.1
    for feature in range(3):
        rising = np.array([market[feature].value >= 0 for market, r in zip(markets, replies, strict=True) if r])
        assert abs((longs == rising).mean() - 0.5) < 0.1


def test_candidates_of_a_prompt_often_share_their_bracket(drafter, settings):
    market = data.random_features(random.Random(1))
    requests = [DraftRequest(data.render_draft_prompt(ticker, market), ticker) for ticker in ODD * 4]
    shared, drawn = 0, 0
    for drafts in draft_replies(drafter, requests, 6, settings, 0):
        brackets = [(each.reply.target_atr, each.reply.stop_atr) for each in drafts if each.reply]
        assert set(brackets) <= {(target, stop) for target in data.TARGET_ATRS for stop in data.STOP_ATRS}
        shared += sum(brackets.count(bracket) > 1 for bracket in brackets)
        drawn += len(brackets)
    assert shared / drawn > 0.2


def test_the_judge_knows_the_score_it_was_taught(judge):
    rng = random.Random("fresh ideas")
    ideas, taught = [], []
    for _ in range(400):
        market = data.random_features(rng)
        reply = data.random_reply(rng, data.random_symbol(rng), market)
        ideas.append(JudgedIdea(reply.to_json(), data.render_snapshot(market)))
        taught.append(data.reference_score(reply, market))
    raw = [result.raw for result in score_ideas(judge, ideas, 64)]
    assert None not in raw
    assert np.corrcoef(raw, taught)[0, 1] >= 0.7
    assert len(set(raw)) >= 8


def test_a_starter_is_saved_with_safetensors_tokenizer_and_recipe(built):
    assert {"model.safetensors", "tokenizer.json", "config.json", "recipe.json"} <= {p.name for p in built.iterdir()}
    assert json.loads((built / "recipe.json").read_text())["steps"] == 2
    assert json.loads((built / "config.json").read_text())["architectures"] == ["Phi3ForCausalLM"]


def test_a_recipe_gives_the_same_bytes_whatever_the_callers_threads_and_random_state(built, tmp_path):
    import torch

    threads = torch.get_num_threads()
    other = 3 - min(threads, 2)
    torch.set_num_threads(other)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = ensure_starter_folder(quick(), tmp_path, progress=False)
    assert weights(again) == weights(built)
    assert torch.get_num_threads() == other
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_num_threads(threads)


def test_another_seed_gives_other_weights(built, tmp_path):
    assert weights(ensure_starter_folder(quick(seed=1), tmp_path, progress=False))[0] != weights(built)[0]


def test_a_starter_in_the_cache_is_not_built_again(built):
    before = {path: path.stat().st_mtime_ns for path in built.iterdir()}
    assert ensure_starter_folder(quick(), built.parent, progress=False) == built
    assert {path: path.stat().st_mtime_ns for path in built.iterdir()} == before


def test_a_build_that_died_is_not_taken_for_a_starter(tmp_path):
    settings = settings_with(cache=tmp_path)
    folder = starter_folder(quick(), tmp_path)
    dead = folder.with_name(f".tmp-{folder.name}")
    dead.mkdir()
    (dead / "model.safetensors").write_bytes(b"half")
    (dead / "junk").write_bytes(b"")
    assert not folder.exists()
    built = ensure_starter("drafter", settings, steps=2, progress=False)
    assert built == folder
    assert not dead.exists()
    assert not (built / "junk").exists()


def test_both_starters_come_from_the_cache_when_it_has_them(settings, drafter_folder):
    judge_folder = ensure_starter("judge", settings)
    written = [written_at(folder) for folder in (drafter_folder, judge_folder)]
    assert ensure_starters(settings) == {"drafter": drafter_folder, "judge": judge_folder}
    assert [written_at(folder) for folder in (drafter_folder, judge_folder)] == written


def test_a_module_run_builds_what_its_recipe_says(tmp_path):
    command = [sys.executable, "-m", "osiris.llm.starter", json.dumps(asdict(quick("judge"))), str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert starter_folder(quick("judge"), tmp_path).is_dir()
    assert shown.stdout == ""


def test_two_that_want_the_same_starter_build_it_once(tmp_path):
    found = []
    wanting = [
        threading.Thread(target=lambda: found.append(ensure_starter_folder(quick("judge"), tmp_path, progress=False)))
        for _ in range(2)
    ]
    for thread in wanting:
        thread.start()
    for thread in wanting:
        thread.join()
    assert found == [starter_folder(quick("judge"), tmp_path)] * 2
    assert not list(tmp_path.glob(".tmp-*"))


def test_readiness_is_about_the_very_recipe_that_would_be_loaded(tmp_path):
    settings = settings_with(cache=tmp_path)
    for kind in ("drafter", "judge"):
        assert not is_model_ready(kind, settings)
        starter_folder(starter_recipe(kind), tmp_path).mkdir()
        assert is_model_ready(kind, settings)


def test_the_key_changes_with_recipe_and_templates(tmp_path):
    shutil.copytree(PROMPTS_FOLDER, tmp_path, dirs_exist_ok=True)
    key = recipe_key(quick(), tmp_path)
    assert key == recipe_key(quick())
    assert recipe_key(quick(seed=1)) != key
    for name in ("advise", "hermes", "snapshot"):
        template = tmp_path / f"{name}.jinja"
        text = template.read_text()
        template.write_text(text + " ")
        assert recipe_key(quick(), tmp_path) != key
        template.write_text(text)


def test_the_progress_bar_goes_to_stderr(tmp_path, capsys):
    ensure_starter_folder(quick(), tmp_path, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "building the starter drafter" in shown.err
