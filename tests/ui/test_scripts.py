"""The scripts of the widgets: their functions run in node, where it is there, and each widget gets one whole text."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from osiris.ui.scripts import STATIC_FOLDER, read_script

NODE = shutil.which("node")
WIDGETS = ("review_table", "idea_details")
TESTS = sorted((Path(__file__).parent / "static").glob("*.test.mjs"))
needs_node = pytest.mark.skipif(NODE is None, reason="no node on the PATH; Debian: apt-get install nodejs")


def node(*arguments, **options):
    return subprocess.run([NODE, *arguments], capture_output=True, text=True, timeout=120, **options)


@needs_node
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.split(".")[0])
def test_its_functions_do_what_their_tests_say(path):
    done = node("--test", "--test-reporter=tap", str(path))
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)[1]) > 5


@needs_node
@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_is_one_module_in_which_no_name_is_defined_twice(name, tmp_path):
    script = read_script(name)
    assert not re.search(r"^import ", script, re.MULTILINE)
    assert re.findall(r"^export .*", script, re.MULTILINE) == ["export default { render };"]
    (tmp_path / "widget.mjs").write_text(script)
    checked = node("--check", str(tmp_path / "widget.mjs"))
    assert checked.returncode == 0, checked.stderr


def test_every_script_is_part_of_a_widget():
    texts = [read_script(name) for name in WIDGETS]
    for path in STATIC_FOLDER.glob("*.js"):
        first_function = re.search(r"^(?:export )?(function \w+\()", path.read_text(), re.MULTILINE)[1]
        assert any(first_function in text for text in texts), path.name
