"""The real gateway behind a real nginx with deploy/nginx/sluice.conf: every verdict is the same as
without it.

    python3 tests/deploy/proxy.py BINARY [CLASS]

The class OneRequestAMinute takes that minute; Proxy half of it. Needs the packages nginx-light and
openssl (Debian).
"""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
import urllib.parse

from behind import (
    BODY_LIMIT, PATIENCE, ROOT, SECRET, Answer, World, delivered, eventually, order, read_all, replaced, request,
    signed)

BINARY = pathlib.Path(sys.argv.pop(1)).resolve()

HTTP = """http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/sluice.conf;
}}"""


class Proxied(World):
    """With the file of deploy/, but for its ports and paths, and asking for client certificates."""

    def __init__(self):
        super().__init__(BINARY)
        self.self_signed("clients", "an authority")
        self.self_signed("foreign", "an authority")
        self.issued("vendor", "vendor.example", "clients")
        self.issued("forger", "vendor.example", "foreign")
        edge = f"""listen = "127.0.0.1:{self.port}"
trusted_proxies = ["127.0.0.1"]
client_ca = "file:clients.pem"
client_certificate_header = "X-Client-Cert"
"""
        demanding = 'client_certificate = { names = ["vendor.example"] }'
        self.configure(edge, {"orders": "", "mutual": demanding, "near": 'allow_from = ["127.0.0.2", "203.0.113.0/24"]'})
        self.start_gateway()
        text = (ROOT / "deploy/nginx/sluice.conf").read_text()
        text = replaced(text, r"(?m)^    server 127\.0\.0\.1:8080;", f"    server 127.0.0.1:{self.port};")
        text = replaced(text, r"(?m)^    listen 443 ssl;", f"    listen 127.0.0.1:{self.tls} ssl;")
        text = replaced(text, r"(?m)^    listen \[::\]:443 ssl;\n", "")
        text = replaced(text, r"/etc/nginx/tls/hooks\.example\.com\.pem", str(self.folder / "tls.pem"))
        text = replaced(text, r"/etc/nginx/tls/hooks\.example\.com\.key", str(self.folder / "tls.key"))
        text = replaced(text, r"(?m)^    # ssl_verify_client", "    ssl_verify_client")
        (self.folder / "sluice.conf").write_text(text)
        self.start_nginx(HTTP.format(folder=self.folder))


WORLD = None


def setUpModule():
    global WORLD
    WORLD = Proxied()


def tearDownModule():
    WORLD.end()


