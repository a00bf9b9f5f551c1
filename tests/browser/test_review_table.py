"""The review page by Voila in a real browser: what a person presses, what the store then holds."""

import re
import signal
from datetime import timedelta

import psutil
import pytest

from osiris.serving.server import start_api
from tests.browser.conftest import review_server
from tests.browser.review_workspace import NOW, make_review_workspace
from tests.builders import idea

PENDING = 60


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    workspace = make_review_workspace(folder, ideas=400, pending=PENDING)
    with start_api(workspace, port=0) as api, review_server(folder, folder / "config") as url:
        yield workspace, url, api


@pytest.fixture
def page(desk, visit):
    opened = visit(desk[1])
    opened.wait_for_selector("tr.osiris-idea")
    return opened


def rows(page):
    return page.locator("tr.osiris-idea")


def first_open(page, count=1):
    """The ids of the first rows that are still pending."""
    found = page.locator('tr.osiris-idea[data-status="pending"]')
    return [found.nth(n).get_attribute("data-id") for n in range(count)]


def row(page, key):
    return page.locator(f'tr.osiris-idea[data-id="{key}"]')


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def stand_on(page, key):
    row(page, key).locator("td.osiris-rationale").click()


def becomes(page, key, status, note="Saved."):
    page.wait_for_selector(f'tr.osiris-idea[data-id="{key}"][data-status="{status}"] small:text-is("{note}")')


def decide_as_bob(desk, key, kind):
    body = {"feedback_type": kind, "feedback_content": {"reviewer": "bob"}, "timestamp": NOW.isoformat()}
    with desk[2].client() as client:
        client.post("/feedback/phi3/", json={"transaction_id": key, **body}).raise_for_status()


# -- by mouse ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("button", "status"), [("✅ Approve", "approved"), ("❌ Reject", "rejected")])
def test_a_button_decides_and_the_row_says_saved(page, desk, button, status):
    (key,) = first_open(page)
    row(page, key).get_by_role("button", name=button).click()
    becomes(page, key, status)
    assert desk[0].advice.get(key)["status"] == status
    assert all(b.is_disabled() for b in row(page, key).get_by_role("button").all())


def test_a_selection_is_rejected_and_taken_back(page, desk):
    keys = first_open(page, 3)
    row(page, keys[0]).locator("input").click()
    page.wait_for_selector('button:has-text("Reject selected"):enabled')
    page.evaluate(  # quicker than the page tells Python what is selected
        """(keys) => {
          for (const key of keys) document.querySelector(`tr[data-id="${key}"] input`).click();
          [...document.querySelectorAll("button")].find((one) => one.textContent.includes("Reject selected")).click();
        }""",
        keys[1:],
    )
    for key in keys:
        becomes(page, key, "rejected")
    assert page.locator("tbody input:checked").count() == 0
    page.get_by_role("button", name="Undo 3 decisions").click()
    for key in keys:
        becomes(page, key, "pending", "Undone.")
    assert {desk[0].advice.get(key)["status"] for key in keys} == {"pending"}


def test_shift_selects_a_range_and_the_head_selects_the_page(page):
    keys = first_open(page, 4)
    stand_on(page, keys[0])
    row(page, keys[3]).locator("input").click(modifiers=["Shift"])
    assert all(row(page, key).locator("input").is_checked() for key in keys)
    page.locator("thead input").click()
    pending = page.locator('tr.osiris-idea[data-status="pending"]').count()
    assert page.locator("tbody input:checked").count() == pending
    page.wait_for_selector('button:has-text("Approve selected"):enabled')
    page.locator("thead input").click()
    assert page.locator("tbody input:checked").count() == 0


def test_a_range_begins_at_the_last_box_and_escape_selects_none(page, desk):
    keys = first_open(page, 6)
    stand_on(page, keys[0])
    row(page, keys[2]).locator("input").click()
    row(page, keys[4]).locator("input").click(modifiers=["Shift"])
    assert [row(page, key).locator("input").is_checked() for key in keys] == [False, False, True, True, True, False]
    stand_on(page, keys[5])
    press(page, "Escape")
    assert page.locator("tbody input:checked").count() == 0


def test_after_a_click_on_a_button_the_keys_go_on_from_its_row(page, desk):
    keys = first_open(page, 4)
    row(page, keys[1]).get_by_role("button", name="✅ Approve").click()
    becomes(page, keys[1], "approved")
    assert row(page, keys[2]).get_attribute("aria-current") == "true"
    press(page, "j")
    assert row(page, keys[3]).get_attribute("aria-current") == "true"


def test_a_head_sorts_and_filters_narrow(page):
    page.locator("th button", has_text="Hermes").click()
    page.wait_for_selector('th[aria-sort="descending"]:has-text("Hermes")')
    scores = [float(text) for text in page.locator("tr.osiris-idea td:nth-child(9)").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page.get_by_label("Ticker").fill("ibm")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('td.osiris-ticker')].every((one) => one.textContent === 'IBM')"
    )
    page.get_by_label("Status").select_option("rejected")
    page.wait_for_selector('tr.osiris-idea[data-status="rejected"]')
    assert set(page.locator("td.osiris-side, td.osiris-ticker").all_inner_texts()) <= {"IBM", "long", "short"}


