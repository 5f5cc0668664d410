"""The real gateway behind a real nginx with deploy/nginx/sluice.conf: every verdict is the same as
without it.

    python3 tests/deploy/proxy.py BINARY [CLASS]

The class OneRequestAMinute takes that minute; Proxy half of it. Needs the packages nginx-light and
openssl (Debian).
"""

import hashlib
import hmac
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(sys.argv.pop(1)).resolve()
SECRET = b"a-test-secret-of-32-bytes-length"
PATIENCE = 30
BODY_LIMIT = 512 * 1024

MAIN = """
[edge]
listen = "127.0.0.1:{port}"
trusted_proxies = ["127.0.0.1"]
[admin]
listen = "127.0.0.1:{admin}"
[telemetry]
format = "json"
"""
TENANT = """
[sources.orders]
vendor = "generic"
secrets = ["file:orders.secret"]
[[sources.orders.routes]]
name = "log"
action = "log"
"""
NGINX = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/sluice.conf;
}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what, look):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE} s in vain: {what}")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def replaced(text, pattern, new):
    text, count = re.subn(pattern, new, text)
    assert count == 1, f"{pattern} stands {count} times in deploy/nginx/sluice.conf"
    return text


class World:
    """A folder, a gateway, an nginx before it."""

    def __init__(self):
        for needed in ("nginx", "openssl"):
            if not shutil.which(needed, path="/usr/sbin:/usr/bin:/sbin:/bin"):
                raise SystemExit(f"{needed} is missing: apt-get install nginx-light openssl")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-proxy-"))
        self.processes = []
        self.port, self.admin, self.tls = free_port(), free_port(), free_port()
        (self.folder / "tenants").mkdir()
        (self.folder / "sluice.toml").write_text(MAIN.format(port=self.port, admin=self.admin))
        (self.folder / "tenants/acme.toml").write_text(TENANT)
        secret = self.folder / "orders.secret"
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        self.gateway = self.start([BINARY, "serve", "--config", self.folder], "gateway.log")
        self.certificate()
        self.nginx = self.start(self.configured(), "nginx.log")
        eventually("the gateway listens", lambda: listens(self.port))
        eventually("nginx listens", lambda: listens(self.tls))

    def start(self, command, log):
        with open(self.folder / log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=hooks.example.com", "-addext", "subjectAltName=DNS:hooks.example.com",
             "-keyout", self.folder / "tls.key", "-out", self.folder / "tls.pem"],
            check=True, capture_output=True)

    def configured(self):
        text = (ROOT / "deploy/nginx/sluice.conf").read_text()
        text = replaced(text, r"(?m)^    server 127\.0\.0\.1:8080;", f"    server 127.0.0.1:{self.port};")
        text = replaced(text, r"(?m)^    listen 443 ssl;", f"    listen 127.0.0.1:{self.tls} ssl;")
        text = replaced(text, r"(?m)^    listen \[::\]:443 ssl;\n", "")
        text = replaced(text, r"/etc/nginx/tls/hooks\.example\.com\.pem", str(self.folder / "tls.pem"))
        text = replaced(text, r"/etc/nginx/tls/hooks\.example\.com\.key", str(self.folder / "tls.key"))
        (self.folder / "sluice.conf").write_text(text)
        is_root = pathlib.Path("/proc/self").stat().st_uid == 0
        main = NGINX.format(folder=self.folder, user="user root;" if is_root else "")
        (self.folder / "nginx.conf").write_text(main)
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
        return [nginx, "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"]

    def end(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder)

    def direct(self):
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def proxied(self):
        context = ssl.create_default_context(cafile=self.folder / "tls.pem")
        plain = socket.create_connection(("127.0.0.1", self.tls), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname="hooks.example.com")

    def events(self):
        runtime = json.loads((self.folder / "runtime.json").read_text())
        with socket.create_connection(("127.0.0.1", self.admin), PATIENCE) as connection:
            connection.sendall(
                f"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {runtime['token']}\r\n\r\n".encode())
            scrape = read_all(connection).decode()
        found = re.findall(r'^sluice_webhook_events_total\{[^}]*outcome="accepted"[^}]*\} (\d+)', scrape, re.M)
        return sum(map(int, found))


