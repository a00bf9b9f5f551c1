"""Kernels that are forked from a parent with their modules imported: as clean as those that start by themselves."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import papermill
import psutil
import pytest
from nbclient.exceptions import DeadKernelError

import flows.warm_kernel as warm_kernel
from flows.papermill_engine import ENGINE
from flows.warm_kernel import KERNEL_PARENT
from osiris.config.settings import LOG_FILE_VARIABLE, PROJECT_ROOT
from osiris.core.notebooks import preloadable_modules
from tests.core.test_server_lifetime import ended


def notebook(*cells, preload=()):
    """A notebook of code cells, with `preload` in its metadata."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata.osiris = {"preload": list(preload)}
    return made


def run(tmp_path, *cells, preload=(), **options):
    """What the last cell of an executed notebook printed, read as JSON."""
    source, target = tmp_path / "source.ipynb", tmp_path / "target.ipynb"
    nbformat.write(notebook(*cells, preload=preload), source)
    done = papermill.execute_notebook(
        str(source), str(target), engine_name=ENGINE, kernel_name="python3", progress_bar=False, **options
    )
    return json.loads(done.cells[-1].outputs[0].text)


def has_ended(pid):
    """Whether the process of that number is gone within half a minute."""
    return not psutil.pid_exists(pid) or ended(psutil.Process(pid), seconds=30)


WHERE = "import json, os\nprint(json.dumps([os.getpid(), os.getppid()]))"


def test_a_kernel_has_what_its_notebook_imports_before_its_first_cell(tmp_path):
    first = 'import sys, json\nhad = [name in sys.modules for name in ("wave", "colorsys", "no_such_module")]'
    assert run(tmp_path, first, "import wave\nprint(json.dumps(had))", preload=["colorsys", "no_such_module"]) == [
        True,
        True,
        False,
    ]


def test_only_code_is_read_for_imports():
    cells = ["%matplotlib inline", "import json as j, os.path\nfrom wave import open", "from . import x", "def"]
    assert preloadable_modules(notebook(*cells)) == ["json", "os.path", "wave"]


def test_nothing_that_a_notebook_does_reaches_the_next_one(tmp_path):
    change = """
import builtins, json, os, random, sys
import numpy, torch
leak = 1
builtins.leak = 1
json.leak = 1
os.environ["LEAK"] = "1"
os.chdir("/")
sys.path.append("/leak")
torch.manual_seed(7)
torch.set_num_threads(1)
numpy.random.seed(7)
sys.modules["leak"] = json
print(json.dumps(0))
"""
    look = """
import builtins, json, os, random, sys
import numpy, torch
print(json.dumps([
    "leak" in globals(), hasattr(builtins, "leak"), hasattr(json, "leak"), "LEAK" in os.environ, os.getcwd(),
    "/leak" in sys.path, "leak" in sys.modules, torch.initial_seed(), torch.get_num_threads(),
    [random.random(), numpy.random.rand()],
]))
"""
    *before, numbers = run(tmp_path, look, preload=["numpy.random"], cwd=str(tmp_path))
    run(tmp_path, change, preload=["numpy.random"])
    *after, others = run(tmp_path, look, preload=["numpy.random"], cwd=str(tmp_path))
    assert after == before
    assert before[:7] == [False, False, False, False, str(tmp_path), False, False]
    assert len({*numbers, *others}) == 4, "each kernel has random numbers of its own"


def test_a_figure_is_shown_below_its_cell(tmp_path):
    plot = "import matplotlib.pyplot as plt\nfigure = plt.figure()\nplt.plot([1, 2]);"
    run(tmp_path, plot, WHERE, preload=["matplotlib.pyplot", "matplotlib_inline.backend_inline"])
    first = nbformat.read(tmp_path / "target.ipynb", as_version=4).cells[0]
    assert ["image/png" in output.data for output in first.outputs] == [True]


def test_widgets_are_heard_by_their_kernel(tmp_path):
    look = "import json\nprint(json.dumps(list(get_ipython().kernel.comm_manager.targets)))"
    heard = run(tmp_path, "import ipywidgets\nipywidgets.IntSlider()", look, preload=["osiris.ui.advisory"])
    assert "jupyter.widget" in heard
    assert "widgets" in nbformat.read(tmp_path / "target.ipynb", as_version=4).metadata


def test_a_kernel_ends_as_a_program_does(tmp_path):
    ask = f"import atexit, pathlib\natexit.register(pathlib.Path({str(tmp_path / 'said')!r}).touch);"
    kernel, _ = run(tmp_path, ask, WHERE)
    assert has_ended(kernel)
    assert (tmp_path / "said").exists()


