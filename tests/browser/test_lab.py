"""The review page in JupyterLab: a notebook's own keys stay out of the way, and the page follows the server."""

import pytest

from osiris.serving.server import start_api
from tests.browser.conftest import review_server
from tests.browser.review_workspace import NOW, make_review_workspace
from tests.browser.test_review_table import becomes, first_open, press, row, stand_on


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    workspace = make_review_workspace(folder, ideas=80, pending=30)
    with start_api(workspace, port=0) as api, review_server(folder, folder / "config", "--lab") as url:
        yield workspace, url, api


def test_a_review_in_jupyterlab(desk, visit):
    workspace, url, api = desk
    page = visit(url)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.get_by_text("| Idle").wait_for()  # a run that is asked for before the kernel answers is lost
    page.get_by_text("Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_selector("tr.osiris-idea")
    cells = page.locator(".jp-Cell").count()
    first, second, third, fourth = first_open(page, 4)

    stand_on(page, first)
    press(page, "a")
    becomes(page, first, "approved")
    press(page, "r")
    becomes(page, second, "rejected")
    press(page, "j", "k", "x", "j", "e")
    page.locator(".osiris-field-target").wait_for()
    press(page, "Escape")
    page.wait_for_selector(".osiris-form", state="detached")
    press(page, "u")
    becomes(page, second, "pending", "Undone.")
    assert page.locator(".jp-Cell").count() == cells
    assert page.evaluate("document.activeElement.className") == "osiris-advisory"
    assert [workspace.advice.get(key)["status"] for key in (first, second)] == ["approved", "pending"]

    body = {"feedback_type": "rejection", "feedback_content": {"reviewer": "bob"}, "timestamp": NOW.isoformat()}
    with api.client() as client:
        client.post("/feedback/phi3/", json={"transaction_id": fourth, **body}).raise_for_status()
    page.wait_for_selector(f'tr.osiris-idea[data-id="{fourth}"][data-status="rejected"]')
    assert row(page, third).get_attribute("data-status") == "pending"