def read_all(connection):
    """What comes until the other side closes or resets."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return received


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        self.status = int(line.split(" ")[1]) if line else None
        self.headers = [tuple(part.strip() for part in header.lower().split(":", 1)) for header in headers]

    def all(self, name):
        return [value for key, value in self.headers if key == name]


NTH = iter(range(10**9))


def signed(body, timestamp=None):
    timestamp = str(int(timestamp or time.time()))
    code = hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return [f"x-signature: {code}", f"x-timestamp: {timestamp}", f"x-event-id: e{next(NTH)}"]


def order(size=0):
    return json.dumps({"event_type": "order.created", "n": next(NTH), "pad": "x" * size}).encode()


def request(body, headers=(), path="/webhooks/acme/orders", method="POST", close=True, framing=None):
    lines = [f"{method} {path} HTTP/1.1", "host: hooks.example.com", "content-type: application/json", *headers]
    lines += [f"content-length: {len(body)}"] if framing is None else framing
    lines += ["connection: close"] if close else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def delivered(connect, pieces, pause=0.0):
    """Sends pieces on one connection; what came back until it was closed."""
    with connect() as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                if pause:
                    time.sleep(pause)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass
        return read_all(connection)


WORLD = None


def setUpModule():
    global WORLD
    WORLD = World()


def tearDownModule():
    WORLD.end()


class Proxy(unittest.TestCase):
    def both(self, pieces, pause=0.0):
        """The statuses of what came back, directly and behind nginx, and how many events each made."""
        verdicts = []
        for connect in (WORLD.direct, WORLD.proxied):
            before = WORLD.events()
            raw = delivered(connect, pieces(), pause)
            # Every answer of the connection: a smuggled request would have one of its own.
            statuses = [int(found) for found in re.findall(rb"(?m)^HTTP/1\.[01] (\d{3}) ", raw)]
            verdicts.append((statuses, WORLD.events() - before))
        return verdicts

    def same(self, pieces, statuses, events=0, pause=0.0):
        direct, proxied = self.both(pieces, pause)
        self.assertEqual(direct, (statuses, events), "directly")
        self.assertEqual(proxied, direct, "behind nginx")

    def test_a_signed_delivery_is_taken_and_its_duplicate_is_known_on_either_way(self):
        body = order()
        headers = signed(body)
        first = Answer(delivered(WORLD.proxied, [request(body, headers) + body]))
        again = Answer(delivered(WORLD.direct, [request(body, headers) + body]))
        self.assertEqual((first.status, again.status), (200, 200))
        first, again = json.loads(first.body), json.loads(again.body)
        self.assertEqual((first["duplicate"], again["duplicate"]), (False, True))
        self.assertEqual(first["event_id"], again["event_id"])

    def test_refusals_are_the_same(self):
        def forged():
            body = order()
            return [request(body, signed(body + b" ")) + body]

        def stale():
            body = order()
            return [request(body, signed(body, time.time() - 3600)) + body]

        def encoded():
            body = order()
            return [request(body, [*signed(body), "content-encoding: gzip"]) + body]

        def nowhere(path):
            return lambda: [request(b"{}", path=path) + b"{}"]

        self.same(forged, [401])
        self.same(stale, [401])
        self.same(encoded, [415])
        self.same(nowhere("/webhooks/acme/nobody"), [401])
        self.same(nowhere("/webhooks/acme/orders/"), [404])
        self.same(nowhere("/webhooks/x/../acme/orders"), [404])
        self.same(nowhere("/webhooks/acme%2forders"), [404])
        self.same(nowhere("//webhooks/acme/orders"), [404])
        self.same(nowhere("/healthz"), [404])
        self.same(nowhere("/metrics"), [404])
        self.same(lambda: [request(b"", method="DELETE")], [405])

    def test_oversize_is_the_same(self):
        def fits():
            body = order(BODY_LIMIT - 200)
            return [request(body, signed(body)) + body]

        def announced():
            body = order(BODY_LIMIT)
            return [request(body, signed(body)), body]

        def chunked():
            body = order(BODY_LIMIT)
            return [request(body, signed(body), framing=["transfer-encoding: chunked"]),
                    b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)]

        def header():
            return [request(b"{}", ["x-padding: " + "x" * 17_000]) + b"{}"]

        self.same(fits, [200], events=1)
        self.same(announced, [413])
        self.same(chunked, [413])
        self.same(header, [431])

    def test_a_slow_sender_gets_the_same(self):
        def trickle():
            body = order(2000)
            head = request(body, signed(body))
            return [head] + [bytes([byte]) for byte in body[:40]]

        def half_a_header():
            return [b"POST /webhooks/acme/orders HTTP/1.1\r\nhost: hooks.example.com\r\nx-a: "]

        def steady():
            body = order(9000)
            return [request(body, signed(body)), *(body[at:at + 1000] for at in range(0, len(body), 1000))]

        self.same(trickle, [408], pause=0.1)
        self.same(half_a_header, [])
        self.same(steady, [200], events=1, pause=0.1)

    def test_framing_that_two_could_read_differently_is_never_a_second_request(self):
        smuggled = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: hooks.example.com\r\nconnection: close\r\n\r\n"

        def framed(framing, sent):
            def pieces():
                body = order()
                return [request(body, signed(body), framing=framing, close=False) + sent(body)]
            return pieces

        def chunk(body):
            return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

        cases = {
            "length and chunks": (["content-length: 4", "transfer-encoding: chunked"], lambda b: chunk(b) + smuggled),
            "two lengths": (["content-length: 4", "content-length: 5"], lambda b: b + smuggled),
            "a list of lengths": (["content-length: 4, 5"], lambda b: b + smuggled),
            "a signed length": (["content-length: +4"], lambda b: b + smuggled),
            "an unknown coding": (["transfer-encoding: xchunked"], lambda b: chunk(b) + smuggled),
            "chunked is not last": (["transfer-encoding: chunked, identity"], lambda b: chunk(b) + smuggled),
            "a hidden coding": (["transfer-encoding : chunked", "content-length: 4"], lambda b: chunk(b) + smuggled),
            "a folded header": (["x-a: b\r\n transfer-encoding: chunked", "content-length: 4"], lambda b: chunk(b) + smuggled),
            "a broken chunk": (["transfer-encoding: chunked"], lambda b: b"zz\r\n" + b + smuggled),
            "a chunk of 2^64": (["transfer-encoding: chunked"], lambda b: b"10000000000000002\r\n" + b + smuggled),
        }
        for name, (framing, sent) in cases.items():
            with self.subTest(name):
                direct, proxied = self.both(framed(framing, sent))
                # RFC 9112 lets a server take the chunks and forget the length, which the gateway does, or
                # refuse; nginx refuses.
                taken = ([200], 1) if name == "length and chunks" else ([400], 0)
                self.assertEqual(direct, taken, "directly")
                self.assertIn(proxied, [([400], 0), ([501], 0)], "behind nginx")

    def test_hsts_comes_once_with_every_answer_nginx_s_own_included(self):
        def hsts(status, *pieces):
            answer = Answer(delivered(WORLD.proxied, pieces))
            self.assertEqual((answer.status, answer.all("strict-transport-security")), (status, ["max-age=63072000"]))
            return answer

        body = order()
        hsts(200, request(body, signed(body)) + body)
        hsts(401, request(body, signed(b"forged")) + body)
        hsts(404, request(b"{}", path="/") + b"{}")
        hsts(413, request(b"x" * 600_000), b"x" * 600_000)
        hsts(400, b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
        hsts(413, request(b"", framing=["content-length: 99999999999"]))
        WORLD.gateway.send_signal(signal.SIGKILL)
        WORLD.gateway.wait(PATIENCE)
        body = order()
        refused = hsts(503, request(body, signed(body)) + body)
        self.assertEqual((refused.all("retry-after"), json.loads(refused.body)["error"]), (["5"], "unavailable"))
        WORLD.gateway = WORLD.start([BINARY, "serve", "--config", WORLD.folder], "gateway.log")
        eventually("the gateway listens again", lambda: listens(WORLD.port))
        hsts(200, request(body, signed(body)) + body)

    def test_tls_1_1_is_refused_and_tls_1_2_and_1_3_are_taken(self):
        port = free_port()
        control = WORLD.start(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0",
             "-cert", WORLD.folder / "tls.pem", "-key", WORLD.folder / "tls.key", "-quiet"], "s_server.log")
        eventually("the server of TLS 1.1 listens", lambda: listens(port))

        def shaken(port, version):
            client = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-cipher", "ALL:@SECLEVEL=0",
                 "-brief"], input=b"", capture_output=True, timeout=PATIENCE)
            return b"CONNECTION ESTABLISHED" in client.stderr

        self.assertTrue(shaken(port, "tls1_1"), "this client can speak it")
        control.kill()
        self.assertEqual(
            [shaken(WORLD.tls, version) for version in ("tls1", "tls1_1", "tls1_2", "tls1_3")], [False, False, True, True])

    def test_the_gateway_believes_nginx_about_the_client_and_not_the_client(self):
        def client_of(connect, address):
            body = order()
            forged = request(body, [*signed(b"forged"), f"x-forwarded-for: {address}"]) + body
            log = WORLD.folder / "gateway.log"
            before = log.stat().st_size
            self.assertEqual(Answer(delivered(connect, [forged])).status, 401)

            def refused():
                lines = log.read_text()[before:].splitlines()
                return next((it for it in lines if '"delivery refused"' in it and it.endswith("}")), None)

            return json.loads(eventually("the refusal is logged", refused))["client"]

        # Both come from 127.0.0.1, which is trusted; nginx does not pass on what a client says of itself.
        self.assertEqual(client_of(WORLD.direct, "203.0.113.7"), "203.0.113.7")
        self.assertEqual(client_of(WORLD.proxied, "203.0.113.7"), "127.0.0.1")


class OneRequestAMinute(unittest.TestCase):
    """In real time, with the idle timeouts as they are delivered: 60 s in nginx, 75 s in the gateway."""

    CONNECTIONS = 12

    def idle(self):
        """Seconds after which the first of the two closes an idle connection between them."""
        conf = (ROOT / "deploy/nginx/sluice.conf").read_text()
        ours = re.search(r"idle_proxy: Duration::from_secs\((\d+)\)", (ROOT / "src/edge/accept.rs").read_text())
        theirs = re.search(r"upstream sluice \{[^}]*keepalive_timeout (\d+)s;", conf)
        return min(int(ours[1]), int(theirs[1]))

    def at_once(self, heads_first):
        """Deliveries at the same time, each over a connection to the gateway of its own; their statuses."""
        waiting = []
        for _ in range(self.CONNECTIONS):
            body = order()
            waiting.append((WORLD.proxied(), request(body, signed(body)), body))
        heads_first(waiting)
        statuses = []
        for connection, _, _ in waiting:
            with connection:
                statuses.append(Answer(read_all(connection)).status)
        return statuses

    def test_no_request_is_sent_into_a_connection_that_is_being_closed(self):
        def first(waiting):
            for connection, head, _ in waiting:
                connection.sendall(head)
            time.sleep(0.5)  # nginx passes heads on at once: each has its connection to the gateway now
            for connection, _, body in waiting:
                connection.sendall(body)

        children = pathlib.Path(f"/proc/{WORLD.nginx.pid}/task/{WORLD.nginx.pid}/children")
        worker = eventually("nginx has its worker", lambda: children.read_text().split())[0]

        def again(waiting):
            # nginx is held while the connections to the gateway come of age, as a busy machine holds it. The
            # requests are there first when it goes on.
            subprocess.run(["kill", "-STOP", worker], check=True)
            for connection, head, body in waiting:
                connection.sendall(head + body)
            time.sleep(max(0, begun + self.idle() + 1.5 - time.monotonic()))
            subprocess.run(["kill", "-CONT", worker], check=True)

        self.assertEqual(self.at_once(first), [200] * self.CONNECTIONS)
        begun = time.monotonic()
        time.sleep(self.idle() - 1.5)
        self.assertEqual(self.at_once(again), [200] * self.CONNECTIONS)


if __name__ == "__main__":
    unittest.main()
