"""Sixty scripts in every text a model or a person writes, looked at in every corner of the page: none of them runs."""

import unicodedata
from datetime import timedelta

import pytest

from osiris.core.commands import Feedback
from osiris.core.ideas import INVISIBLE_CATEGORIES
from osiris.serving.server import start_api
from tests.browser.conftest import review_server
from tests.browser.injections import INJECTIONS
from tests.browser.review_workspace import NOW, TOML
from tests.builders import idea, make_workspace

COUNT = "window.hits = 0; window.hit = () => { window.hits += 1; };"
MARKUP = (
    "script, img, svg, iframe, object, embed, video, audio, marquee, details, form, style, link, meta, base, math, a"
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """Three ideas for each injection: one pending, one decided on by a reviewer of that name, one settled."""
    folder = tmp_path_factory.mktemp("hostile")
    workspace = make_workspace(folder, TOML, as_of=None)
    rows = [hostile(n, text, k) for n, text in enumerate(INJECTIONS) for k in range(3)]
    for row in rows[2::3]:
        row |= {"status": "rejected", "reviewer": row["rationale"][:80], "outcome": "loss", "r_multiple": -1.0}
    workspace.advice.add(rows)
    with start_api(workspace, port=0) as api, review_server(folder, folder / "config") as url:
        yield workspace, api, url


def hostile(number, text, kind):
    row = idea(number=3 * number + kind, as_of=NOW - timedelta(hours=1 + kind), ticker=text, vector=[0.5] * 16)
    texts = dict.fromkeys(
        ("rationale", "adapter", "hermes_note", "open_reason", "model", "policy", "judge", "prompt_version"), text
    )
    return row | texts | {"prompt_id": f"hostile {number}", "id": f"{number:02d}-{kind}"}


def markup(page):
    """Elements inside the desk that only an injection would have made; the picture is the page's own."""
    inside = f".osiris-advisory :is({MARKUP}), .osiris-idea-details :is({MARKUP})"
    return page.locator(inside).evaluate_all("(all) => all.filter((one) => !one.closest('.osiris-picture')).length")


def test_there_are_sixty_different_ones():
    assert len(set(INJECTIONS)) == len(INJECTIONS) == 60


def test_no_script_runs_wherever_it_was_written(desk, visit):
    _, _, url = desk
    page, dialogs = visit(url, COUNT), []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.wait_for_selector("tr.osiris-idea")
    seen = set()
    for status in ("pending", "all", "rejected"):
        page.get_by_label("Status").select_option(status)
        page.wait_for_timeout(700)
        while True:
            for row in page.locator("tr.osiris-idea").all():
                seen.add(row.get_attribute("data-id"))
                row.locator("td.osiris-rationale").click(position={"x": 3, "y": 3})
            page.wait_for_timeout(300)
            forth = page.get_by_role("button", name="▶")
            if forth.is_disabled():
                break
            forth.click()
            page.wait_for_timeout(500)
    assert len(seen) == 3 * len(INJECTIONS)
    assert (page.evaluate("window.hits"), dialogs, markup(page)) == (0, [], 0)
    page.evaluate(
        "document.querySelector('.osiris-advisory').insertAdjacentHTML('beforeend', '<img src=x onerror=hit()>')"
    )
    page.wait_for_function("window.hits === 1")  # what would have run is counted
    assert markup(page) == 1


def test_no_script_runs_in_a_comment_a_name_or_a_refusal(desk, visit):
    workspace, api, url = desk
    page, dialogs = visit(url, COUNT), []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.wait_for_selector("tr.osiris-idea")
    for number, text in enumerate(INJECTIONS):
        key = page.locator('tr.osiris-idea[data-status="pending"]').first.get_attribute("data-id")
        line = page.locator(f'tr.osiris-idea[data-id="{key}"]')
        name = "".join(one for one in text if unicodedata.category(one) not in INVISIBLE_CATEGORIES)[:80].strip()
        page.get_by_label("Reviewer").fill(name)
        line.get_by_role("button", name="Edit").click()
        page.locator(".osiris-field-target").fill(text.replace("\x00", ""))
        page.wait_for_selector('.osiris-message:has-text("target: expected a number")')
        page.locator(".osiris-field-target").fill("107")
        page.locator(".osiris-field-comment").fill(text.replace("\x00", ""))
        if number % 2:  # somebody else was first, and the refusal names him
            body = Feedback(
                transaction_id=key, feedback_type="rejection", feedback_content={"reviewer": name}, timestamp=NOW
            )
            with api.client() as client:
                client.post(
                    "/feedback/phi3/", content=body.model_dump_json(), headers={"Content-Type": "application/json"}
                )
        page.keyboard.press("Enter")
        page.wait_for_selector(f'tr.osiris-idea[data-id="{key}"]:not([data-status="pending"])')
        if page.locator('tr.osiris-idea[data-status="pending"]').count() == 0:
            page.get_by_role("button", name="▶").click()
            page.wait_for_selector('tr.osiris-idea[data-status="pending"]')
    assert (page.evaluate("window.hits"), dialogs, markup(page)) == (0, [], 0)
    names = {row["reviewer"] for row in workspace.advice.feedback()}
    assert len(names) > 50
