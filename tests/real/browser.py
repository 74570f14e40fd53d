"""Chromium, headless, with a profile of its own for each visitor."""

import contextlib

from playwright.sync_api import sync_playwright

from .machine import HOST, expect, program

PATIENCE_MS = 120_000


@contextlib.contextmanager
def chromium():
    with sync_playwright() as driver:
        # In containers there is neither a user's sandbox nor much shared memory.
        browser = driver.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def visits(site, anonymous, users, judge):
    """Each visitor opens each page, and loads the last one once more; what comes over the network is judged."""
    with chromium() as browser:
        # Users come between the others.
        step = max(len(anonymous) // (2 * len(users)), 1)
        for number, visitor in enumerate(anonymous):
            visit(browser, site, visitor, judge)
            if number == 0:
                judge.first_visit_ends()
            if number % step == 0:
                visit(browser, site, users[number // step % len(users)], judge)


def visit(browser, site, who, judge):
    at = f"http://{HOST}:{site.port}"
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    context.add_cookies([{"name": name, "value": value, "url": at} for name, value in who.cookies.items()])
    page = context.new_page()
    responses = []
    page.on("response", lambda response: responses.append(response))
    for load in [*(lambda path=path: page.goto(f"{at}{path}") for path in site.shown), page.reload]:
        responses.clear()
        answer = load()
        expect(f"{page.url} is shown to {who}", answer and answer.status in (200, 304), answer)
        content = page.content()
        # What pages include from elsewhere is not weir's.
        for response in [each for each in responses if each.url.startswith(f"{at}/")]:
            headers = "\r\n".join(f"{one['name']}: {one['value']}" for one in response.headers_array())
            is_page = response.request.is_navigation_request()
            judge(
                who, f"{response.url} in a browser", response.status, headers,
                content if is_page else "", personal=is_page,
            )  # fmt: skip
    context.close()
