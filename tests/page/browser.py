"""A real browser that is watched: what it writes to its console, and whom it asks."""

import contextlib
import shutil

from playwright.sync_api import sync_playwright

from topology import expect

PATIENCE_MS = 30_000


@contextlib.contextmanager
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    expect("chromium is installed", path)
    with sync_playwright() as driver:
        # In containers there is neither a user's sandbox nor much shared memory.
        browser = driver.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def failures_told(what):
    """Where a scenario fails, what the browser said meanwhile is told as well."""
    Watched.opened.clear()
    try:
        yield
    except BaseException:
        print(f"failed in {what}; the browser said: {[each.wrong for each in Watched.opened]}")
        raise


class Watched:
    """A page in a profile of its own. What it must not do is collected until `is_clean`."""

    #: Pages since the scenario began.
    opened = []

    def __init__(self, browser, at, **kind):
        Watched.opened.append(self)
        self.at = at
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **kind})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.wrong = []
        #: Statuses of refusals that the test is about; the browser writes each to the console.
        self.refusals = set()
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        self.page.on(
            "dialog",
            lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()),
        )
        self.page.on("request", self.asked)

    def heard(self, message):
        refused = any(f"status of {status}" in message.text for status in self.refusals)
        if message.type in ("error", "warning") and not refused:
            self.wrong.append(f"{message.type}: {message.text}")

    def asked(self, request):
        if not request.url.startswith((f"http://{self.at}/", "data:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def open(self, view=""):
        self.page.goto(f"http://{self.at}/{view}")
        return self.page

    def is_clean(self, what):
        expect(f"{what}: nothing on the console, nobody else asked", not self.wrong, self.wrong)
        self.context.close()
        print(f"  ok  {what}")
