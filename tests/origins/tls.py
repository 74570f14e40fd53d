"""nginx that shows a certificate of a private authority, and wants one."""

from .machine import ask, metric, port, until


def authority(machine):
    """A CA with a certificate for app.internal and one for the node."""
    ca, ca_key = machine.path("ca.pem"), machine.path("ca.key")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    machine.openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=private", "-keyout", ca_key, "-out", ca)
    for name, subject, extension in [
        ("server", "/CN=app.internal", "subjectAltName=DNS:app.internal\nextendedKeyUsage=serverAuth"),
        ("client", "/CN=weir", "extendedKeyUsage=clientAuth"),
    ]:
        request, made = machine.path(f"{name}.csr"), machine.path(f"{name}.pem")
        extensions = machine.write(f"{name}.ext", extension)
        machine.openssl("req", *new, "-subj", subject, "-keyout", machine.path(f"{name}.key"), "-out", request)
        machine.openssl(
            "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
            "-extfile", extensions, "-out", made,
        )  # fmt: skip


def strict(machine, http2=""):
    """An nginx that answers with whom it saw, if a certificate of the authority was shown."""
    authority(machine)
    at = port()
    machine.nginx(
        "strict",
        f"""server {{
            listen 127.0.0.1:{at} ssl {http2};
            ssl_certificate {machine.path("server.pem")};
            ssl_certificate_key {machine.path("server.key")};
            ssl_client_certificate {machine.path("ca.pem")};
            ssl_verify_client on;
            location / {{ return 200 "$ssl_client_s_dn $ssl_server_name $server_protocol"; }}
        }}""",
    )
    return at


def pool(at, keys, protocol="h1"):
    return (
        f'[[site]]\nid = "shop"\nhosts = ["shop.example"]\n[[site.origin]]\nname = "app"\n'
        f'urls = [{{ url = "https://127.0.0.1:{at}", protocol = "{protocol}" }}]\n{keys}\n'
    )


def test_a_private_authority_a_client_certificate_and_a_name_of_its_own(machine):
    at = strict(machine)
    ca = f'ca = "{machine.path("ca.pem")}"\n'
    shown = f'certificate = "{machine.path("client.pem")}"\nkey = "{machine.path("client.key")}"\n'
    name = 'server_name = "app.internal"\n'
    health = 'health = { path = "/up", interval = "100ms" }\n'
    for number, (keys, status) in enumerate([
        (ca + shown + name + health, 200),
        # Nothing is shown: nginx says so.
        (ca + name, 400),
        # The authority is not known, or the name is another.
        (shown + name, 502),
        (ca + shown, 502),
        (ca + shown + 'server_name = "other.internal"\n', 502),
        # Any certificate will do, and any name is asked for.
        ("insecure = true\n" + shown + name, 200),
    ]):
        listen, admin = machine.weir(f"tls{number}", pool(at, keys))
        answer = ask(listen, "/a")
        assert answer.status == status, (keys, answer)
        if status == 200:
            assert answer.body == "CN=weir app.internal HTTP/1.1", answer
        if health in keys:
            line = f'weir_upstream_member_healthy{{pool="shop/app",member="https://127.0.0.1:{at}"}}'
            until("good probes", lambda: metric(admin, line) == 1)


def test_the_same_over_http2(machine):
    at = strict(machine, "http2")
    keys = (
        f'ca = "{machine.path("ca.pem")}"\ncertificate = "{machine.path("client.pem")}"\n'
        f'key = "{machine.path("client.key")}"\nserver_name = "app.internal"\n'
    )
    listen, _ = machine.weir("tls-h2", pool(at, keys, "h2"))
    answer = ask(listen, "/a")
    assert (answer.status, answer.body) == (200, "CN=weir app.internal HTTP/2.0"), answer
