"""The fields of a form in a page, as a browser would send them back."""

import html.parser

from .machine import expect


class Forms(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.area = [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        at = dict(attributes)
        if tag == "form":
            self.found.append((at, {}))
        if not self.found or at.get("name") is None:
            return
        name, kind = at["name"], at.get("type", "text")
        values = self.found[-1][1]
        if tag == "textarea":
            self.area = name
            values[name] = ""
        elif tag == "input" and kind not in ("submit", "button", "file", "image", "reset"):
            if kind not in ("checkbox", "radio") or "checked" in at:
                values[name] = at.get("value") or ""

    def handle_data(self, text):
        if self.area:
            self.found[-1][1][self.area] += text

    def handle_endtag(self, tag):
        if tag == "textarea":
            self.area = None


def fields(text, form):
    """Those of the form that has this id, this attribute, or an address that ends so."""
    for at, values in Forms(text).found:
        action = (at.get("action") or "").split("?")[0]
        if at.get("id") == form or form in at or action.endswith(form):
            return values
    expect(f"the page has a form {form}", False, [at for at, _ in Forms(text).found])
