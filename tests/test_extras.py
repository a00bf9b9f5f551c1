"""What works without the extras, and what a command says that needs one: the modules of an extra cannot be imported."""

import os
import subprocess
import sys
import tomllib

import pytest

from osiris.config.settings import PROJECT_ROOT
from osiris.core.extras import DISTRIBUTIONS, explain_missing_module, find_extras
from tests.builders import make_workspace
from tests.test_packaging import CORE, EXTRAS, normal, owners

ALL = ("train", "kernel", "review", "flows")
pytestmark = pytest.mark.system
OSIRIS = os.path.join(os.path.dirname(sys.executable), "osiris")
REFUSE = """
import os, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
REFUSED = set(os.environ["REFUSED"].split())
"""
BARS = "ticker,date,open,high,low,close\nAAPL,2005-02-28,100,101,99,100\nAAPL,2005-03-01,100,107,99,106\n"
IDEAS = "id,ticker,side,entry,target,stop,accepted_at\na,AAPL,long,100,106,97,2005-02-28T20:00:00Z\n"


def modules_of(*extras):
    """The top-level modules of the packages that only these of the extras ask for."""
    others = [name for extra in ALL if extra not in extras for name in EXTRAS[extra]]
    wanted = {normal(name) for extra in extras for name in EXTRAS[extra]} - {normal(name) for name in (*CORE, *others)}
    return {module for module, brought in owners().items() if brought and brought <= wanted}


@pytest.fixture
def without(tmp_path):
    """A function that runs a program in a process in which the modules of some extras cannot be imported."""
    (tmp_path / "path").mkdir()
    (tmp_path / "ws").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(REFUSE)

    def run(extras, *command):
        environment = {"PYTHONPATH": str(tmp_path / "path"), "REFUSED": " ".join(modules_of(*extras))}
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=os.environ | environment
        )

    return run


def test_labels_prices_outcomes_and_the_stores_need_no_extra(without, tmp_path):
    make_workspace(tmp_path / "ws", '[prices]\nsource = "local"\n').close()
    (tmp_path / "bars.csv").write_text(BARS)
    (tmp_path / "ideas.csv").write_text(IDEAS)
    labels = without(ALL, OSIRIS, "label", "ideas.csv", "--bars", "bars.csv")
    assert labels.returncode == 0, labels.stderr
    assert "win" in labels.stdout
    for words in (["prices", "import", "bars.csv"], ["prices", "show", "AAPL"], ["status"], ["outcomes"], ["adapters"]):
        ran = without(ALL, OSIRIS, *words, "-w", "ws")
        assert ran.returncode == 0, (words, ran.stderr)


def test_a_reviewer_needs_the_extra_review_alone(without, tmp_path):
    make_workspace(tmp_path / "ws", '[prices]\nsource = "local"\n').close()
    code = """
from osiris.serving.server import start_api
from osiris.ui.advisory import open_advisory
from osiris.workspace import open_workspace
ws = open_workspace("ws", "2005-03-01T21:00:00+00:00")
with start_api(ws, port=0) as api, api.client() as client:
    assert client.get("/advice").json() == []
    open_advisory(ws, "ann")
ws.close()
"""
    ran = without(("train", "kernel", "flows"), sys.executable, "-c", code)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("words", "extra"), [(["nightly"], "flows"), (["advise"], "train"), (["api"], "review"), (["demo"], "flows")]
)
def test_a_command_names_the_extra_that_it_needs(without, tmp_path, words, extra):
    make_workspace(tmp_path / "ws", '[prices]\nsource = "local"\n[advise]\ntickers = ["AAPL"]\n').close()
    folder = "new" if words == ["demo"] else "ws"
    ran = without((extra,), OSIRIS, *words, "-w", folder)
    assert ran.returncode == 2, ran.stderr
    assert f"pip install 'osiris[{extra}]'" in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr


def test_each_package_of_an_extra_is_found_by_its_module():
    for extra in ALL:
        for name in EXTRAS[extra]:
            assert extra in find_extras(name), name
    for module, distribution in DISTRIBUTIONS.items():
        assert owners()[module] == {normal(distribution)}
    assert explain_missing_module(ModuleNotFoundError("No module named 'wave_'", name="wave_")) is None


def test_all_is_every_extra_but_those_of_developers():
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {*ALL, "demo", "all", "dev"}
    assert extras["demo"][0] == "osiris[train,review,flows]"
    assert extras["all"] == ["osiris[demo,kernel]"]
