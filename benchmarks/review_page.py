"""What the review desk costs: `python benchmarks/review_page.py [--ideas N] [--json]`; needs chromium on the PATH.

A workspace with that many ideas, the API in this process, the page by Voila and in JupyterLab in processes of their
own, a real browser on them. "Saved" is when the row says so, which is after the server has synced the decision to disk.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from osiris.config.settings import PROJECT_ROOT
from osiris.serving.server import RunningApi, start_api

sys.path.insert(0, str(PROJECT_ROOT))
from tests.browser.conftest import CHROMIUM, CHROMIUM_FLAGS, review_server
from tests.browser.review_workspace import NOW, make_review_workspace

WATCH = """() => {
  window.took = []; let began = null, before = 0;
  const saved = () => [...document.querySelectorAll('.osiris-desk small')].filter((one) => one.textContent).length;
  document.querySelector('.osiris-desk').addEventListener('keydown', (event) => {
    if (event.key === 'a') { began = performance.now(); before = saved(); }
  }, true);
  new MutationObserver(() => {
    if (began !== null && saved() > before) { window.took.push(performance.now() - began); began = null; }
  }).observe(document.querySelector('.osiris-desk'), { subtree: true, childList: true, characterData: true });
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ideas", type=int, default=10_900, help="of which about 8 %% have no prices and are left out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace = make_review_workspace(folder, args.ideas, pending=320)
        with start_api(workspace, port=0) as api:
            found = {f"ideas in the store: {workspace.advice.count()}": []} | measured(folder, api)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    table = Table("milliseconds", "times", "median", "p95", "most")
    for what, times in found.items():
        table.add_row(what, str(len(times) or ""), *(f"{value:.0f}" for value in spread(times)))
    Console().print(table)


def measured(folder: Path, api: RunningApi) -> dict[str, list[float]]:
    """Milliseconds of each thing, in the order it was done."""
    found: dict[str, list[float]] = {}
    with api.client() as client:
        ids = [row["id"] for row in client.get("/advice", params={"status": "pending", "limit": 320}).json()]
        found["one decision, API alone"] = [timed(lambda i=i: decide(client, i)) for i in ids[-40:]]
        for sort in ("as_of", "reward_to_risk", "hermes_score"):
            params = {"sort": sort, "limit": 25, "offset": 5_000}
            found[f"a page of 25 by {sort}, API alone"] = [
                timed(lambda p=params: client.get("/advice", params=p)) for _ in range(20)
            ]
        found["what stands beside, API alone"] = [
            timed(lambda i=i: client.get(f"/advice/{i}/details")) for i in ids[:20]
        ]
    with review_server(folder, folder / "config") as url, browsing() as open_page:
        found["first display by Voila: address to first row"] = []
        for _ in range(5):
            time.sleep(6)  # the next kernel warms up
            found["first display by Voila: address to first row"].append(timed(lambda: first_row(open_page(url))))
        page = open_page(url)
        first_row(page)
        page.evaluate(WATCH)
        for pause, words in ((1_000, "a second later"), (500, "half a second later"), (0, "at once")):
            found[f"key a to Saved, the next {words}"] = [one for _ in range(2) for one in approve_twenty(page, pause)]
        found["25 selected, key to the last Saved"] = [bulk(page) for _ in range(3)]
        found["decided elsewhere to shown here"] = [elsewhere(page, api) for _ in range(10)]
    with review_server(folder, folder / "config", "--lab") as url, browsing() as open_page:
        page = open_page(url)
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_timeout(5_000)
        found["first display in JupyterLab: Run All Cells to first row"] = [timed(lambda: run_all(page))]
    return found


def decide(client: object, idea: str) -> None:
    """Approve an idea by the API."""
    body = {"transaction_id": idea, "feedback_type": "approval", "feedback_content": {}, "timestamp": NOW.isoformat()}
    client.post("/feedback/phi3/", json=body).raise_for_status()


def approve_twenty(page: object, pause_ms: int) -> list[float]:
    """Approve the first twenty of the page one after another; milliseconds of each, by the browser's own clock."""
    page.evaluate("window.took = []")
    page.locator("tr.osiris-idea td.osiris-rationale").first.click()
    for number in range(20):
        page.wait_for_timeout(pause_ms)
        page.keyboard.press("a")
        page.wait_for_function(f"window.took.length > {number}", polling=20)
    page.keyboard.press("n")
    page.wait_for_timeout(700)
    return page.evaluate("window.took")


def bulk(page: object) -> float:
    """Select all of the page and approve them; then turn the page."""
    page.locator("thead input").click()
    page.wait_for_timeout(300)
    page.locator(".osiris-desk").focus()
    took = timed(
        lambda: (
            page.keyboard.press("Shift+A"),
            page.wait_for_function(
                "[...document.querySelectorAll('.osiris-desk small')].filter((one) => one.textContent).length === 25"
            ),
        )
    )
    page.keyboard.press("n")
    page.wait_for_timeout(700)
    return took


def elsewhere(page: object, api: RunningApi) -> float:
    """Approve what the page shows as pending by another client, and wait for the page."""
    page.wait_for_timeout(1_300)
    idea = page.locator('tr.osiris-idea[data-status="pending"]').nth(1).get_attribute("data-id")
    with api.client() as client:
        return timed(
            lambda: (
                decide(client, idea),
                page.wait_for_selector(f'tr.osiris-idea[data-id="{idea}"][data-status="approved"]'),
            )
        )


def run_all(page: object) -> None:
    """Run the notebook until the first row is there."""
    page.get_by_text("Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    first_row(page)


def first_row(page: object) -> None:
    """Wait for the first idea."""
    page.wait_for_selector("tr.osiris-idea")


@contextmanager
def browsing() -> Iterator[Callable[[str], object]]:
    """A function that opens an address in a new window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)

        def open_page(url: str) -> object:
            page = browser.new_page(viewport={"width": 1500, "height": 1150})
            page.goto(url)
            return page

        yield open_page


def timed(act: Callable[[], object]) -> float:
    """Milliseconds that `act` takes."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def spread(times: list[float]) -> tuple[float, ...]:
    """Median, 95th percentile, most."""
    if len(times) < 2:
        return tuple(times)
    return statistics.median(times), statistics.quantiles(times, n=20, method="inclusive")[18], max(times)


if __name__ == "__main__":
    main()
