"""The HTTP sidecar: a decision is stored once and answered truly; what is malformed, foreign or late stores nothing."""

import http.client
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from osiris.api import ensure_api_token, token_path
from osiris.core.errors import WorkspaceError
from osiris.llm.starter import starter_folder
from osiris.llm.starter_recipe import starter_recipe
from osiris.market.sample import load_sample
from osiris.serving.server import start_api
from tests.builders import MOMENT, idea, ideas, make_workspace, outcome_table, with_changes

NOW = MOMENT + timedelta(hours=2)
numbers = itertools.count()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workspace")
    return make_workspace(folder, f'[model]\ncache = "{folder}/cache"\n', NOW)


@pytest.fixture(scope="module")
def api(workspace):
    with start_api(workspace, port=0) as running:
        yield running


@pytest.fixture(scope="module")
def client(api):
    with api.client() as client:
        yield client


@pytest.fixture
def new_idea(workspace):
    """A function that stores one more pending idea."""

    def store(**changes):
        row = idea(number=next(numbers), **changes)
        workspace.advice.add([row])
        return row

    return store


def feedback(row, kind="approval", **content):
    return {
        "transaction_id": row["id"],
        "feedback_type": kind,
        "feedback_content": {"reviewer": "ann", **content},
        "timestamp": NOW.isoformat(),
        "schema_version": "1.0",
    }


def post(client, body, key=None):
    return client.post("/feedback/phi3/", json=body, headers={"Idempotency-Key": key} if key else {})


def post_text(client, text):
    return client.post("/feedback/phi3/", content=text, headers={"Content-Type": "application/json"})


def assert_problem(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    for word in words:
        assert word in problem["detail"]


# -- decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("approval", {}, "approved"),
        ("rejection", {"comment": "no edge"}, "rejected"),
        ("human_edit", {"target": 108.0}, "edited"),
        ("human_edit", {"action": "approve"}, "approved"),
        ("human_edit", {"action": "reject"}, "rejected"),
        ("human_edit", {"action": "edit", "confidence": 0.9}, "edited"),
        ("approval", {"action": "approve", "confidence": 0.6}, "approved"),
    ],
)
def test_a_decision_is_answered_with_the_idea_as_it_then_stands(client, workspace, new_idea, kind, content, status):
    row = new_idea()
    answer = post(client, feedback(row, kind, **content))
    assert answer.status_code == 200, answer.text
    stored = workspace.advice.get(row["id"])
    assert answer.json()["status"] == stored["status"] == status
    assert (stored["reviewer"], stored["status_at"]) == ("ann", NOW)
    (given,) = workspace.advice.feedback(f"transaction_id = '{row['id']}'")
    assert given["feedback_type"] == kind
    assert json.loads(given["feedback_content"]).items() >= content.items()


def test_an_edit_changes_the_levels_and_keeps_the_draft_in_the_feedback(client, workspace, new_idea):
    row = new_idea()
    edited = {"entry": 101, "target": 109.5, "stop": 98, "confidence": 0.4}
    answer = post(client, feedback(row, "human_edit", comment="wider", **edited))
    assert answer.json().items() >= edited.items()
    assert workspace.advice.get(row["id"]).items() >= (edited | {"price": 100.0, "rationale": row["rationale"]}).items()


def test_what_a_client_sees_leaves_out_prompt_reply_and_vector(client, new_idea):
    row = new_idea()
    for seen in (client.get(f"/advice/{row['id']}").json(), post(client, feedback(row)).json()):
        assert seen["id"] == row["id"]
        assert not {"prompt", "reply", "vector"} & set(seen)


def test_a_replay_under_the_same_key_is_one_decision_and_the_same_answer(client, workspace, new_idea):
    row = new_idea()
    first = post(client, feedback(row), "replayed")
    later = feedback(row) | {"timestamp": (NOW + timedelta(seconds=30)).isoformat()}
    assert post(client, later, "replayed").json() == first.json()
    assert len(workspace.advice.feedback(f"transaction_id = '{row['id']}'")) == 1


