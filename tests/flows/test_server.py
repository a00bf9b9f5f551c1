"""Prefect's temporary server ends with the process whose flows it serves."""

import subprocess
import sys

import psutil
from prefect.server.api.server import SubprocessASGIServer

from flows.server import TemporaryServer, prefect_server
from tests.builders import make_settings
from tests.core.test_server_lifetime import ended

STARTS_A_SERVER = """
import time
from flows.server import TemporaryServer
print(TemporaryServer(0)._run_uvicorn_command().pid, flush=True)
time.sleep(60)
"""


def test_flows_are_given_the_server_that_ends_with_us(tmp_path):
    with prefect_server(make_settings(tmp_path)):
        assert isinstance(SubprocessASGIServer(), TemporaryServer)


def test_a_killed_process_leaves_no_server_even_while_it_starts():
    with subprocess.Popen([sys.executable, "-c", STARTS_A_SERVER], stdout=subprocess.PIPE, text=True) as owner:
        server = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
    assert ended(server)