# -- by keyboard ------------------------------------------------------------------------------------------------------


def test_a_hundred_ideas_need_no_mouse(page, desk):
    first, second, third, fourth = first_open(page, 4)
    stand_on(page, first)
    press(page, "a")
    becomes(page, first, "approved")
    assert row(page, second).get_attribute("aria-current") == "true"
    press(page, "j", "k", "r")
    becomes(page, second, "rejected")
    press(page, "x", "j", "x", "Shift+A")
    for key in (third, fourth):
        becomes(page, key, "approved")
    press(page, "u")
    for key in (third, fourth):
        becomes(page, key, "pending", "Undone.")
    press(page, "u")
    becomes(page, second, "pending", "Undone.")
    stored = [desk[0].advice.get(key)["status"] for key in (first, second, third, fourth)]
    assert stored == ["approved", "pending", "pending", "pending"]


def test_a_page_is_turned_and_turned_back(page):
    before = rows(page).first.get_attribute("data-id")
    rows(page).first.click()
    press(page, "n")
    page.wait_for_function(f"document.querySelector('tr.osiris-idea').dataset.id !== '{before}'")
    press(page, "p")
    page.wait_for_function(f"document.querySelector('tr.osiris-idea').dataset.id === '{before}'")


def test_a_key_that_is_held_down_decides_once(page, desk):
    keys = first_open(page, 3)
    stand_on(page, keys[0])
    page.keyboard.down("a")
    page.keyboard.down("a")  # a second time without `up`: the browser marks it as a repeat
    page.keyboard.down("a")
    page.keyboard.up("a")
    becomes(page, keys[0], "approved")
    page.wait_for_timeout(500)
    assert [desk[0].advice.get(key)["status"] for key in keys[1:]] == ["pending", "pending"]


def test_keys_with_modifiers_and_keys_elsewhere_do_nothing(page, desk):
    (key,) = first_open(page)
    stand_on(page, key)
    press(page, "Control+a", "Alt+r", "Meta+a")
    page.get_by_label("Reviewer").click()
    page.keyboard.type("ara")
    page.wait_for_timeout(500)
    assert desk[0].advice.get(key)["status"] == "pending"


def test_an_edit_is_typed_checked_and_saved(page, desk):
    (key,) = first_open(page)
    before = desk[0].advice.get(key)
    sign = 1 if before["side"] == "long" else -1
    stand_on(page, key)
    press(page, "e")
    target, message = page.locator(".osiris-field-target"), page.locator(".osiris-message")
    target.wait_for()
    assert target.evaluate("(one) => document.activeElement === one")
    page.keyboard.type(str(before["entry"] - sign))
    page.wait_for_selector('.osiris-message:has-text("idea needs")')
    assert page.get_by_role("button", name="Save").is_disabled()
    press(page, "Enter")
    page.wait_for_timeout(300)
    assert desk[0].advice.get(key)["status"] == "pending"
    wanted = round(before["entry"] + sign * 2.5 * before["atr"], 2)
    target.fill(str(wanted))
    page.wait_for_selector('.osiris-message:has-text("reward to risk")')
    page.locator(".osiris-field-comment").fill("room to the last high")
    press(page, "Enter")
    becomes(page, key, "edited")
    assert message.count() == 0
    assert page.evaluate("document.activeElement.className") == "osiris-advisory"
    after = desk[0].advice.get(key)
    assert (after["target"], after["entry"], after["status"]) == (wanted, before["entry"], "edited")


def test_an_edit_is_left_by_escape(page, desk):
    (key,) = first_open(page)
    stand_on(page, key)
    press(page, "e")
    page.locator(".osiris-field-stop").wait_for()
    page.keyboard.type("1")
    press(page, "Escape")
    page.wait_for_selector(".osiris-form", state="detached")
    press(page, "j", "k")
    assert desk[0].advice.get(key)["status"] == "pending"


def test_a_letter_on_a_button_of_the_form_decides_nothing(page, desk):
    (key,) = first_open(page)
    stand_on(page, key)
    press(page, "e")
    page.get_by_role("button", name="Cancel").focus()
    press(page, "a", "r", "Shift+A", "x", "j")
    page.wait_for_timeout(500)
    assert page.locator(".osiris-form").count() == 1
    assert desk[0].advice.get(key)["status"] == "pending"
    press(page, "Escape")
    page.wait_for_selector(".osiris-form", state="detached")


def test_a_sentence_is_never_a_decision_when_a_colleague_decides_meanwhile(page, desk):
    key, *others = first_open(page, 8)
    stand_on(page, key)
    press(page, "e")
    comment = page.locator(".osiris-field-comment")
    comment.click()
    page.keyboard.type("stop is ")
    decide_as_bob(desk, key, "approval")
    page.wait_for_selector('.osiris-message:has-text("approved by bob")')
    page.keyboard.type("just a bit wide, r and A are rare")
    press(page, "Enter")
    page.wait_for_timeout(1000)
    assert comment.input_value() == "stop is just a bit wide, r and A are rare"
    assert {desk[0].advice.get(other)["status"] for other in others} == {"pending"}
    assert (desk[0].advice.get(key)["status"], desk[0].advice.get(key)["reviewer"]) == ("approved", "bob")