class Proxy(unittest.TestCase):
    def both(self, pieces, pause=0.0):
        """The statuses of what came back, directly and behind nginx, and how many events each made."""
        verdicts = []
        for connect in (WORLD.direct, WORLD.proxied):
            before = WORLD.events()
            raw = delivered(connect, pieces(), pause)
            # Every answer of the connection: a smuggled request would have one of its own, right behind the
            # body of the first.
            statuses = [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", raw)]
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
            "chunks and length": (["transfer-encoding: chunked", "content-length: 4"], lambda b: chunk(b) + smuggled),
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
                taken = ([200], 1) if name in ("length and chunks", "chunks and length") else ([400], 0)
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
        WORLD.start_gateway()
        hsts(200, request(body, signed(body)) + body)

    def test_tls_1_1_is_refused_and_tls_1_2_and_1_3_are_taken(self):
        self.assertEqual(WORLD.versions(), ["tls1_2", "tls1_3"])

    def test_the_gateway_believes_nginx_about_the_client_and_not_the_client(self):
        def client_of(connect, address):
            body = order()
            forged = request(body, [*signed(b"forged"), f"x-forwarded-for: {address}"]) + body
            return WORLD.refusal(connect, [forged])["client"]

        # Both come from 127.0.0.1, which is trusted; nginx does not pass on what a client says of itself.
        self.assertEqual(client_of(WORLD.direct, "203.0.113.7"), "203.0.113.7")
        self.assertEqual(client_of(WORLD.proxied, "203.0.113.7"), "127.0.0.1")

    def test_a_source_takes_deliveries_only_from_the_addresses_it_names(self):
        def sent(address, *more):
            body = order()
            headers = [*signed(body, secret=SECRET + b"near"), *more]
            pieces = [request(body, headers, "/webhooks/acme/near") + body]
            return (lambda: WORLD.proxied(source=address)), pieces

        self.assertEqual(Answer(delivered(*sent("127.0.0.2"))).status, 200)
        for more in ([], ["x-forwarded-for: 127.0.0.2"]):
            refused = WORLD.refusal(*sent("127.0.0.3", *more))
            self.assertEqual((refused["client"], refused["reason"]), ("127.0.0.3", "address_not_allowed"))

    def test_the_client_certificate_that_nginx_saw_counts_and_no_other(self):
        def sent(*more):
            body = order()
            return [request(body, [*signed(body, secret=SECRET + b"mutual"), *more], "/webhooks/acme/mutual") + body]

        def shows(certificate):
            return lambda: WORLD.proxied(shows=certificate)

        claimed = "x-client-cert: " + urllib.parse.quote((WORLD.folder / "vendor.pem").read_text())
        self.assertEqual(Answer(delivered(shows("vendor"), sent())).status, 200)
        self.assertEqual(WORLD.refusal(shows("forger"), sent())["reason"], "certificate_invalid")
        self.assertEqual(WORLD.refusal(WORLD.proxied, sent())["reason"], "certificate_missing")
        # Certificates are public: whoever has one may send it as a header, and nginx drops it.
        self.assertEqual(WORLD.refusal(WORLD.proxied, sent(claimed))["reason"], "certificate_missing")
        self.assertEqual(WORLD.refusal(shows("forger"), sent(claimed))["reason"], "certificate_invalid")
        # The same header from nginx's own address is nginx's word.
        self.assertEqual(Answer(delivered(WORLD.direct, sent(claimed))).status, 200)
        # Sources that demand none take deliveries with any certificate, and without.
        for connect in (WORLD.proxied, shows("vendor"), shows("forger")):
            body = order()
            self.assertEqual(Answer(delivered(connect, [request(body, signed(body)) + body])).status, 200)

    def test_odd_requests_are_the_same_or_nginx_refuses_them_for_a_reason_that_is_said(self):
        def posted(head, body, more=b"", framing=None):
            """A delivery with another request line or other headers than the usual."""
            lines = [*head, *signed(body), *(framing or [f"content-length: {len(body)}"]), "content-type: application/json"]
            return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body + more

        host, path, close = "host: hooks.example.com", "/webhooks/acme/orders", "connection: close"
        line = f"POST {path} HTTP/1.1"
        chunks = "transfer-encoding: chunked"

        def chunked(head, write):
            body = order()
            lines = [*head, *signed(body), "content-type: application/json", chunks]
            return "\r\n".join(lines).encode() + b"\r\n\r\n" + write(body)

        def lined(end):
            body = order()
            head = request(body, signed(body))
            return head.replace(b"\r\n", end) + body

        def twice():
            first, second = order(), order()
            return request(first, signed(first), close=False) + first + request(second, signed(second)) + second

        taken, refused = ([200], 1), ([400], 0)
        methods = "nginx knows methods of capital letters only"
        # What is sent; the verdict without nginx; nginx's own where it differs, and why.
        cases = {
            "absolute form": (lambda: posted([f"POST http://hooks.example.com{path} HTTP/1.1", host, close], order()), taken),
            "a query": (lambda: posted([f"POST {path}?a=%2F..%2Fb HTTP/1.1", host, close], order()), taken),
            "lower-case method": (lambda: posted([f"post {path} HTTP/1.1", host, close], order()), ([405], 0), refused, methods),
            "HTTP/1.0": (lambda: posted([f"POST {path} HTTP/1.0", host], order()), taken),
            "HTTP/1.0 with chunks": (lambda: chunked([f"POST {path} HTTP/1.0", host], lambda b: b"%x\r\n%s\r\n0\r\n\r\n" % (len(b), b)), refused),
            "HTTP/3.0": (lambda: posted([f"POST {path} HTTP/3.0", host, close], order()), refused, ([505], 0), "nginx names it: not supported"),
            "the preface of HTTP/2": (lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ([], 0), refused, "the gateway only closes"),
            "two in one piece": (twice, ([200, 200], 2)),
            "bare line feeds": (lambda: lined(b"\n"), taken),
            "a chunk's extension": (lambda: chunked([line, host, close], lambda b: b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(b), b)), taken),
            "trailers": (lambda: chunked([line, host, close], lambda b: b"%x\r\n%s\r\n0\r\nx-a: b\r\n\r\n" % (len(b), b)), taken),
            "no host": (lambda: posted([line, close], order()), refused),
            "two hosts": (lambda: posted([line, host, "host: b.example", close], order()), refused),
            "100-continue": (lambda: posted([line, host, close, "expect: 100-continue"], order()), ([100, 200], 1)),
            "a signature twice": (lambda: posted([line, host, close, "x-signature: 00"], order()), ([401], 0)),
            "a header with an underscore": (lambda: posted([line, host, close, "x_a: b"], order()), taken),
            "headers named in connection": (lambda: posted([line, host, "connection: close, x-signature"], order()), taken),
            "an upgrade to HTTP/2": (lambda: posted([line, host, "connection: upgrade, close", "upgrade: h2c"], order()), taken),
            "NUL in a header": (lambda: posted([line, host, close, "x-a: b\0c"], order()), refused),
            "NUL in the path": (lambda: posted([f"POST {path}\0 HTTP/1.1", host, close], order()), refused),
            "escaped NUL in the path": (lambda: posted([f"POST {path}%00 HTTP/1.1", host, close], order()), ([404], 0), refused, "nginx refuses it in any path"),
            "NUL in the body": (lambda: posted([line, host, close], b"{\"a\":\0}"), refused),
            "a control character in a header": (lambda: posted([line, host, close, "x-a: b\x01c"], order()), refused),
            "a space in a header's name": (lambda: posted([line, host, close, "x a: b"], order()), refused),
            "a header without a name": (lambda: posted([line, host, close, ": b"], order()), refused),
            "a negative length": (lambda: posted([line, host, close], b"{}", framing=["content-length: -2"]), refused),
            "a length past 2^64": (lambda: posted([line, host, close], b"{}", framing=["content-length: 99999999999999999999"]), refused),
            "more than the length": (lambda: posted([line, host], order(), b"\0\r\n\r\n"), ([200, 400], 1)),
            "CONNECT": (lambda: b"CONNECT a.example:443 HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n", ([404], 0), refused, "nginx wants a path"),
            "TRACE": (lambda: f"TRACE {path} HTTP/1.1\r\n{host}\r\n{close}\r\n\r\n".encode(), ([405], 0)),
            "OPTIONS *": (lambda: f"OPTIONS * HTTP/1.1\r\n{host}\r\n{close}\r\n\r\n".encode(), ([404], 0), refused, "nginx wants a path"),
        }
        for name, (sent, expected, *differs) in cases.items():
            with self.subTest(name):
                direct, proxied = self.both(lambda: [sent()])
                self.assertEqual(direct, expected, "directly")
                self.assertEqual(proxied, differs[0] if differs else direct, "behind nginx")

    def test_who_hangs_up_early_has_delivered_nothing(self):
        before = WORLD.events()
        for connect in (WORLD.direct, WORLD.proxied):
            for cut in (1, 200):
                body = order(9000)
                with connect() as connection:
                    connection.sendall((request(body, signed(body)) + body)[:-cut])
        # What came later is in: they are over.
        body = order()
        self.assertEqual(Answer(delivered(WORLD.proxied, [request(body, signed(body)) + body])).status, 200)
        self.assertEqual(WORLD.events(), before + 1)


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