def test_a_replay_of_the_same_body_without_a_key_is_one_decision(client, workspace, new_idea):
    row = new_idea()
    answers = [post(client, feedback(row, "human_edit", stop=96.0)) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(workspace.advice.feedback(f"transaction_id = '{row['id']}'")) == 1


def test_a_key_used_for_something_else_is_a_conflict(client, workspace, new_idea):
    row, other = new_idea(), new_idea()
    post(client, feedback(row), "taken")
    assert_problem(post(client, feedback(row, "rejection"), "taken"), 409, "fresh key")
    assert_problem(post(client, feedback(other), "taken"), 409, "fresh key")
    assert workspace.advice.get(row["id"])["status"] == "approved"
    assert workspace.advice.get(other["id"])["status"] == "pending"


def test_the_second_reviewer_is_told_who_decided_what_and_when(client, workspace, new_idea):
    row = new_idea()
    post(client, feedback(row))
    second = post(client, feedback(row, "rejection", reviewer="bob"))
    assert_problem(second, 409, "approved", "ann", "2005-02-25 23:00:00+00:00")
    assert workspace.advice.get(row["id"])["reviewer"] == "ann"


@pytest.mark.parametrize(("hours", "status"), [(21.9, 200), (22, 409), (400, 409)])
def test_a_decision_after_the_review_deadline_is_refused(client, workspace, new_idea, hours, status):
    row = new_idea(as_of=MOMENT - timedelta(hours=hours))
    answer = post(client, feedback(row))
    assert answer.status_code == status
    assert workspace.advice.get(row["id"])["status"] == ("approved" if status == 200 else "pending")
    if status == 409:
        assert_problem(answer, 409, "expired", "draft anew")


def test_of_two_reviewers_at_once_exactly_one_wins_each_idea(api, workspace):
    rows, won, lost = ideas(20, ticker="RACE"), [], []
    workspace.advice.add(rows)
    start = threading.Barrier(2)

    def decide_all(name, kind):
        with api.client() as client:
            start.wait(20)
            for row in rows:
                answer = post(client, feedback(row, kind, reviewer=name))
                (won if answer.status_code == 200 else lost).append((row["id"], name, answer.status_code))

    threads = [threading.Thread(target=decide_all, args=a) for a in (("ann", "approval"), ("bob", "rejection"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stored = {(row["id"], row["reviewer"]) for row in workspace.advice.rows("ticker = 'RACE'")}
    assert sorted(won) == sorted((*pair, 200) for pair in stored)
    assert sorted(row for row, _, status in lost if status == 409) == sorted(row["id"] for row in rows)


# -- what is refused --------------------------------------------------------------------------------------------------


def without(name):
    return f"without {name}", lambda body: {key: value for key, value in body.items() if key != name}


def having(**values):
    return f"having {values!a}", lambda body: body | values


def saying(kind="approval", **values):
    changed = {"feedback_type": kind}
    return f"{kind} {values!a}", lambda body: body | changed | {"feedback_content": body["feedback_content"] | values}


def editing(**values):
    return saying("human_edit", **values)


@pytest.mark.parametrize(
    "change",
    [
        having(extra=1),
        saying(size=100),
        without("timestamp"),
        without("feedback_content"),
        having(transaction_id=7),
        having(transaction_id=""),
        having(transaction_id="x" * 65),
        having(transaction_id="\ud800"),
        having(feedback_type="applause"),
        having(feedback_type=None),
        having(feedback_content="fine"),
        having(feedback_content=[]),
        having(timestamp="2005-02-25T21:00:00"),
        having(timestamp="yesterday"),
        having(timestamp="0001-01-01T00:00:00+14:00"),
        having(timestamp="9999-12-31T23:59:59-14:00"),
        having(timestamp=1109365200),
        having(timestamp="1109365200.5"),
        having(schema_version="2.0"),
        having(schema_version=1.0),
        saying(reviewer=""),
        saying(reviewer="r" * 81),
        saying(reviewer="\udc00"),
        saying(comment="c" * 2001),
        saying(comment=["no"]),
        saying(action="reject"),
        saying(target=108.0),
        saying(**{"\ud800": 1}),
        editing(),
        editing(comment="nothing changed"),
        editing(action="hold", target=108.0),
        editing(target="far"),
        editing(target=[108.0]),
        editing(target=float("nan")),
        editing(target=float("inf")),
        editing(stop=float("-inf")),
        editing(confidence=float("nan")),
        editing(confidence=1.01),
        editing(confidence=-0.01),
        editing(entry=0),
        editing(entry=-100.0),
        editing(stop=1e308),
        editing(target=99.0),
        editing(stop=101.0),
        editing(stop=100.0),
        editing(entry=96.0),
        editing(target=100.0 + 2.0 * 100),
        editing(target=140.01),
        editing(stop=59.9),
    ],
    ids=lambda change: change[0][:60],
)
def test_a_malformed_decision_stores_nothing(client, workspace, new_idea, change):
    row, size = new_idea(), workspace.advice.journal.size
    answer = post_text(client, json.dumps(change[1](feedback(row))))
    assert_problem(answer, 422)
    assert workspace.advice.journal.size == size
    assert workspace.advice.get(row["id"])["status"] == "pending"
    assert workspace.advice.feedback(f"transaction_id = '{row['id']}'") == []


def test_levels_within_twenty_atr_of_the_last_price_can_be_set(client, new_idea):
    assert post(client, feedback(new_idea(), "human_edit", target=140.0, stop=60.0)).status_code == 200


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "1" + "0" * 5000]
)
def test_a_number_that_is_none_stores_nothing(client, workspace, new_idea, number):
    row = new_idea()
    text = json.dumps(feedback(row, "human_edit", target=123456.0)).replace("123456.0", number)
    assert post_text(client, text).status_code in (400, 422)
    assert workspace.advice.get(row["id"])["status"] == "pending"


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 30_000, b"{}" * 9, b'{"a": 1, }']
)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason(client, text):
    answer = post_text(client, text)
    assert answer.status_code in (400, 422)
    assert_problem(answer, answer.status_code)


