"""Finding the API of a workspace: the one that runs is found from any process, a note left behind is ignored."""

import json
import os
import subprocess
import sys

import pytest

from osiris.config.settings import PROJECT_ROOT
from osiris.core.errors import SourceUnavailable
from osiris.serving.server import address_path, find_api, start_api
from tests.builders import idea, make_workspace

SERVE = """
import sys
from osiris.serving.server import start_api
from osiris.workspace import open_workspace
with start_api(open_workspace(sys.argv[1]), port=0) as api:
    print(api.url, flush=True)
    api.wait()
"""


@pytest.fixture
def workspace(tmp_path):
    return make_workspace(tmp_path)


def note(workspace, url, pid):
    address_path(workspace).parent.mkdir(exist_ok=True)
    address_path(workspace).write_text(json.dumps({"url": url, "pid": pid}))


def test_no_api_is_found_where_none_was_started(workspace):
    assert find_api(workspace) is None


def test_a_running_api_is_found_and_answers(workspace):
    row = idea()
    workspace.advice.add([row])
    with start_api(workspace, port=0) as api, find_api(workspace) as client:
        assert client.base_url == api.url
        assert [found["id"] for found in client.get("/advice").json()] == [row["id"]]


def test_a_stopped_api_takes_its_address_back(workspace):
    with start_api(workspace, port=0):
        assert json.loads(address_path(workspace).read_text())["pid"] == os.getpid()
    assert not address_path(workspace).exists()
    assert find_api(workspace) is None


def test_stopping_an_older_api_leaves_the_address_of_the_newer(workspace):
    with start_api(workspace, port=0) as older:
        with start_api(workspace, port=0) as newer:
            older.stop()
            with find_api(workspace) as client:
                assert client.base_url == newer.url
        assert not address_path(workspace).exists()


def test_an_api_in_another_process_is_found_until_it_is_killed(workspace, tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().strip()
        with find_api(workspace) as client:
            assert client.base_url == url
    finally:
        server.kill()
        server.communicate()
    assert address_path(workspace).exists()
    assert find_api(workspace) is None


def test_an_address_whose_process_is_gone_is_ignored(workspace, tmp_path_factory):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with start_api(workspace, port=0) as api:
        note(workspace, api.url, gone.pid)
        assert find_api(workspace) is None


def test_an_address_where_nobody_listens_is_ignored(workspace):
    with start_api(workspace, port=0) as api:
        url = api.url
    note(workspace, url, os.getpid())
    assert find_api(workspace) is None


def test_the_api_of_another_workspace_is_not_taken_for_this_one(workspace, tmp_path_factory):
    with start_api(make_workspace(tmp_path_factory.mktemp("other")), port=0) as other:
        note(workspace, other.url, os.getpid())
        assert find_api(workspace) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"url": 1}', '{"url": "x", "pid": "me"}'])
def test_a_note_that_makes_no_sense_is_ignored(workspace, text):
    note(workspace, "", 0)
    address_path(workspace).write_text(text)
    assert find_api(workspace) is None


def test_a_port_in_use_is_said_with_the_remedy_and_leaves_no_address(workspace, tmp_path_factory):
    with start_api(make_workspace(tmp_path_factory.mktemp("other")), port=0) as other:
        with pytest.raises(SourceUnavailable, match=r"review\.port"):
            start_api(workspace, port=int(other.url.rsplit(":", 1)[1]))
        assert find_api(workspace) is None
    assert not address_path(workspace).exists()


def test_the_port_of_the_settings_is_used_when_none_is_given(tmp_path, workspace):
    with start_api(workspace, port=0) as api:
        port = int(api.url.rsplit(":", 1)[1])
    with start_api(make_workspace(tmp_path, f"[review]\nport = {port}\n")) as api:
        assert api.url == f"http://127.0.0.1:{port}"
