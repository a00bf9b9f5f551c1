"""The nightly flow: one at a time."""

import pytest

from flows.nightly import nightly
from osiris.core.errors import Busy
from osiris.core.files import exclusive_lock
from tests.builders import make_workspace


def test_a_second_night_at_the_same_time_is_refused(tmp_path):
    make_workspace(tmp_path).close()
    lock = tmp_path / "data" / "nightly.lock"
    with exclusive_lock(lock, "nightly run"), pytest.raises(Busy, match=r"only nightly run .* another one under way"):
        nightly.fn(str(tmp_path))