def test_a_refusal_says_which_field_is_wrong_but_not_what_was_sent(client, new_idea):
    answer = post(client, feedback(new_idea(), "human_edit", target="<script>alert(1)</script>"))
    assert_problem(answer, 422, "feedback_content.target")
    assert "script" not in answer.text


def test_levels_on_the_wrong_side_are_explained(client, new_idea):
    short = new_idea(side="short")
    assert_problem(post(client, feedback(short, "human_edit", stop=99.0)), 422, "target < entry < stop")


def test_an_unknown_idea_is_not_found(client):
    assert_problem(post(client, feedback({"id": "nobody's"})), 404, "nobody's")
    assert_problem(post(client, feedback({"id": "' OR '1'='1"})), 404)
    assert_problem(client.get("/advice/nobody's"), 404)


def test_a_path_or_method_that_does_not_exist_is_a_problem_too(client):
    assert_problem(client.get("/nothing"), 404)
    assert_problem(client.get("/feedback/phi3/"), 405)


@pytest.mark.parametrize("size", [65_537, 70_000])
def test_a_body_over_the_limit_is_refused(client, new_idea, size):
    body = json.dumps(feedback(new_idea()))
    assert_problem(post_text(client, body.ljust(size)), 413, "65536")


def test_a_body_of_the_limit_is_read(client, new_idea):
    assert post_text(client, json.dumps(feedback(new_idea())).ljust(65_536)).status_code == 200


def test_a_body_without_a_length_is_refused(client, workspace, new_idea):
    row = new_idea()
    assert_problem(post_text(client, iter([json.dumps(feedback(row)).encode()])), 411, "Content-Length")
    assert workspace.advice.get(row["id"])["status"] == "pending"


def test_a_small_length_does_not_let_a_long_chunked_body_through(api, workspace, new_idea):
    row = new_idea()
    body = json.dumps(feedback(row)).ljust(100_000).encode()
    raw = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=20)
    raw.putrequest("POST", "/feedback/phi3/")
    for name, value in {
        "Authorization": f"Bearer {api.token}",
        "Content-Type": "application/json",
        "Content-Length": "10",
        "Transfer-Encoding": "chunked",
    }.items():
        raw.putheader(name, value)
    raw.endheaders()
    raw.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert raw.getresponse().status in (400, 411)
    raw.close()
    assert workspace.advice.get(row["id"])["status"] == "pending"


# -- what would be ignored or taken for another thing ------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["stats=pending", "Status=pending", "limit=1&x", "limit=1.0", "offset=1_0", "limit=+1"]
)
def test_a_query_that_would_be_read_otherwise_is_refused(client, query):
    assert_problem(client.get(f"/advice?{query}"), 422)
    assert_problem(client.get("/health?adapter=true"), 422, "adapter_date")


def test_a_ticker_is_found_in_whatever_case(client, new_idea):
    row = new_idea(ticker="CASE")
    assert [idea["id"] for idea in client.get("/advice", params={"ticker": " case"}).json()] == [row["id"]]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_of_another_kind_is_named(client, new_idea, kind):
    text = json.dumps(feedback(new_idea()))
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post("/feedback/phi3/", content=text, headers=headers)
    assert_problem(answer, 415, "application/json", kind or "none")


@pytest.mark.parametrize("place", ["outer", "inner"])
def test_a_key_that_stands_twice_decides_nothing(client, workspace, new_idea, place):
    row = new_idea()
    text = json.dumps(feedback(row, "rejection"))
    if place == "outer":
        text = text[:-1] + ', "feedback_type": "approval"}'
    else:
        text = text.replace('"reviewer": "ann"', '"reviewer": "ann", "reviewer": "bob"')
    assert_problem(post_text(client, text), 422, "twice")
    assert workspace.advice.get(row["id"])["status"] == "pending"


