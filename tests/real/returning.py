"""Control and nodes with a disk store, as processes of their own: a node goes, and returns with what it has
stored."""

import json

from ports import ports

from .machine import HOST, Control, expect, listens, until

NODE = "abcdef0123456789"


def token(name, secret, *scopes):
    return f'[[token]]\nname = "{name}"\nsecret = "{secret}"\nscopes = {json.dumps(scopes)}\n'


class Topology(Control):
    """Control by a recipe's configuration, where nodes find it."""

    def __init__(self, machine, config, admin, operator):
        super().__init__(machine, admin, operator)
        self.config = config
        own = f'[control]\ndata = "{machine.folder}/log"\n{token("nodes", NODE, "node")}'
        path = machine.write("control.toml", f"{config}\n{own}")
        command = [machine.weir, "control", "--config", path, "--listen", f"{HOST}:{admin}"]
        machine.process("control", command, lambda: listens(admin))

    def node(self, name, port):
        return Node(self, name, port)

    def until_on_disk(self, node, url):
        """Waits until the node has the response of a URL on disk."""
        def stored():
            told = json.loads(self.commands(f"weir explain --json --node {node.name} '{url}'"))
            explained = told["nodes"][0]["explanation"]
            found = [explained["selected"], *explained["variants"]]
            return any(each and each["stored_in"] == "disk" for each in found)

        until(f"{url} is on disk", stored)


class Node:
    """An edge with a disk store."""

    def __init__(self, topology, name, port):
        self.name, self.starts = name, 0
        machine, (own,) = topology.machine, ports(1)
        folder = machine.folder / name
        folder.mkdir()
        config = topology.config.replace("[node]", f'[node]\nname = "{name}"\nstate = "{folder}/state"', 1)
        config += f'\n[control]\nurl = "http://{HOST}:{topology.admin}"\ntoken = "{NODE}"\n'
        config += f'[disk]\npath = "{folder}/disk"\nsize = "256MiB"\nadmit = "all"\n'
        path = machine.write(f"{name}.toml", config)
        machine.run(machine.weir, "check", path)
        command = [machine.weir, "serve", "--config", path]
        command += ["--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{own}"]
        log = machine.folder / f"{name}.log"

        def joined():
            return log.read_text(errors="replace").count("joined control") > self.starts

        self.process = machine.process(name, command, joined)

    def stop(self):
        self.process.stop()
        status = self.process.process.returncode
        expect(f"{self.name} ends in order", status == 0, status)

    def start(self):
        self.starts += 1
        self.process.start()


def keeps_its_hits(topology, node, readers, at, paths):
    """Each page is stored, and a hit from the disk once the node was restarted."""
    for path in paths:
        readers.share(path)
        topology.until_on_disk(node, f"{at}{path}")
    node.stop()
    node.start()
    for path in paths:
        answer = readers.get(path)
        kept = answer.hit and "detail=disk" in answer.cache
        expect(f"{path} is a hit after a restart", kept, answer)
