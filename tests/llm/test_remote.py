"""Models on a server: the starters behind transformers' own OpenAI-compatible server."""

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from osiris.config.settings import LlmSettings, ModelSettings, Settings
from osiris.core.errors import BadInput, NotFound, SettingsError, SourceUnavailable
from osiris.drafting.draft_ideas import DraftingContext, draft_ideas
from osiris.llm import starter_data as data
from osiris.llm.generate import DraftRequest, draft_replies, unconstrained
from osiris.llm.hermes import JudgedIdea, score_ideas
from osiris.llm.loader import load_drafter
from osiris.llm.local_models import LocalModels
from osiris.llm.models import open_models
from osiris.llm.starter import ensure_starter
from osiris.market.sample import load_sample
from tests.builders import MOMENT, make_settings, make_workspace
from tests.llm.server import transformers_server

LIKELIEST = ModelSettings(temperature=0, retries=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server's address."""
    with transformers_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="module")
def remote(server, settings):
    """Settings under which the server answers; it names a model by its folder."""
    names = {kind: str(ensure_starter(kind, settings)) for kind in ("drafter", "judge")}
    return Settings(model=LIKELIEST, llm=LlmSettings(backend="openai", url=server, adapter="{path}", **names))


@pytest.fixture(scope="module")
def requests():
    rng = random.Random(7)
    tickers = ["AAPL", "0700.HK", "^GSPC", "BRK-B"]
    return [DraftRequest(data.render_draft_prompt(ticker, data.random_features(rng)), ticker) for ticker in tickers]


def with_llm(settings, **changes):
    return settings.model_copy(update={"llm": settings.llm.model_copy(update=changes)})


def texts(models, adapter, requests, settings):
    return [group[0].text for group in draft_replies(models.serve(adapter), requests, 1, settings, 0)]


def test_a_server_drafts_as_the_same_model_does_here(remote, requests):
    here = Settings(model=LIKELIEST)
    assert texts(open_models(remote), None, requests, remote) == texts(open_models(here), None, requests, here)


def test_an_adapter_is_asked_for_by_the_servers_name_for_it(remote, requests, adapters, tmp_path):
    # this server has no LoRA modules: what it is given is the base with the adapter merged into it
    merged = tmp_path / f"{adapters[1].name}-merged"
    whole, here = load_drafter(remote, adapters[1]), unconstrained(Settings(model=LIKELIEST))
    whole.model.merge_and_unload().save_pretrained(merged)
    whole.tokenizer.save_pretrained(merged)
    named = with_llm(remote, adapter=f"{tmp_path}/{{name}}-merged")
    desk = open_models(named)
    assert desk.serve(adapters[1]).adapter == adapters[1].name
    assert texts(desk, adapters[1], requests, named) == texts(LocalModels(here), adapters[1], requests, here)
    assert texts(desk, adapters[1], requests, named) != texts(desk, None, requests, named)


def test_hermes_on_a_server_gives_the_numbers_that_are_read_from_the_logits_here(remote):
    rng, ideas = random.Random(11), []
    for _ in range(24):
        market = data.random_features(rng)
        ideas.append(JudgedIdea(data.random_reply(rng, "IBM", market).to_json(), data.render_snapshot(market)))
    there, here = (score_ideas(open_models(one).judge, ideas, 8) for one in (remote, Settings()))
    assert there == here
    assert len({one.raw for one in here}) > 3


def test_a_judge_that_writes_no_number_gives_no_score(remote):
    drafter_as_judge = with_llm(remote, judge=remote.llm.drafter)
    found = score_ideas(open_models(drafter_as_judge).judge, [JudgedIdea("{}")], 8)[0]
    assert (found.raw, found.normalized) == (None, None)
    assert "no whole number" in found.note


def test_a_model_that_the_server_does_not_have_is_named(remote, requests):
    other = with_llm(remote, drafter="nobody/nothing")
    with pytest.raises((NotFound, SourceUnavailable), match="nobody/nothing"):
        draft_replies(open_models(other).serve(None), requests, 1, other, 0)


