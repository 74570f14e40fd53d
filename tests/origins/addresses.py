"""A name in dnsmasq, whose addresses come and go under load."""

import http.client
import os
import signal
import threading

from .machine import ask, listens, metric, port, until

ADDRESSES = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]


def test_an_address_that_goes_away_under_load_fails_no_request(machine):
    at, dns = port("127.0.0.2"), port()
    servers = {
        address: machine.nginx(
            f"app{n}", f'server {{ listen {address}:{at}; location / {{ return 200 "{address}"; }} }}'
        )
        for n, address in enumerate(ADDRESSES)
    }
    for address in ADDRESSES:
        until(address, lambda on=address: listens(at, on))

    def hosts(addresses):
        lines = "".join(f"{address} app.weir.test\n" for address in addresses)
        # dnsmasq may run as somebody else.
        os.chmod(machine.write("hosts", lines), 0o644)

    hosts(ADDRESSES)
    resolver = machine.start(
        "dnsmasq", "dnsmasq", "--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
        f"--port={dns}", "--listen-address=127.0.0.1", "--bind-interfaces", "--local-ttl=1",
        f"--addn-hosts={machine.path('hosts')}", "--user=root" if os.geteuid() == 0 else "--user=",
        "--pid-file=",
    )  # fmt: skip
    until("dnsmasq", lambda: listens(dns))
    # With the retry that there is by default: a server that ends resets the connections that it has not accepted yet,
    # with the requests that were sent on them. Addresses that take no connection need none (tests/origins.rs).
    listen, admin = machine.weir(
        "named",
        f'resolver = ["127.0.0.1:{dns}"]\n[[site]]\nid = "shop"\nhosts = ["shop.example"]\n'
        f'origins = ["http://app.weir.test:{at}"]\n',
    )

    def healthy(address):
        name = f"http://app.weir.test:{at} ({address})"
        return metric(admin, f'weir_upstream_member_healthy{{pool="shop",member="{name}"}}')

    until("all addresses", lambda: all(healthy(address) == 1 for address in ADDRESSES))
    failures, seen, stop = [], [], threading.Event()

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", listen, 30)
        count = 0
        while not stop.is_set():
            connection.request("GET", f"/{number}/{count}", headers={"Host": "shop.example"})
            response = connection.getresponse()
            body = response.read().decode()
            (seen if response.status == 200 else failures).append(body)
            count += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for one in clients:
        one.start()

    def more(count):
        before = len(seen)
        until("more answers", lambda: len(seen) > before + count or failures)

    more(300)
    assert set(seen) == set(ADDRESSES)
    # It is killed while its address is still in DNS, and taken from there afterwards.
    servers["127.0.0.2"].send_signal(signal.SIGQUIT)
    more(500)
    until("its own health", lambda: healthy("127.0.0.2") == 0)
    hosts(ADDRESSES[1:])
    resolver.send_signal(signal.SIGHUP)
    until("it is no member any more", lambda: healthy("127.0.0.2") is None)
    more(300)
    # And one that leaves DNS first gets no new requests.
    hosts(ADDRESSES[2:])
    resolver.send_signal(signal.SIGHUP)
    until("one address is left", lambda: healthy("127.0.0.3") is None)
    servers["127.0.0.3"].send_signal(signal.SIGQUIT)
    more(300)
    stop.set()
    for one in clients:
        one.join()
    assert not failures, failures[:5]
    assert ask(listen, "/last").body == "127.0.0.4"
    print(f"    {len(seen)} requests, none failed")
