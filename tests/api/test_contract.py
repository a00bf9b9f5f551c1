"""The API keeps to its own description: Schemathesis asks whatever the description allows, and what it does not."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from osiris.api.schemas import EXAMPLE_ID
from osiris.serving.server import start_api
from tests.builders import MOMENT, idea, ideas, make_workspace

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,ignored_auth"
)
"""All but `positive_data_acceptance`: levels that are numbers may still make no trade."""
REFUSALS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 411, 413, 422]
"""
"""A text that is too long may also be a body that is too long."""
CONFIG = f"""{REFUSALS}
[parameters]
"path.idea" = "{EXAMPLE_ID}"
"""


@pytest.mark.parametrize("known", [True, False], ids=["an idea that is there", "any text for an idea"])
def test_whatever_is_asked_is_answered_as_described(tmp_path, known, asked_seconds):
    workspace = make_workspace(
        tmp_path, "[review]\nmax_requests_per_second = 100000\n", as_of=MOMENT + timedelta(hours=2)
    )
    workspace.advice.add([idea() | {"id": EXAMPLE_ID}, *(row for row in ideas(20, ticker="MSFT"))])
    (tmp_path / "schemathesis.toml").write_text(CONFIG if known else REFUSALS)
    _ = workspace.load_drafter(), workspace.models.judge  # in memory, so that nothing waits for them
    program = Path(sys.executable).with_name("schemathesis")
    with start_api(workspace, port=0) as api:
        asked = [
            program, "--config-file", tmp_path / "schemathesis.toml", "run", f"{api.url}/openapi.json",
            "--header", f"Authorization: Bearer {api.token}", "--checks", CHECKS, "--max-time", str(asked_seconds),
            "--continue-on-failure", "--seed", "1",
        ]  # fmt: skip
        ran = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    (generated,) = re.findall(r"(\d+) generated", ran.stdout)
    print(f"{generated} requests, {'with' if known else 'without'} a known idea")
    assert int(generated) > 20  # every route was asked; how many times more depends on the machine
    assert workspace.advice.count() == 21
    assert len(workspace.advice.feedback()) > 0
