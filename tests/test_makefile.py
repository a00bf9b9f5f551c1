"""`make` sets the project up from nothing, once, and says in one line what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from osiris.config.settings import PROJECT_ROOT


class Machine:
    """A copy of the Makefile on a machine whose PATH holds a few tools and the Pythons that a test puts there.

    A Python here is a shell script: it answers with its version, has the venv module or not, makes a folder that looks
    like a virtual environment, and writes what pip was asked for into `pip.log`.
    """

    def __init__(self, root: Path) -> None:
        self.clone, self.bin = root / "a clone", root / "bin"
        self.clone.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(PROJECT_ROOT / name, self.clone)
        for tool in ("cat", "chmod", "cksum", "cp", "make", "mkdir", "rm"):
            (self.bin / tool).symlink_to(shutil.which(tool))

    def install(self, name: str, version: str, venv: bool = True) -> None:
        script = self.bin / name
        script.write_text(f"""#!/bin/sh
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip*) {'echo "$0"' if venv else "exit 1"} ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >> pip.log ;;
  *" install "*) echo "${{*##*install }}" >> pip.log; [ ! -e broken ] ;;
  *" check") [ ! -e incomplete ] ;;
esac
""")
        script.chmod(0o755)

    def make(self, *goals: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": os.devnull}
        return subprocess.run(["make", *goals], cwd=self.clone, env=environment, capture_output=True, text=True)

    def asked(self) -> list[str]:
        log = self.clone / "pip.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


WHOLE = [
    "venv",
    "-c constraints.txt --upgrade pip",
    "-c constraints.txt torch",
    "--no-deps -r constraints.txt",
    "--no-deps -e .",
]


@pytest.mark.parametrize("goal", ["setup", "demo", "test"])
def test_an_older_python_gets_one_line(machine: Machine, goal: str):
    machine.install("python3", "3.9.2")
    ran = machine.make(goal)
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert "Osiris needs Python 3.11; found 3.9.2. Install python3.11 (Debian: apt-get install python3.11" in line
    assert not (machine.clone / ".venv").exists()


def test_no_python_and_one_without_venv_get_one_line_each(machine: Machine):
    (line,) = machine.make("setup").stderr.splitlines()
    assert "Osiris needs Python 3.11; found none." in line
    machine.install("python3.11", "3.11.2", venv=False)
    (line,) = machine.make("setup").stderr.splitlines()
    assert "python3.11 lacks it. Install it (Debian: apt-get install python3.11-venv)" in line


def test_set_up_installs_torch_by_itself_then_the_rest_and_does_so_once(machine: Machine):
    machine.install("python3", "3.9.2")
    machine.install("python3.11", "3.11.2")
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE
    assert (machine.make("setup").returncode, machine.asked()) == (0, [])


def test_a_set_up_that_broke_off_is_made_anew(machine: Machine):
    machine.install("python3", "3.11.9")
    (machine.clone / "broken").touch()
    assert machine.make("setup").returncode == 2
    assert machine.asked() == WHOLE[:2]  # pip failed, nothing after it was tried
    (machine.clone / "broken").unlink()
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE


def test_pins_that_do_not_make_a_whole_are_not_a_finished_set_up(machine: Machine):
    machine.install("python3", "3.11.9")
    (machine.clone / "incomplete").touch()
    assert machine.make("setup").returncode == 2
    (machine.clone / "incomplete").unlink()
    machine.asked()
    assert (machine.make("setup").returncode, machine.asked()) == (0, WHOLE)


def test_a_new_pin_is_installed_into_the_finished_environment_which_is_made_anew_if_that_breaks_off(machine: Machine):
    machine.install("python3", "3.11.9")
    machine.make("setup")
    machine.asked()
    with (machine.clone / "constraints.txt").open("a") as constraints:
        constraints.write("zzz==1.0\n")
    (machine.clone / "broken").touch()
    assert machine.make("setup").returncode == 2
    assert machine.asked() == WHOLE[1:2]
    (machine.clone / "broken").unlink()
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE
    (machine.clone / "constraints.txt").write_text("zzz==2.0\n")
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE[1:]


def test_a_moved_clone_is_set_up_anew(machine: Machine):
    machine.install("python3", "3.11.9")
    machine.make("setup")
    machine.asked()
    machine.clone = machine.clone.rename(machine.clone.with_name("moved"))
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE
