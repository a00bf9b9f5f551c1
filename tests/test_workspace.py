"""Opening a workspace."""

from datetime import UTC, datetime, timedelta

import pytest

from osiris.core.clock import FixedClock
from osiris.core.errors import BadInput, SettingsError, WorkspaceError
from osiris.workspace import open_workspace
from tests.builders import MOMENT


def test_opening_makes_no_file(tmp_path):
    open_workspace(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_moment_fixes_the_clock_and_none_leaves_the_systems(tmp_path):
    assert open_workspace(tmp_path, MOMENT).now == MOMENT
    assert open_workspace(tmp_path, "2005-02-25T16:00:00-05:00").now == MOMENT
    assert open_workspace(tmp_path, "").now - datetime.now(UTC) < timedelta(seconds=5)


def test_a_moment_without_zone_is_refused(tmp_path):
    with pytest.raises(BadInput, match="time zone"):
        open_workspace(tmp_path, "2005-02-25T16:00:00")


def test_a_historical_clock_only_moves_forwards():
    clock = FixedClock(MOMENT)
    clock.set(MOMENT + timedelta(hours=1))
    with pytest.raises(BadInput, match="forwards"):
        clock.set(MOMENT)


def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(WorkspaceError, match="can be written"):
        open_workspace("/proc")


def test_an_untrained_workspace_serves_the_base(tmp_path):
    served = open_workspace(tmp_path, MOMENT).find_served()
    assert (served.name, served.path, served.skipped) == (None, None, ())


def test_the_clock_stands_at_the_moment_of_the_settings_unless_told_otherwise(tmp_path):
    (tmp_path / "osiris.toml").write_text("[clock]\nas_of = 2005-06-07T02:00:00-04:00\n")
    assert open_workspace(tmp_path).now == datetime(2005, 6, 7, 6, tzinfo=UTC)
    assert open_workspace(tmp_path, MOMENT).now == MOMENT


def test_a_moment_without_its_zone_is_refused(tmp_path):
    (tmp_path / "osiris.toml").write_text("[clock]\nas_of = 2005-06-07T02:00:00\n")
    with pytest.raises(SettingsError, match=r"clock\.as_of"):
        open_workspace(tmp_path)
