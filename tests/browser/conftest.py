"""A real browser on real servers: Debian's chromium, driven by Playwright; `osiris review` in a process of its own."""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

CHROMIUM = shutil.which("chromium")
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
REVIEW_START_SECONDS = 90
LOADED_MACHINE_MS = 120_000
"""How long a page may take where other tests have both cores."""


def pytest_collection_modifyitems(items):
    missing = pytest.mark.skip(reason="no chromium on the PATH; Debian: apt-get install chromium")
    for item in items:
        if "tests/browser/" in item.path.as_posix() and CHROMIUM is None:
            item.add_marker(missing)


@pytest.fixture(scope="module")
def browser():
    """The browser; gone at the end of a module, since its event loop would be in the way of others."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)


@pytest.fixture
def visit(browser):
    """A function that opens an address in a window of its own, where `script` runs first, and gives the page.

    What the pages said on their consoles, and what they did not get, is printed when a test is over.
    """
    contexts = []

    def open_page(url, script="", **options):
        context = browser.new_context(viewport={"width": 1500, "height": 1150}, **options)
        contexts.append(context)
        context.set_default_timeout(LOADED_MACHINE_MS)
        context.add_init_script(script)
        page = context.new_page()
        page.on("console", lambda said: print(f"console: {said.type}: {said.text[:300]}"))
        page.on("pageerror", lambda error: print(f"page error: {error}"))
        page.on("requestfailed", lambda asked: print(f"not had: {asked.url[:200]}: {asked.failure}"))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()


@contextmanager
def review_server(folder, config, *options):
    """`osiris review` on the workspace in `folder`; gives the address that it prints."""
    config.mkdir(exist_ok=True)
    (config / "jupyter_server_config.py").write_text("c.ServerApp.allow_root = True\n")
    log = folder / "review.log"
    program = [Path(sys.executable).with_name("osiris"), "review", "--workspace", str(folder), "--no-browser", *options]
    with log.open("w") as file:
        server = subprocess.Popen(
            program, stdout=file, stderr=file, env=os.environ | {"JUPYTER_CONFIG_DIR": str(config)}
        )
    try:
        yield _wait_for_address(server, log)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for_address(server, log):
    deadline = time.monotonic() + REVIEW_START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        # By a handle of its own: one that it shared with the server would move where that writes.
        text = log.read_text()
        printed = re.search(r"http://\S+token=\S+", text)
        if printed and _is_answering(printed[0]) and ("--lab" in server.args or "Kernel pool" in text):
            return printed[0]
        time.sleep(0.2)
    raise AssertionError(f"no answer from the review page: {log.read_text()}")


def _is_answering(url):
    try:
        return httpx.get(url.replace("/?", "/static/?"), trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False