def test_a_repeat_without_a_key_of_what_was_taken_back_is_not_answered_as_done(client, workspace, new_idea):
    row = new_idea()
    made = post(client, feedback(row)).json()
    undo = {name: made[name] for name in ("status", "status_at", "reviewer")}
    assert client.post(f"/advice/{row['id']}/undo", json=undo).json()["status"] == "pending"
    assert_problem(post(client, feedback(row)), 409, "Idempotency-Key")
    assert post(client, feedback(row), "anew").json()["status"] == "approved"
    assert_problem(client.post(f"/advice/{row['id']}/undo", json=undo), 409, "Idempotency-Key")
    assert workspace.advice.get(row["id"])["status"] == "approved"


@pytest.mark.parametrize("name", ["\x1b[31mann", "a\x00nn", "an\nn", "   ", "", "a\u202enn", "an\u200bn", "x" * 81])
def test_a_name_that_a_terminal_would_obey_or_nobody_sees_is_refused(client, workspace, new_idea, name):
    row = new_idea()
    assert_problem(post(client, feedback(row, reviewer=name)), 422)
    close = {"reviewer": name, "price": 1.0}
    assert_problem(client.post(f"/advice/{row['id']}/close", json=close), 422)
    assert workspace.advice.get(row["id"])["status"] == "pending"


def test_names_that_look_alike_are_one(client, new_idea):
    assert post(client, feedback(new_idea(), reviewer=" Ren\u0065\u0301 ")).json()["reviewer"] == "Ren\u00e9"


@pytest.mark.parametrize("made", ["empty", "not ASCII", "a folder", "a dangling link", "two words"])
def test_a_token_that_cannot_be_sent_is_named(tmp_path, made):
    workspace = make_workspace(tmp_path)
    path = token_path(workspace)
    path.parent.mkdir()
    texts = {"empty": "\n", "not ASCII": "t\u00f6ken", "two words": "a b"}
    if made == "a folder":
        path.mkdir()
    elif made == "a dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_text(texts[made], encoding="utf-8")
    with pytest.raises(WorkspaceError, match="a token of visible ASCII"):
        ensure_api_token(workspace)


def test_a_token_file_may_end_with_a_line(tmp_path):
    workspace = make_workspace(tmp_path)
    token_path(workspace).parent.mkdir()
    token_path(workspace).write_text("secret\r\n")
    assert ensure_api_token(workspace) == "secret"


# -- who may ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", "wrong", "Bearer \u00fc", "Bearer  x"]
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/feedback/phi3/"), ("GET", "/advice"), ("GET", "/health")])
def test_without_the_token_nothing_is_answered_or_stored(api, workspace, new_idea, header, method, path):
    row = new_idea()
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = httpx.request(method, api.url + path, json=feedback(row), headers=headers, trust_env=False)
    assert_problem(answer, 401, "the bearer token of this workspace")
    assert str(workspace.folder) not in answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    assert api.token not in answer.text
    assert workspace.advice.get(row["id"])["status"] == "pending"


def test_the_token_is_readable_by_its_owner_alone_and_stays_the_same(api, workspace):
    assert token_path(workspace).stat().st_mode & 0o777 == 0o600
    assert len(api.token) >= 32
    assert token_path(make_workspace(workspace.folder)).read_text() == api.token
    assert [p.name for p in workspace.settings.data.glob("*api-token*")] == ["api-token"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""])
def test_a_foreign_host_is_refused(client, workspace, new_idea, host):
    row = new_idea()
    answer = client.post("/feedback/phi3/", json=feedback(row), headers={"Host": host})
    assert answer.status_code == 400
    assert workspace.advice.get(row["id"])["status"] == "pending"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8710"])
def test_loopback_by_any_of_its_names_is_served(client, host):
    assert client.get("/advice", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
        "http://[",
        "file://",
        "http://localhost@evil.example",
    ],
)
def test_a_page_from_elsewhere_is_refused(client, workspace, new_idea, origin):
    row = new_idea()
    answer = client.post("/feedback/phi3/", json=feedback(row), headers={"Origin": origin})
    assert_problem(answer, 403, "review.origins")
    assert workspace.advice.get(row["id"])["status"] == "pending"


@pytest.mark.parametrize("origin", ["http://localhost:8888", "http://127.0.0.1", "http://[::1]:8866"])
def test_a_page_of_this_machine_is_served(client, origin):
    assert client.get("/advice", headers={"Origin": origin}).status_code == 200


