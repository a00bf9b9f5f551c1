"""LanceDB is imported without the seconds that its REST client takes, and is whole all the same."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

PROGRAM = """
import sys
from pathlib import Path

import pydantic

check_calls = pydantic.validate_call
from osiris.storage.tables import open_tables

open_tables(Path(sys.argv[1]))
assert pydantic.validate_call is check_calls
assert "defer_build" not in pydantic.BaseModel.model_config

from lance_namespace import CreateNamespaceRequest
from lance_namespace_urllib3_client.api.namespace_api import NamespaceApi

assert CreateNamespaceRequest(id=["desk"]).model_dump()["id"] == ["desk"]
for refused in (lambda: CreateNamespaceRequest(id=3), lambda: NamespaceApi().create_namespace(3)):
    try:
        refused()
    except pydantic.ValidationError:
        print("refused")
"""


def test_what_is_built_later_checks_as_what_is_built_at_import(tmp_path):
    ran = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("refused\nrefused\n", "")
