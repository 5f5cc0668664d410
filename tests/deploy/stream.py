"""The real gateway behind a real nginx that passes connections on, with deploy/nginx/sluice-stream.conf: TLS ends
at the gateway, and the PROXY protocol tells it whose a connection is.

    python3 tests/deploy/stream.py BINARY

Needs the packages nginx-light, libnginx-mod-stream and openssl (Debian).
"""

import pathlib
import ssl
import sys
import unittest

from behind import BODY_LIMIT, ROOT, SECRET, Answer, World, delivered, order, read_all, replaced, request, signed

BINARY = pathlib.Path(sys.argv.pop(1)).resolve()
MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class Passed(World):
    def __init__(self):
        if not MODULE.exists():
            raise SystemExit(f"{MODULE} is missing: apt-get install libnginx-mod-stream")
        super().__init__(BINARY)
        self.self_signed("clients", "an authority")
        self.issued("vendor", "vendor.example", "clients")
        edge = f"""listen = "127.0.0.1:{self.port}"
trusted_proxies = ["127.0.0.1"]
proxy_protocol = true
client_ca = "file:clients.pem"
tls = {{ cert = "file:tls.pem", key = "file:tls.key" }}
"""
        for key in ("tls.key", "clients.key"):
            (self.folder / key).chmod(0o600)
        demanding = 'client_certificate = { names = ["vendor.example"] }'
        self.configure(edge, {"orders": "", "mutual": demanding, "near": 'allow_from = ["127.0.0.2"]'})
        self.start_gateway()
        text = (ROOT / "deploy/nginx/sluice-stream.conf").read_text()
        text = replaced(text, r"(?m)^    server 127\.0\.0\.1:8443;", f"    server 127.0.0.1:{self.port};")
        text = replaced(text, r"(?m)^    listen 443;", f"    listen 127.0.0.1:{self.tls};")
        text = replaced(text, r"(?m)^    listen \[::\]:443;\n", "")
        (self.folder / "stream.conf").write_text(text)
        self.start_nginx(f"stream {{ include {self.folder}/stream.conf; }}", f"load_module {MODULE};")

    def refused(self, reason):
        return self.count(rf'sluice_http_connections_refused_total\{{[^}}]*listener="edge"[^}}]*reason="{reason}"[^}}]*\}}')


WORLD = None


def setUpModule():
    global WORLD
    WORLD = Passed()


def tearDownModule():
    WORLD.end()


def sent(source, *more, size=0, secret=b""):
    body = order(size)
    return [request(body, [*signed(body, secret=SECRET + secret), *more], f"/webhooks/acme/{source}"), body]


class Stream(unittest.TestCase):
    def test_the_client_is_whom_nginx_names_and_no_header_says_otherwise(self):
        forged = ["x-forwarded-for: 203.0.113.7", "x-client-cert: x"]
        refused = WORLD.refusal(lambda: WORLD.proxied(source="127.0.0.7"), sent("orders", *forged, secret=b"wrong"))
        self.assertEqual((refused["client"], refused["reason"]), ("127.0.0.7", "bad_signature"))
        near = sent("near", secret=b"near")
        self.assertEqual(Answer(delivered(lambda: WORLD.proxied(source="127.0.0.2"), near)).status, 200)
        refused = WORLD.refusal(lambda: WORLD.proxied(source="127.0.0.3"), sent("near", secret=b"near"))
        self.assertEqual(refused["reason"], "address_not_allowed")

    def test_tls_ends_at_the_gateway_client_certificates_included(self):
        self.assertEqual(WORLD.versions(), ["tls1_2", "tls1_3"])
        answer = Answer(delivered(WORLD.proxied, sent("orders")))
        self.assertEqual((answer.status, answer.all("strict-transport-security")), (200, ["max-age=63072000"]))

        # Not from the address of nginx: what a trusted proxy shows is its own.
        def shows():
            return WORLD.proxied(shows="vendor", source="127.0.0.4")

        self.assertEqual(Answer(delivered(shows, sent("mutual", secret=b"mutual"))).status, 200)
        self.assertEqual(WORLD.refusal(lambda: WORLD.proxied(source="127.0.0.4"), sent("mutual", secret=b"mutual"))["reason"], "certificate_missing")

    def test_oversize_is_the_same(self):
        self.assertEqual(Answer(delivered(WORLD.proxied, sent("orders", size=BODY_LIMIT - 200))).status, 200)
        self.assertEqual(Answer(delivered(WORLD.proxied, sent("orders", size=BODY_LIMIT))).status, 413)

    def test_a_connection_without_the_header_gets_nothing_and_is_counted(self):
        before = WORLD.refused("proxy_header")
        for first in (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client hello"):
            with WORLD.direct() as connection:
                connection.sendall(first)
                self.assertEqual(read_all(connection), b"")
        self.assertEqual(WORLD.refused("proxy_header"), before + 2)

    def test_version_2_is_taken_too(self):
        block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes([127, 0, 0, 2, 127, 0, 0, 1]) + b"\x12\x67\x01\xbb"

        def connect():
            plain = WORLD.direct()
            plain.sendall(block)
            context = ssl.create_default_context(cafile=WORLD.folder / "tls.pem")
            return context.wrap_socket(plain, server_hostname="hooks.example.com")

        self.assertEqual(Answer(delivered(connect, sent("near", secret=b"near"))).status, 200)


if __name__ == "__main__":
    unittest.main()