def test_a_page_that_settings_name_is_served(tmp_path):
    workspace = make_workspace(tmp_path, '[review]\norigins = ["https://desk.example"]\n', NOW)
    with start_api(workspace, port=0) as api, api.client() as client:
        assert client.get("/advice", headers={"Origin": "https://desk.example"}).status_code == 200
        assert client.get("/advice", headers={"Origin": "https://other.example"}).status_code == 403


# -- closing ----------------------------------------------------------------------------------------------------------


def test_a_trade_is_asked_to_close_once(client, workspace, new_idea):
    row = new_idea(status="approved", status_at=MOMENT, shadow=False)
    answer = client.post(f"/advice/{row['id']}/close", json={"price": 101.5, "reviewer": "ann"})
    assert answer.status_code == 200
    assert (answer.json()["close_asked_price"], answer.json()["close_asked_by"]) == (101.5, "ann")
    assert client.post(f"/advice/{row['id']}/close", json={"price": 101.5}).json()["close_asked_by"] == "ann"
    assert_problem(client.post(f"/advice/{row['id']}/close", json={"price": 99}), 409, "by ann")


@pytest.mark.parametrize("body", [{"price": 0}, {"price": "101"}, {"prise": 1}, {"price": -1}, {"reviewer": ""}])
def test_a_malformed_close_is_refused(client, new_idea, body):
    row = new_idea(status="approved", status_at=MOMENT, shadow=False)
    assert_problem(client.post(f"/advice/{row['id']}/close", json=body), 422)


def test_only_an_open_trade_is_closed(client, new_idea):
    assert_problem(client.post(f"/advice/{new_idea()['id']}/close", json={}), 409, "an accepted idea")
    assert_problem(client.post("/advice/nobody/close", json={}), 404)


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(workspace):
    """Ideas on two tickers of their own, over three days; one approved, one settled."""
    rows = [idea(ticker="READ", number=n, as_of=MOMENT - timedelta(days=n)) for n in range(3)]
    rows += [idea(ticker="R'2", side="short")]
    workspace.advice.add(rows)
    approved = {"status": "approved", "status_at": NOW, "reviewer": "ann", "shadow": False}
    given = {"idempotency_key": "shelf", "transaction_id": rows[0]["id"], "feedback_content": "{}", "ts": NOW}
    workspace.advice.decide(given | {"feedback_type": "approval"}, with_changes(approved))
    workspace.advice.settle(outcome_table({"id": rows[1]["id"], "outcome": "win"}))
    return [row["id"] for row in rows]


def ids(client, **params):
    answer = client.get("/advice", params=params)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()]


def test_ideas_are_listed_newest_first_and_filtered(client, shelf):
    today, yesterday, before, other = shelf
    assert ids(client, ticker="READ") == [today, yesterday, before]
    assert ids(client, ticker="R'2") == [other]
    assert ids(client, ticker="READ", status="approved") == [today]
    assert ids(client, ticker="READ", status="pending") == [yesterday, before]
    assert ids(client, ticker="READ", outcome="win") == [yesterday]
    assert ids(client, ticker="READ", outcome="loss") == []
    assert ids(client, ticker="NONE") == []


def test_a_limit_keeps_the_newest(client, shelf):
    today, yesterday, *_ = shelf
    assert ids(client, ticker="READ", limit=2) == [today, yesterday]


def test_since_is_an_instant_in_whatever_zone_it_is_written(client, shelf):
    today, yesterday, before, _ = shelf
    assert ids(client, ticker="READ", since=MOMENT.isoformat()) == [today]
    assert ids(client, ticker="READ", since="2005-02-25T01:59:00+05:00") == [today, yesterday]
    assert ids(client, ticker="READ", since="0001-01-01T00:00:00Z") == [today, yesterday, before]


@pytest.mark.parametrize(
    "params",
    [
        {"status": "maybe"},
        {"outcome": "draw"},
        {"limit": 0},
        {"limit": 10_001},
        {"limit": "NaN"},
        {"ticker": "T" * 16},
        {"since": "2005-02-25T21:00:00"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"since": "soon"},
        {"since": "0.5"},
        {"since": "1700000000"},
        {"sort": "vector"},
        {"offset": -1},
        {"offset": 10**30},
        {"descending": "perhaps"},
        {"id": ["i"] * 201},
        {"id": "i" * 65},
        {"after": ["i"] * 201},
    ],
    ids=repr,
)
def test_a_question_that_makes_no_sense_is_refused(client, params):
    assert_problem(client.get("/advice", params=params), 422)