def test_the_environment_of_a_kernel_is_the_one_it_was_given(tmp_path):
    names = ["A", "B", LOG_FILE_VARIABLE]
    look = f"import json, os\nprint(json.dumps([os.environ.get(name) for name in {names}]))"
    base = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    assert run(tmp_path, look, env={**base, "A": "1"}) == ["1", None, None]
    assert run(tmp_path, look, env={**base, "B": "2"}) == [None, "2", None]
    for log in ("one.log", "two.log"):  # that each kernel has its own is no reason for another parent
        assert run(tmp_path, look, env={**base, "B": "2", LOG_FILE_VARIABLE: log}) == [None, "2", log]


def test_a_parent_serves_until_its_environment_or_our_code_is_another(tmp_path, monkeypatch):
    def parent():
        return run(tmp_path, WHERE)[1]

    first = parent()
    assert parent() == first != os.getpid()
    monkeypatch.setenv("SOMETHING", "else")
    second = parent()
    assert second != first
    assert has_ended(first)
    newest = warm_kernel.newest_source()
    monkeypatch.setattr(warm_kernel, "newest_source", lambda: newest + 1)
    assert parent() != second


def test_a_parent_that_was_killed_is_replaced(tmp_path):
    _, first = run(tmp_path, WHERE)
    os.kill(first, signal.SIGKILL)
    kernel, second = run(tmp_path, WHERE)
    assert second not in (first, os.getpid())
    assert has_ended(kernel)


def test_a_kernel_that_dies_fails_its_notebook_and_not_the_next_one(tmp_path):
    with pytest.raises(DeadKernelError):
        run(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert run(tmp_path, WHERE)[1] == KERNEL_PARENT._process.pid


def test_where_no_parent_can_be_started_a_kernel_starts_by_itself(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no more processes")

    monkeypatch.setattr(KERNEL_PARENT, "fork_kernel", refuse)
    assert run(tmp_path, WHERE)[1] == os.getpid()


def test_parent_and_kernels_end_with_the_process_that_started_them(tmp_path):
    code = f"""
import sys
sys.path.insert(0, {str(PROJECT_ROOT)!r})
from pathlib import Path
from tests.flows.test_warm_kernel import run
tell = "open('pids', 'w').write(f'{{os.getpid()}} {{os.getppid()}} ')"
run(Path({str(tmp_path)!r}), "import os, time", tell, "time.sleep(600)")
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL) as owner:
        pids = []
        while len(pids) < 2:
            assert owner.poll() is None
            time.sleep(0.05)
            file = tmp_path / "pids"
            pids = [int(pid) for pid in file.read_text().split()] if file.exists() else []
        owner.kill()
    assert all(has_ended(pid) for pid in pids)


def test_a_parent_that_is_not_used_ends_but_not_before_its_kernels(tmp_path):
    ours, theirs = socket.socketpair()
    command = f"from flows.kernel_parent import *; main({theirs.fileno()}, 0.5)"
    parent = subprocess.Popen([sys.executable, "-c", command], pass_fds=[theirs.fileno()], cwd=PROJECT_ROOT)
    theirs.close()
    arguments = ["-f", str(tmp_path / "kernel.json")]
    ask = {"arguments": arguments, "environment": dict(os.environ), "cwd": str(tmp_path), "modules": []}
    ours.sendall(json.dumps(ask).encode() + b"\n")
    pid = int(ours.recv(100))
    with pytest.raises(subprocess.TimeoutExpired):
        parent.wait(3)
    os.kill(pid, signal.SIGKILL)
    assert parent.wait(30) == 0
    ours.close()


def test_a_parent_that_is_replaced_lets_its_kernels_finish(tmp_path, monkeypatch):
    (tmp_path / "long").mkdir()
    begun, over = tmp_path / "begun", tmp_path / "over"
    wait = f"import time\nfrom pathlib import Path\nPath({str(begun)!r}).touch()\n"
    wait += f"while not Path({str(over)!r}).exists():\n    time.sleep(0.05)"
    with ThreadPoolExecutor() as pool:
        long = pool.submit(run, tmp_path / "long", wait, WHERE)
        while not begun.exists():
            assert not long.done()
            time.sleep(0.05)
        monkeypatch.setenv("SOMETHING", "else")
        _, other = run(tmp_path, WHERE)
        time.sleep(2)  # longer than a kernel takes to see that its parent has ended
        over.touch()
        _, parent = long.result()
    assert other != parent
    assert has_ended(parent)
