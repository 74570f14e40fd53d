"""The snippets of a document: what stands below each heading, and how a snippet of nginx becomes a configuration."""

import re

#: Directives of nginx that stand beside servers; all others stand in one.
BESIDE_SERVERS = {"limit_req_zone", "map", "proxy_cache_path", "server", "upstream"}


class Document:
    def __init__(self, text):
        blocks = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
        #: All blocks of weir.
        self.configurations = [block for kind, block in blocks.findall(text) if kind == "toml"]
        section = re.search(r"^## Snippets\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]
        head, *parts = re.split(r"^### (.+)\n", section, flags=re.MULTILINE)
        #: What nginx's snippets stand in.
        self.around = dict(blocks.findall(head))["nginx"]
        #: By title: the blocks, by language.
        self.snippets = {}
        for title, text in zip(parts[::2], parts[1::2]):
            found = blocks.findall(text)
            kinds = [kind for kind, _ in found]
            assert kinds.count("toml") == 1 and len(set(kinds)) == len(kinds) >= 2, (title, kinds)
            self.snippets[title] = dict(found)

    def nginx(self, title):
        """The server with this snippet in it."""
        *beside, server = statements(self.around)
        inside = statements(server[server.index("{") + 1 : server.rindex("}")])
        own = statements(self.snippets[title]["nginx"])
        places = {place(statement) for statement in own}
        inside = [statement for statement in inside if place(statement) not in places]
        for statement in own:
            (beside if word(statement) in BESIDE_SERVERS else inside).append(statement)
        return "\n".join([*beside, "server {", *inside, "}"])


def statements(text):
    """A configuration of nginx as its outermost directives."""
    found, depth, quoted, begin = [], 0, False, 0
    for at, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        if character in ";}" and depth == 0:
            found.append(text[begin : at + 1].strip())
            begin = at + 1
    assert not text[begin:].strip(), text[begin:]
    return found


def word(statement):
    return re.match(r"\w+", statement)[0]


def place(statement):
    """What can be in a server only once."""
    if word(statement) == "listen":
        return "listen"
    return "location /" if re.match(r"location\s+/\s", statement) else statement
