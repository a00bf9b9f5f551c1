"""`run_notebook()` on notebooks made for the test, and on each one of notebooks/ that needs no trained adapter."""

import contextlib
import logging
import re
import sqlite3

import nbformat
import pytest
from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.settings import PREFECT_API_URL

from flows.notebook import NotebookFailed, is_retriable, log_file, notebook_task, run_notebook
from flows.server import prefect_home, prefect_server
from osiris.config.settings import PROJECT_ROOT, load_settings
from osiris.core.errors import BadInput, NotFound
from tests.builders import MOMENT, make_settings, make_workspace

AS_OF = MOMENT.isoformat()
LOCAL = '[prices]\nsource = "local"\n'


@pytest.fixture
def folder(tmp_path):
    make_workspace(tmp_path, LOCAL).close()
    return tmp_path


def test_an_undeclared_parameter_is_refused_with_the_declared_ones(folder):
    with pytest.raises(BadInput, match=r"as_of, workspace; got asof"):
        run_notebook("03_outcomes", folder, {"asof": AS_OF})
    assert not (folder / "mlruns").exists()


def test_an_unknown_page_is_refused_with_the_known_ones(folder):
    with pytest.raises(NotFound, match="01_advise"):
        run_notebook("99_nothing", folder, {})


def test_a_failed_page_is_kept_with_the_cell_marked(folder):
    with pytest.raises(NotebookFailed, match="BadInput") as failed:
        run_notebook("03_outcomes", folder, {"as_of": "yesterday"})
    assert failed.value.error_name == "BadInput"
    (page,) = (folder / "mlruns" / "pages").glob("*.ipynb")
    assert "BadInput" in page.with_suffix(".html").read_text()
    cells = nbformat.read(page, as_version=4).cells
    assert any(output.output_type == "error" for cell in cells for output in cell.get("outputs", []))


@pytest.mark.parametrize(("error", "again"), [("SourceUnavailable", True), ("BadInput", False), ("KeyError", False)])
def test_a_page_is_run_again_only_when_the_network_failed(error, again):
    failed = State(type=StateType.FAILED, data=NotebookFailed("01_advise", error, "why", PROJECT_ROOT))
    assert is_retriable(None, None, failed) is again


def test_a_server_that_the_environment_names_does_not_take_the_flows_away(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with prefect_server(make_settings(tmp_path)):
        assert PREFECT_API_URL.value() is None


def test_an_hour_without_ideas_settles_nothing(folder):
    page = run_notebook("03_outcomes", folder, {"as_of": AS_OF})
    assert (page.result["looked_at"], page.result["written"]) == (0, 0)
    assert page.path.parent == folder / "mlruns" / "pages"
    (line,) = log_file(page.path).read_text().splitlines()
    assert f" {page.path.stem} INFO osiris.labeling.settle: settled 0 of 0 ideas" in line
    text = page.path.with_suffix(".html").read_text()
    assert text.index("Of the accepted ideas 0 won") < text.index("Open ideas, and the reasons")
    assert not re.search(r"(?:src|href)=.https?:", text), "nothing is fetched from elsewhere"


def test_the_log_of_a_page_is_shown_by_its_prefect_run(folder):
    (folder / "osiris.toml").write_text(f'{LOCAL}[advise]\ntickers = ["NONE"]\n')

    @flow
    def drafting():
        return notebook_task("01_advise", str(folder), {"as_of": AS_OF})

    settings = load_settings(folder)
    with prefect_server(settings):
        result = drafting()
    assert len(result["notes"]) == 1
    with contextlib.closing(sqlite3.connect(prefect_home(settings) / "prefect.db")) as database:
        rows = database.execute("SELECT level, message FROM log WHERE task_run_id IS NOT NULL").fetchall()
    ((level, message),) = [row for row in rows if "no bars of NONE from any source" in row[1]]
    assert level == logging.WARNING
    assert " 20050225T210000-01_advise WARNING osiris.market.provider: " in message


def test_the_review_page_opens_on_an_empty_workspace(folder):
    assert run_notebook("02_review", folder, {"as_of": AS_OF}).result["pending"] == 0


def test_a_turn_of_the_kernel_without_a_patch_changes_nothing(tmp_path):
    make_workspace(tmp_path, '[kernel]\ndrafter = "none"\n').close()
    result = run_notebook("08_kernel", tmp_path, {"as_of": AS_OF}).result
    assert (result["patch"], result["applied"], result["notes"]) == (None, None, [])


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("04_qlora", "at least 8 accepted ideas"),
        ("05_pairs", "at least 8 preferences"),
        ("06_dpo", "no pairs in this nightly run"),
        ("07_compare", "no adapter to compare"),
    ],
)
def test_a_night_with_too_little_data_says_so_and_publishes_nothing(folder, page, words):
    result = run_notebook(page, folder, {"as_of": AS_OF}).result
    assert words in result["note"]
    assert result["adapter"] is None
    assert not list((folder / "adapters").glob("2*"))
