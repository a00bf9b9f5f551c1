"""`run_notebook()`: the one place that calls papermill."""

import logging
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact
from prefect.context import FlowRunContext

from flows.notebook_html import html_file, write_html
from osiris.adapters.mlflow_runs import Tracking, TrackingFailed
from osiris.config.settings import PROJECT_ROOT, Settings, load_settings, log_environment
from osiris.core.clock import clock_at
from osiris.core.errors import BadInput, NotFound, OsirisError
from osiris.core.run_log import parse_lines
from osiris.ui.notebook_result import RESULT_MEDIA_TYPE

NOTEBOOKS = PROJECT_ROOT / "notebooks"
NETWORK_ERRORS = {"SourceUnavailable"}
Parameters = dict[str, Any]


class NotebookFailed(OsirisError):
    """A cell of a notebook raised an error; `error_name` is the class of that error."""

    def __init__(self, notebook: str, error_name: str, message: str, path: Path) -> None:
        """Name the notebook, the error, and the path of the failed notebook."""
        super().__init__(f"notebook {notebook} to run", f"{error_name}: {message}", f"see the marked cell in {path}")
        self.error_name, self.path = error_name, path


class NotebookRun(NamedTuple):
    """An executed notebook: the result that it emitted, and its path."""

    result: dict[str, Any]
    path: Path


def run_notebook(name: str, workspace: Path | str, parameters: Parameters) -> NotebookRun:
    """Execute `notebooks/<name>.ipynb` with `parameters` and keep the executed notebook under `mlruns/pages`.

    Beside it stand a page to read (`.html`) and the log of the run (`.log`). The name of all three is the run's id.
    Raises `NotFound` for an unknown notebook, and `BadInput` for a parameter that the notebook does not declare. Raises
    `NotebookFailed` if the notebook emits nothing, or if a cell raises; the notebook is then kept with that cell
    marked.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from flows.papermill_engine import ENGINE

    source = NOTEBOOKS / f"{name}.ipynb"
    if not source.exists():
        raise NotFound(
            "a notebook of notebooks/", name, f"one of {', '.join(sorted(p.stem for p in NOTEBOOKS.glob('*.ipynb')))}"
        )
    settings = load_settings(workspace)
    all_parameters = {"workspace": str(settings.workspace), **parameters}
    _require_declared(name, set(papermill.inspect_notebook(str(source))), set(all_parameters))
    target = settings.mlruns / "pages" / f"{_timestamp(parameters, settings)}-{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    log_file(target).unlink(missing_ok=True)  # an earlier run of the same name leaves its notebook to this one too
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook = papermill.execute_notebook(
                str(source),
                str(target),
                all_parameters,
                engine_name=ENGINE,
                kernel_name="python3",
                env=log_environment(log_file(target)),
                cwd=str(settings.workspace),
                progress_bar=False,
                extra_arguments=["--log-level=CRITICAL"],  # Jupyter logs the interrupt that stops it as an error
            )
    except PapermillExecutionError as error:
        write_html(target)
        raise NotebookFailed(name, error.ename, error.evalue, target) from error
    page = write_html(target)
    result = _read_result(name, notebook, target)
    if result.get("run_id"):
        try:
            for file in (target, page):
                Tracking(settings).attach_notebook(result["run_id"], file)
        except TrackingFailed as error:  # the notebook is kept all the same, and its work is done
            result["note"] = f"{result.get('note', '')}; not attached in MLflow: {error}"
    return NotebookRun(result, target)


def log_file(notebook: Path) -> Path:
    """The log of an executed notebook."""
    return notebook.with_suffix(".log")


def is_retriable(_task: object, _run: object, state: Any) -> bool:
    """Whether a failed notebook may succeed if it is run again: only if the network failed."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, NotebookFailed) and error.error_name in NETWORK_ERRORS


@task(name="page", task_run_name="{name}", retries=2, retry_delay_seconds=[10, 60], retry_condition_fn=is_retriable)
def notebook_task(name: str, workspace: str, parameters: Parameters) -> dict[str, Any]:
    """Run a notebook as a Prefect task that links the executed notebook; retried only if the network failed."""
    try:
        run = run_notebook(name, workspace, parameters)
    except NotebookFailed as error:
        _show_log(error.path)
        raise
    _show_log(run.path)
    if FlowRunContext.get() is not None:
        page = html_file(run.path)
        create_link_artifact(page.as_uri(), link_text=page.name, key=f"page-{name.replace('_', '-')}")
    return {**run.result, "page": str(run.path)}


def _show_log(notebook: Path) -> None:
    """Show the log of a notebook in the run of its Prefect task, or on stderr with `osiris -v`."""
    file = log_file(notebook)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    logger = logging.getLogger("osiris.notebook") if FlowRunContext.get() is None else get_run_logger()
    for level, line in parse_lines(text):
        logger.log(level, line)


def _require_declared(name: str, declared: set[str], given: set[str]) -> None:
    if unknown := sorted(given - declared):
        raise BadInput(
            f"parameters of notebook {name}: {', '.join(sorted(declared))}", ", ".join(unknown), "correct the name"
        )


def _read_result(name: str, notebook: Any, path: Path) -> dict[str, Any]:
    results = [
        output["data"][RESULT_MEDIA_TYPE]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if RESULT_MEDIA_TYPE in output.get("data", {})
    ]
    if not results:
        raise NotebookFailed(name, "NoResult", "the notebook emitted nothing", path)
    return dict(results[-1])


def _timestamp(parameters: Parameters, settings: Settings) -> str:
    moment = parameters.get("as_of") or clock_at(settings.clock.as_of).now().isoformat()
    return re.sub(r"[^0-9T]", "", moment[:19])