def test_a_page_of_ideas_says_how_many_there_are_in_all(client, shelf):
    today, yesterday, before, _ = shelf
    answer = client.get("/advice", params={"ticker": "READ", "offset": 1, "limit": 1})
    assert ([row["id"] for row in answer.json()], answer.headers["X-Total-Count"]) == ([yesterday], "3")
    assert ids(client, ticker="READ", offset=2) == [before]
    behind = client.get("/advice", params={"ticker": "READ", "after": [today, yesterday]})
    assert ([row["id"] for row in behind.json()], behind.headers["X-Offset"]) == ([before], "2")
    assert ids(client, ticker="READ", offset=3) == []
    assert ids(client, ticker="READ", descending=False) == [before, yesterday, today]


def test_ideas_are_asked_for_by_id(client, shelf):
    today, _, before, other = shelf
    assert set(ids(client, id=[today, other, "nobody's"])) == {today, other}
    assert ids(client, id=[before], ticker="NONE") == []


def test_nothing_is_sent_again_until_something_changed(client, new_idea):
    row = new_idea()
    seen = client.get("/advice", params={"id": row["id"]}).headers["ETag"]
    again = client.get("/advice", params={"id": row["id"]}, headers={"If-None-Match": seen})
    assert (again.status_code, again.content) == (304, b"")
    post(client, feedback(row))
    changed = client.get("/advice", params={"id": row["id"]}, headers={"If-None-Match": seen})
    assert (changed.status_code, changed.json()[0]["status"]) == (200, "approved")
    assert changed.headers["ETag"] != seen


# -- taking a decision back -------------------------------------------------------------------------------------------


def take_back(client, decided, key=None, **changes):
    body = {name: decided[name] for name in ("status", "status_at", "reviewer")} | changes
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/advice/{decided['id']}/undo", json=body, headers=headers)


@pytest.mark.parametrize(
    ("kind", "content"),
    [("approval", {}), ("rejection", {}), ("human_edit", {"entry": 101, "target": 109, "stop": 96, "confidence": 0.9})],
)
def test_a_decision_taken_back_leaves_the_idea_as_it_was_drafted(client, workspace, new_idea, kind, content):
    row = new_idea()
    before = client.get(f"/advice/{row['id']}").json()
    decided = post(client, feedback(row, kind, **content)).json()
    assert take_back(client, decided).json() == before
    assert client.get(f"/advice/{row['id']}").json() == before
    given = workspace.advice.feedback(f"transaction_id = '{row['id']}'")
    assert sorted(g["feedback_type"] for g in given) == sorted([kind, "undo"])
    assert post(client, feedback(row, "rejection"), f"anew-{kind}").json()["status"] == "rejected"


def test_taking_back_twice_is_once(client, workspace, new_idea):
    decided = post(client, feedback(new_idea())).json()
    first = take_back(client, decided, "once")
    assert take_back(client, decided, "once").json() == first.json()
    assert_problem(take_back(client, decided, "again"), 409, "pending")
    assert len(workspace.advice.feedback(f"transaction_id = '{decided['id']}'")) == 2


def test_the_moment_of_a_decision_may_be_written_in_any_zone(client, new_idea):
    decided = post(client, feedback(new_idea())).json()
    assert take_back(client, decided, status_at="2005-02-26T04:00:00+05:00").status_code == 200


@pytest.mark.parametrize(
    "changes", [{"status": "rejected"}, {"reviewer": "bob"}, {"status_at": (NOW - timedelta(seconds=1)).isoformat()}]
)
def test_only_the_decision_that_stands_is_taken_back_by_who_made_it(client, workspace, new_idea, changes):
    decided = post(client, feedback(new_idea())).json()
    assert_problem(take_back(client, decided, **changes), 409, "approved by ann at 2005-02-25 23:00:00+00:00")
    assert workspace.advice.get(decided["id"])["status"] == "approved"


def test_what_has_its_outcome_or_was_asked_to_close_is_not_taken_back(client, workspace, new_idea):
    settled, closing = (post(client, feedback(new_idea())).json() for _ in range(2))
    workspace.advice.settle(outcome_table({"id": settled["id"], "outcome": "loss"}))
    assert_problem(take_back(client, settled), 409, "settled as loss")
    client.post(f"/advice/{closing['id']}/close", json={"reviewer": "bob"})
    assert_problem(take_back(client, closing), 409, "bob asked to close")
    assert {workspace.advice.get(row["id"])["status"] for row in (settled, closing)} == {"approved"}