def test_a_form_that_is_taken_away_leaves_the_focus_alone(page, desk):
    (key,) = first_open(page)
    stand_on(page, key)
    press(page, "e")
    page.locator(".osiris-field-target").wait_for()
    page.get_by_label("Ticker").fill("ibm")
    press(page, "Enter")
    page.wait_for_selector(".osiris-form", state="detached")
    assert page.get_by_label("Ticker").evaluate("(one) => document.activeElement === one")


# -- what stands beside, what the page ends with ----------------------------------------------------------------------


def test_the_price_and_the_like_of_the_idea_follow_the_cursor(page):
    image = page.locator(".osiris-idea-details img")
    image.wait_for()
    seen = page.locator(".osiris-picture h4").inner_text()
    stand_on(page, rows(page).nth(5).get_attribute("data-id"))
    page.wait_for_function(f"document.querySelector('.osiris-picture h4').textContent !== {seen!r}")
    assert image.evaluate("(one) => one.naturalWidth") > 800
    titles = page.locator(".osiris-facts h4").all_inner_texts()
    assert [title.split(" ")[0] for title in titles] == ["Other", "Similar", "Earlier"]
    assert page.locator(".osiris-facts td").count() > 20


def test_the_page_ends_with_what_the_review_is_worth(page):
    text = page.locator("body").inner_text()
    for word in ("approval rate", "win rate, approved", "mean R, approved minus rejected", "mean R, edited minus"):
        assert word in text


# -- what happens elsewhere -------------------------------------------------------------------------------------------


def test_what_another_client_decides_appears_by_itself(page, desk):
    (key,) = first_open(page)
    decide_as_bob(desk, key, "approval")
    page.wait_for_selector(f'tr.osiris-idea[data-id="{key}"][data-status="approved"]')


def test_a_new_idea_is_counted_by_itself(page, desk):
    before = int(re.search(r"of (\d+)", page.locator("body").inner_text())[1])
    desk[0].advice.add([idea(number=900, as_of=NOW - timedelta(days=20), ticker="MSFT")])
    page.wait_for_function(f"/of {before + 1}/.test(document.body.innerText)")


def test_a_server_that_stops_loses_nothing_and_nothing_is_shown_as_saved_before(tmp_path, visit):
    workspace = make_review_workspace(tmp_path, ideas=40, pending=10)
    with start_api(workspace, port=0) as api, review_server(tmp_path, tmp_path / "config") as url:
        page = visit(url)
        page.wait_for_selector("tr.osiris-idea")
        approved, rejected = first_open(page, 2)
        api.stop()
        page.wait_for_selector("text=Not up to date")
        stand_on(page, approved)
        press(page, "a", "r")
        page.wait_for_selector(".osiris-under[data-tone=waiting] >> nth=1")
        assert page.locator("small", has_text="Saved.").count() == 0
        assert {workspace.advice.get(key)["status"] for key in (approved, rejected)} == {"pending"}
        port = int(api.url.rsplit(":", 1)[1])
        with start_api(workspace, port=port):
            becomes(page, approved, "approved")
            becomes(page, rejected, "rejected")
    assert len(workspace.advice.feedback()) == 2


def test_a_decision_without_an_answer_is_said_to_be_unsaved_until_it_is_saved(page, desk):
    kernels = [one for one in psutil.Process().children(recursive=True) if "flows.kernel_parent" in one.cmdline()]
    assert len(kernels) >= 2, "the kernel of a page is forked from a parent"
    (key,) = first_open(page)
    stand_on(page, key)
    for kernel in kernels:
        kernel.send_signal(signal.SIGSTOP)
    try:
        press(page, "a")
        page.wait_for_selector('.osiris-under[data-tone=waiting]:has-text("Not saved yet: approval")')
        assert desk[0].advice.get(key)["status"] == "pending"
    finally:
        for kernel in kernels:
            kernel.send_signal(signal.SIGCONT)
    becomes(page, key, "approved")
    assert page.locator(".osiris-under[data-tone=waiting]").count() == 0


def test_leaving_with_unsaved_decisions_asks_first(tmp_path, visit):
    workspace = make_review_workspace(tmp_path, ideas=12, pending=4)
    with start_api(workspace, port=0) as api, review_server(tmp_path, tmp_path / "config") as url:
        page = visit(url)
        page.wait_for_selector("tr.osiris-idea")
        api.stop()
        stand_on(page, first_open(page)[0])
        press(page, "a")
        page.wait_for_selector(".osiris-under[data-tone=waiting]")
        with page.expect_event("dialog") as asked:
            page.close(run_before_unload=True)
        assert asked.value.type == "beforeunload"
        asked.value.accept()
