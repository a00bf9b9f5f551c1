"""What is a patch on the queue, and what becomes of what is none."""

import json

import pytest

from osiris.core.errors import BadInput
from osiris.kernel.patch import list_touched_files, parse_patch, patch_from_diff, patch_from_text
from osiris.kernel.repo import PolicyRepo
from osiris.sandbox.checkers import PatchRefused
from osiris.storage.events import Events
from osiris.storage.patches import APPLIED_PATCHES_KEY, DEAD_LETTERS_KEY, ROLLED_BACK_TRACES_KEY, PatchLists
from tests.builders import MOMENT
from tests.kernel.test_repo import GOOD, diff_of


@pytest.fixture
def repo(tmp_path):
    return PolicyRepo(tmp_path / "policy.git")


@pytest.fixture
def lists(tmp_path):
    events = Events(tmp_path / "redis")
    yield PatchLists(events)
    events.close()


@pytest.fixture
def patch(repo):
    return patch_from_diff(GOOD, repo.head(), repo, "ann")


def test_a_patch_goes_through_the_queue_as_it_is(patch):
    assert parse_patch(patch.to_json()) == patch
    assert set(json.loads(patch.to_json())) == {"target", "before", "after", "diff", "by"}


def test_who_drafted_a_patch_makes_no_other_patch_of_it(patch, repo):
    assert patch_from_diff(GOOD, repo.head(), repo, "bob").id == patch.id
    assert patch_from_diff(diff_of("RISK = 0.01", "RISK = 0.006"), repo.head(), repo, "ann").id != patch.id


def test_a_changed_text_is_a_patch_that_applies(repo):
    live = repo.head()
    changed = patch_from_text("gate.py", live.files["gate.py"] + "EXTRA = 1\n", live, "mutation")
    assert repo.apply_diff(live.commit, changed.diff)["gate.py"] == changed.after


@pytest.mark.parametrize(
    "spoil",
    [
        {"target": None}, {"target": "gate.py\nPatch-Id: none"}, {"target": "settings.py"},
        {"diff": ""}, {"diff": 5}, {"extra": 1}, {"sig": "abc"}, {"by": ""}, {"by": "a\nb"},
        {"before": "x" * 100_001},
    ],
)  # fmt: skip
def test_what_is_no_patch_is_refused_with_the_reason(patch, spoil):
    item = {**json.loads(patch.to_json()), **spoil}
    with pytest.raises(PatchRefused, match=next(iter(spoil))):
        parse_patch(json.dumps(item))


@pytest.mark.parametrize("item", ["", "{", "[]", "null", "[" * 50_000, '{"target": 1', "x" * 500_000])
def test_what_is_no_json_object_is_refused(item):
    with pytest.raises(PatchRefused):
        parse_patch(item)


def test_with_a_key_only_signed_patches_are_read(patch):
    signed = patch.with_signature("secret")
    assert parse_patch(signed.to_json(), "secret") == signed
    for forged in (patch, patch.with_signature("other"), signed.model_copy(update={"diff": GOOD + "\n"})):
        with pytest.raises(PatchRefused, match="sig"):
            parse_patch(forged.to_json(), "secret")


def test_a_diff_that_does_not_apply_is_refused_when_it_is_submitted(repo):
    with pytest.raises(BadInput, match="does not apply"):
        patch_from_diff(GOOD.replace("-RISK = 0.01", "-RISK = 0.07"), repo.head(), repo, "ann")


def test_touched_names_what_git_would_touch():
    assert list_touched_files(GOOD) == ["sizing.py"]
    assert list_touched_files(diff_of("RISK = 0.01", "RISK = 0.005", folder="osiris/policy/")) == ["sizing.py"]
    assert list_touched_files("--- a/tests/test_gate.py\n+++ b/tests/test_gate.py\n@@ -1 +1 @@\n-a\n+b\n") == [
        "tests/test_gate.py"
    ]


def test_an_item_stays_in_the_queue_until_it_is_dropped(lists):
    lists.push("a")
    lists.push("b")
    assert [lists.peek(0), lists.peek(0), lists.peek(1), lists.peek(2), lists.queue_length()] == [
        "a",
        "a",
        "b",
        None,
        2,
    ]
    lists.remove("a")
    assert (lists.peek(0), lists.queue_length()) == ("b", 1)


def test_a_dead_letter_keeps_the_item_and_the_reason(lists):
    lists.push("nonsense")
    lists.dead_letter("nonsense", "no JSON", MOMENT)
    assert lists.peek(0) is None
    assert lists.read_list(DEAD_LETTERS_KEY) == [{"item": "nonsense", "reason": "no JSON", "at": MOMENT.isoformat()}]


def test_bytes_that_are_no_text_do_not_stop_the_queue(lists):
    lists.push("a")
    lists._events.execute(lambda redis: redis.lpush("dgm:patch_queue", b"\xff\xfe"))
    lists.push("b")
    assert [lists.peek(0), lists.peek(1), lists.peek(2)] == ["a", "b", None]
    assert [letter["reason"] for letter in lists.read_list(DEAD_LETTERS_KEY)] == ["bytes that are no UTF-8"]


def test_redis_is_told_of_a_step_once_however_often(lists):
    told = {"id": "p1", "commit": "c1"}
    heard = lists._events.subscribe("patch.applied", "patch.rolled_back")
    traces = [{"id": "a", "pnl": -0.01}, {"id": "b", "pnl": -0.02}]
    for _ in range(3):
        lists.announce_applied(told)
        lists.announce_rolled_back(told, traces)
    assert lists.read_list(APPLIED_PATCHES_KEY) == [told]
    assert lists.read_list(ROLLED_BACK_TRACES_KEY) == traces[::-1]
    messages = [heard.get_message(timeout=0.5) for _ in range(3)]
    assert [message and message["channel"] for message in messages] == ["patch.applied", "patch.rolled_back", None]