def test_what_is_still_open_is_taken_back_with_its_outcome(client, workspace, new_idea):
    decided = post(client, feedback(new_idea())).json()
    workspace.advice.settle(outcome_table({"id": decided["id"], "outcome": "open", "open_reason": "not yet"}))
    undone = take_back(client, decided).json()
    assert (undone["status"], undone["outcome"], undone["open_reason"]) == ("pending", None, None)


@pytest.mark.parametrize("body", [{}, {"status": "pending"}, {"status": "expired"}, {"status_at": "soon"}, {"x": 1}])
def test_a_malformed_undo_is_refused(client, new_idea, body):
    decided = post(client, feedback(new_idea())).json()
    whole = {"status": "approved", "status_at": decided["status_at"], "reviewer": "ann"}
    answer = client.post(f"/advice/{decided['id']}/undo", json=whole | body if body else {})
    assert_problem(answer, 422)


# -- what stands beside an idea ---------------------------------------------------------------------------------------


def test_beside_an_idea_stand_its_siblings_what_came_before_and_what_was_like_it(client, workspace):
    day, week = timedelta(days=1), timedelta(days=7)
    asked = idea(ticker="SIDE", number=1, vector=[1.0] * 16)
    sibling = asked | {"id": "sibling", "side": "short", "target": 94.0, "stop": 103.0, "vector": [1.0] * 16}
    near = idea(ticker="OTHER", number=2, as_of=MOMENT - week, vector=[0.9] * 16)
    far = idea(ticker="SIDE", number=3, as_of=MOMENT - day, vector=[-1.0] * 16)
    later = idea(ticker="SIDE", number=4, as_of=MOMENT + timedelta(minutes=1), vector=[1.0] * 16)
    unsettled = idea(ticker="SIDE", number=5, as_of=MOMENT - week, vector=[1.0] * 16)
    workspace.advice.add([asked, sibling, near, far, later, unsettled])
    for row, outcome in ((near, "win"), (far, "loss"), (later, "win")):
        workspace.advice.settle(outcome_table({"id": row["id"], "outcome": outcome, "r_multiple": 1.0}))
    found = client.get(f"/advice/{asked['id']}/details").json()
    assert [row["id"] for row in found["siblings"]] == ["sibling"]
    assert [row["id"] for row in found["earlier"]] == [far["id"], unsettled["id"]]
    similar = [(row["id"], round(row["distance"], 2)) for row in found["similar"] if row["ticker"] in ("SIDE", "OTHER")]
    assert similar == [(near["id"], 0.4), (far["id"], 8.0)]
    assert found["bars"] is None


def test_the_bars_beside_an_idea_end_at_the_clock_and_are_in_its_basis(tmp_path):
    friday = MOMENT + timedelta(hours=2)
    workspace = make_workspace(tmp_path, as_of=MOMENT + timedelta(days=4))
    load_sample(workspace.bars, ["AAPL"])
    row = idea(basis_at=MOMENT, price=88.99, entry=88.99, target=95.0, stop=85.0)
    workspace.advice.add([row])
    with start_api(workspace, port=0) as api, api.client() as client:
        bars = client.get(f"/advice/{row['id']}/details").json()["bars"]
    ends = dict(zip(bars["end"], bars["close"], strict=True))
    assert max(ends) == "2005-03-01T21:00:00+00:00"
    assert ends["2005-02-25T21:00:00+00:00"] == pytest.approx(88.99)
    assert ends["2005-02-28T21:00:00+00:00"] == pytest.approx(2 * 44.86)  # after the split of that day, twice as dear
    assert len({len(column) for column in bars.values()}) == 1
    assert friday < workspace.now


def test_no_outcome_beside_an_idea_is_later_than_the_clock(tmp_path):
    workspace = make_workspace(tmp_path, as_of=MOMENT + timedelta(hours=1))
    row, before, sibling = (idea(number=n, as_of=MOMENT - timedelta(days=n)) for n in range(3))
    sibling |= {"prompt_id": row["prompt_id"]}
    workspace.advice.add([row, before, sibling])
    for one in (before, sibling):
        end = {"outcome": "win", "r_multiple": 2.0, "closed_at": MOMENT + timedelta(days=3)}
        workspace.advice.settle(outcome_table({"id": one["id"], **end}))
    with start_api(workspace, port=0) as api, api.client() as client:
        found = client.get(f"/advice/{row['id']}/details").json()
    assert found["similar"] == []
    assert [(one["outcome"], one["r_multiple"]) for one in found["earlier"] + found["siblings"]] == [(None, None)] * 3


