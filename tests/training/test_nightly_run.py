"""What a night is: one moment and one champion a date, whenever the night before was and however often it is run."""

from datetime import UTC, datetime, timedelta

import pytest

from osiris.adapters.registry import AdapterRegistry
from osiris.core.errors import BadInput
from osiris.core.run_log import collect_warnings
from osiris.training.datasets import AcceptedReply, write_dataset
from osiris.training.learned_decisions import build_learned_filter
from osiris.training.nightly_run import begin_nightly_run, end_nightly_run, nightly_date
from tests.builders import adapter_card, make_settings, trained_adapter

FIRST = datetime(2005, 6, 8, 6, 0, 5, tzinfo=UTC)
REMOTE = '[llm]\nbackend = "openai"\n'
"""Adapters of these tests fit no model: they are not probed."""


@pytest.fixture
def shelf(tmp_path):
    return AdapterRegistry(tmp_path / "adapters", lambda: "b" * 64)


@pytest.fixture(params=["newest", "better"])
def settings(tmp_path, request):
    return make_settings(tmp_path, f'{REMOTE}[gate]\nserve = "{request.param}"\n')


def publish(shelf, night, suffix="", **card):
    """An adapter of the night, promoted."""
    name = f"{night.name}{suffix}"
    value = 0.1 + len(shelf.names()) / 10
    folder = trained_adapter(shelf.folder.parent / name, value)
    shelf.publish(name, folder, adapter_card(as_of=night.as_of, **card))
    shelf.record_verdict(name, {"promoted": True})
    return name


def held(shelf, settings, as_of):
    """A whole night that publishes two adapters; what it was."""
    night = begin_nightly_run(shelf, settings, as_of)
    publish(shelf, night)
    publish(shelf, night, "-dpo")
    end_nightly_run(settings, night)
    return night


@pytest.mark.parametrize(
    "apart",
    [timedelta(hours=24, seconds=-3), timedelta(hours=23), timedelta(hours=18, minutes=5), timedelta(days=3)],
)
def test_the_champion_of_a_night_is_what_was_served_when_it_began(shelf, settings, apart):
    first = held(shelf, settings, FIRST)
    assert first.champion is None
    assert begin_nightly_run(shelf, settings, FIRST + apart).champion == "20050608-dpo"


def test_nights_seconds_apart_but_of_two_dates_follow_each_other(shelf, settings):
    held(shelf, settings, datetime(2005, 6, 8, 23, 59, 58, tzinfo=UTC))
    second = begin_nightly_run(shelf, settings, datetime(2005, 6, 9, 0, 0, 1, tzinfo=UTC))
    assert (second.name, second.champion) == ("20050609", "20050608-dpo")


@pytest.mark.parametrize("ended", [False, True])
def test_a_night_that_is_run_again_goes_on_as_it_began(shelf, settings, ended):
    held(shelf, settings, FIRST - timedelta(days=1))
    night = begin_nightly_run(shelf, settings, FIRST)
    publish(shelf, night)
    if ended:
        end_nightly_run(settings, night)
    shelf.demote("20050607-dpo", "ann", "nonsense", FIRST)
    again = begin_nightly_run(shelf, settings, FIRST + timedelta(hours=9))
    assert (again.as_of, again.champion) == (FIRST, "20050607-dpo")


def test_a_night_killed_before_it_published_goes_on_too(shelf, settings):
    begin_nightly_run(shelf, settings, FIRST)
    assert begin_nightly_run(shelf, settings, FIRST + timedelta(hours=3)).as_of == FIRST
    earlier = FIRST - timedelta(hours=1)
    assert begin_nightly_run(shelf, settings, earlier).as_of == earlier, "nothing later than asked is known"


def test_a_night_that_ended_without_an_adapter_leaves_its_date_to_a_later_try(shelf, settings):
    end_nightly_run(settings, begin_nightly_run(shelf, settings, FIRST))
    later = FIRST + timedelta(hours=3)
    assert begin_nightly_run(shelf, settings, later).as_of == later


def test_tonights_own_adapter_is_never_its_champion_even_where_the_record_is_lost(shelf, settings):
    held(shelf, settings, FIRST)
    (settings.data / "nights" / "20050608.json").unlink()
    assert begin_nightly_run(shelf, settings, FIRST + timedelta(hours=1)).champion is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "20050608"}'])
def test_a_record_that_cannot_be_read_is_named(shelf, settings, text):
    begin_nightly_run(shelf, settings, FIRST)
    (settings.data / "nights" / "20050608.json").write_text(text)
    with pytest.raises(BadInput, match=r"20050608\.json"):
        begin_nightly_run(shelf, settings, FIRST)


def test_the_date_of_a_night_is_that_of_utc():
    assert nightly_date(datetime.fromisoformat("2005-06-08T23:30:00-05:00")) == "20050609"


# -- what adapters have learned from ----------------------------------------------------------------------------------


@pytest.fixture
def taught(shelf, settings):
    """A night that learned from the ideas a and b; the one after it."""
    first = begin_nightly_run(shelf, settings, FIRST)
    path = settings.data / "datasets" / "feedback-20050608.jsonl"
    write_dataset(path, [AcceptedReply("p", "r", one) for one in "ab"], FIRST, "feedback")
    return first, begin_nightly_run(shelf, settings, FIRST + timedelta(days=1)), path


def test_a_decision_is_learned_from_once_and_a_later_one_on_the_same_idea_anew(shelf, settings, taught):
    publish(shelf, taught[0])
    with collect_warnings() as notes:
        learned = build_learned_filter(shelf, settings, taught[1])
    hour = timedelta(hours=1)
    assert [learned(one, FIRST - hour) for one in "abc"] == [True, True, False]
    assert not learned("a", FIRST + hour)
    assert notes == []


def test_what_a_failed_training_was_shown_is_not_learned(shelf, settings, taught):
    publish(shelf, taught[0], failed="valid replies fell")
    assert not build_learned_filter(shelf, settings, taught[1])("a", FIRST - timedelta(hours=1))


def test_a_night_that_is_run_again_does_not_count_its_own_adapter(shelf, settings, taught):
    publish(shelf, taught[0])
    assert not build_learned_filter(shelf, settings, taught[0])("a", FIRST - timedelta(hours=1))


@pytest.mark.parametrize("damage", ["json", "jsonl"])
def test_where_a_dataset_is_lost_nothing_older_is_taught_twice_and_a_note_says_so(shelf, settings, taught, damage):
    publish(shelf, taught[0])
    taught[2].with_suffix(f".{damage}").unlink()
    with collect_warnings() as notes:
        learned = build_learned_filter(shelf, settings, taught[1])
    assert (learned("c", FIRST), learned("c", FIRST + timedelta(seconds=1))) == (True, False)
    assert "what 20050608 learned from is lost" in notes[0]
