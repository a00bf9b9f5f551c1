"""Page 02 runs without a person too: it opens the tab, counts what was decided, and leaves no API behind."""

from datetime import timedelta

import nbformat

from flows.notebook import run_notebook
from osiris.serving.server import address_path
from tests.builders import MOMENT, idea, ideas, make_workspace, with_changes

NOW = MOMENT + timedelta(hours=2)
HOSTILE = "<img src=x onerror=alert(1)>"


def test_the_review_page_runs_on_a_workspace_without_ideas(tmp_path):
    workspace = make_workspace(tmp_path)
    page = run_notebook("02_review", workspace.folder, {"as_of": NOW.isoformat()})
    assert page.result == {"pending": 0, "approved": 0, "rejected": 0, "edited": 0}
    assert not address_path(workspace).exists()


def test_the_review_page_counts_the_decisions_and_says_what_they_are_worth(tmp_path):
    workspace = make_workspace(tmp_path)
    rows = [*ideas(3), idea(number=3, rationale=HOSTILE)]
    workspace.advice.add(rows)
    for row, status in zip(rows, ("approved", "rejected", "edited"), strict=False):
        given = {"idempotency_key": row["id"], "transaction_id": row["id"], "feedback_content": "{}", "ts": NOW}
        changed = {"status": status, "status_at": NOW, "reviewer": HOSTILE, "shadow": status == "rejected"}
        workspace.advice.decide(given | {"feedback_type": "approval"}, with_changes(changed))
    page = run_notebook("02_review", workspace.folder, {"as_of": NOW.isoformat(), "reviewer": "ann"})
    assert page.result == {"pending": 1, "approved": 1, "rejected": 1, "edited": 1}
    outputs = [out for cell in nbformat.read(page.path, 4).cells for out in cell.get("outputs", []) if "data" in out]
    html = "".join(out["data"].get("text/html", "") for out in outputs)
    assert "approval rate" in html
    assert "<img" not in html
    assert any("application/vnd.jupyter.widget-view+json" in out["data"] for out in outputs)