def test_what_is_no_symbol_has_no_bars(client, new_idea):
    row = new_idea(ticker="../../x")
    assert client.get(f"/advice/{row['id']}/details").json()["bars"] is None
    assert_problem(client.get("/advice/nobody/details"), 404, "nobody")


# -- many at once -----------------------------------------------------------------------------------------------------


def test_clicks_at_once_are_one_write(tmp_path):
    workspace = make_workspace(tmp_path, as_of=NOW)
    rows = ideas(40)
    workspace.advice.add(rows)
    with start_api(workspace, port=0) as api, api.client() as client, ThreadPoolExecutor(16) as pool:
        post(client, feedback(rows[0]))
        before, entries = workspace.advice.journal.size, len(list(workspace.advice.journal.read()))
        answers = list(pool.map(lambda row: post(client, feedback(row)), rows[1:]))
    assert {answer.status_code for answer in answers} == {200}
    assert workspace.advice.count("status = 'approved'") == len(workspace.advice.feedback()) == 40
    assert workspace.advice.journal.size > before
    assert len(list(workspace.advice.journal.read())) - entries < len(rows) / 2


def test_of_a_group_the_refused_one_is_refused_alone(api, workspace, new_idea):
    rows = [new_idea() for _ in range(12)]
    with api.client() as client, ThreadPoolExecutor(16) as pool:
        bodies = [feedback(row, "human_edit", target=108.0 if n % 3 else 99.0) for n, row in enumerate(rows)]
        codes = list(pool.map(lambda body: post(client, body).status_code, bodies))
    assert codes == [200 if n % 3 else 422 for n in range(12)]
    stored = [workspace.advice.get(row["id"])["status"] for row in rows]
    assert stored == ["edited" if n % 3 else "pending" for n in range(12)]


def test_a_client_that_asks_too_often_is_told_to_wait(tmp_path):
    workspace = make_workspace(tmp_path, "[review]\nmax_requests_per_second = 3\n", NOW)
    workspace.advice.count()  # LanceDB is loaded before the seconds count
    with start_api(workspace, port=0) as api, api.client() as client:
        answers = [client.get("/advice") for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert_problem(answers[-1], 429, "at most 3 requests a second")
        assert answers[-1].headers["Retry-After"] == "1"
        time.sleep(1.1)
        strangers = [httpx.get(f"{api.url}/advice") for _ in range(6)]
        assert {answer.status_code for answer in strangers} == {401, 429}
        assert client.get("/advice").status_code == 200


# -- health -----------------------------------------------------------------------------------------------------------


def test_health_tells_uptime_models_the_mean_score_of_a_day_and_the_newest_adapter(tmp_path):
    workspace = make_workspace(tmp_path, f'[model]\ncache = "{tmp_path}/cache"\n', NOW)
    old = idea(number=3, as_of=NOW - timedelta(hours=24), hermes_score=0.1)
    scores = [0.2, 0.6, None]
    workspace.advice.add([old, *(idea(number=n, hermes_score=s) for n, s in enumerate(scores))])
    (workspace.settings.adapters / "20050225-dpo").mkdir(parents=True)
    (workspace.settings.adapters / "20050301").mkdir()
    with start_api(workspace, port=0) as api, api.client() as client:
        health = client.get("/health").json()
        assert health.pop("uptime") >= 0
        assert health == {"phi_ok": False, "hermes_ok": False, "mean_hermes_score_last_24h": pytest.approx(0.4)}
        starter_folder(starter_recipe("judge"), workspace.settings.model.cache).mkdir(parents=True)
        health = client.get("/health", params={"adapter_date": True}).json()
    assert (health["phi_ok"], health["hermes_ok"], health["latest_adapter"]) == (False, True, "20050225-dpo")


def test_a_model_in_a_folder_is_ready_once_its_weights_are_there_and_an_empty_store_has_no_mean(tmp_path):
    (tmp_path / "model").mkdir()
    workspace = make_workspace(tmp_path, f'[model]\nbase = "{tmp_path}/model"\njudge = "{tmp_path}/none"\n')
    with start_api(workspace, port=0) as api, api.client() as client:
        assert client.get("/health").json()["phi_ok"] is False
        (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
        health = client.get("/health", params={"adapter_date": True}).json()
    assert (health["phi_ok"], health["hermes_ok"]) == (True, False)
    assert health["mean_hermes_score_last_24h"] is health["latest_adapter"] is None


@pytest.mark.parametrize("body", ["[" * 50_000, '{"a":' * 50_000, "[" * 50_000 + "]" * 50_000])
def test_brackets_nested_by_the_thousand_are_malformed_and_no_crash(client, body):
    answer = client.post("/feedback/phi3/", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413, 422)