def test_where_nobody_listens_the_error_names_the_address(requests):
    nobody = Settings(llm=LlmSettings(backend="openai", url="http://127.0.0.1:9/v1"))
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:9.*start the server"):
        draft_replies(open_models(nobody).serve(None), requests, 1, nobody, 0)


def test_a_server_is_ready_when_it_answers(remote):
    assert open_models(remote).is_ready("drafter")
    assert not open_models(with_llm(remote, url="http://127.0.0.1:9/v1")).is_ready("judge")


def test_a_workspace_whose_models_are_on_a_server_drafts_and_scores_there(tmp_path, remote):
    llm = remote.llm
    toml = f'''[model]\ntemperature = 0\n[advise]\ntickers = ["AAPL"]\ncandidates = 2\n[prices]\nsource = "local"
[llm]\nbackend = "openai"\nurl = "{llm.url}"\ndrafter = "{llm.drafter}"\njudge = "{llm.judge}"\n'''
    workspace = make_workspace(tmp_path, toml, MOMENT)
    load_sample(workspace.bars, ["AAPL"])
    context = DraftingContext(
        workspace.advice, workspace.prices, workspace.events, workspace.policy, workspace.settings
    )
    report = draft_ideas(context, workspace.load_drafter(), workspace.models.judge, [MOMENT])
    workspace.close()
    assert (report.adapter, report.stored, report.unscored) == ("base", 2, 0)


@pytest.fixture
def odd():
    """A function that starts a server which gives every request this answer; its settings."""
    servers = []

    def start(status, body):
        class Odd(BaseHTTPRequestHandler):
            def do_POST(self):
                said = body.replace("KEY", self.headers["Authorization"]).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if body.startswith("{") else "text/html")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Odd))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{servers[-1].server_port}/v1"
        return Settings(llm=LlmSettings(backend="openai", url=url, key="secret-key"))

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>KEY</html>"),
        (200, "{broken"),
        (200, '{"choices": []}'),
        (200, '{"choices": ' + "[" * 50_000 + "]" * 50_000 + "}"),
        (200, "{}"),
        (200, '{"choices": [{"index": 0, "text": null, "finish_reason": "stop"}]}'),
        (401, '{"error": {"message": "no such key: KEY"}}'),
    ],
)
def test_an_answer_that_is_none_is_no_answer_and_the_key_stays_secret(odd, requests, status, body):
    settings = odd(status, body)
    models = open_models(settings)
    with pytest.raises(SourceUnavailable, match="an answer of starter") as refused:
        draft_replies(models.serve(None), requests[:1], 1, settings, 0)
    assert "secret-key" not in str(refused.value)
    assert not models.is_ready("drafter")


def test_what_a_server_cannot_be_asked_is_not_put_down_to_its_being_away(odd, requests):
    settings = odd(400, '{"error": {"message": "add_special_tokens is unknown"}}')
    with pytest.raises(BadInput, match="add_special_tokens is unknown"):
        draft_replies(open_models(settings).serve(None), requests[:1], 1, settings, 0)


@pytest.mark.parametrize(
    ("text", "ended", "number"),
    [(" 10", "stop", 10), ("\\n10", "stop", 10), ("10", "length", None), ("75", "stop", None), ("7.5", "stop", None)],
)
def test_a_number_that_a_server_wrote_is_read_whole_or_not_at_all(odd, text, ended, number):
    settings = odd(200, f'{{"choices": [{{"index": 0, "text": "{text}", "finish_reason": "{ended}"}}]}}')
    assert score_ideas(open_models(settings).judge, [JudgedIdea("{}")], 1)[0].raw == number


@pytest.mark.parametrize("name", ["{nme}", "{", "{0}", "{name.parent}", "{path!r}", "{name:>9}"])
def test_only_name_and_path_of_an_adapter_are_put_into_the_servers_name_for_it(name):
    with pytest.raises(ValueError, match="adapter"):
        LlmSettings(adapter=name)


def test_the_key_is_not_shown(tmp_path):
    assert "secret-key" not in repr(Settings(llm=LlmSettings(key="secret-key")))
    with pytest.raises(SettingsError) as refused:
        make_settings(tmp_path, "[llm]\nkey = 123456789\n")
    assert "123456789" not in str(refused.value)
