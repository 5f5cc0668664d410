"""What the tests with a real nginx before the real gateway share: a folder, both processes, deliveries byte by
byte. Needs the packages nginx-light and openssl (Debian).
"""

import hashlib
import hmac
import json
import os
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/tools"))
from ports import free_port  # noqa: E402

SECRET = b"a-test-secret-of-32-bytes-length"
PATIENCE = 30
BODY_LIMIT = 512 * 1024
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
HOST = "hooks.example.com"

ADMIN = """
[admin]
listen = "127.0.0.1:{admin}"
[telemetry]
format = "json"
"""
SOURCE = """
[sources.{name}]
vendor = "generic"
secrets = ["file:{name}.secret"]
{keys}
[[sources.{name}.routes]]
name = "log"
action = "log"
"""
NGINX = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{modules}
events {{ worker_connections 1024; }}
{blocks}
"""


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


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class World:
    """A folder, a gateway, an nginx before it."""

    def __init__(self, binary):
        for needed in ("nginx", "openssl"):
            if not shutil.which(needed, path=PATH):
                raise SystemExit(f"{needed} is missing: apt-get install nginx-light openssl")
        self.binary = binary
        # In memory where the system has that: no other program's writes make the store wait.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-proxy-", dir=memory))
        self.processes = []
        self.port, self.admin, self.tls = free_port(), free_port(), free_port()
        (self.folder / "tenants").mkdir()
        self.self_signed("tls", HOST)

    def configure(self, edge, sources):
        """Writes the gateway's files: `[edge]`, and the sources of the tenant acme with keys of their own."""
        (self.folder / "sluice.toml").write_text(f"[edge]\n{edge}" + ADMIN.format(admin=self.admin))
        (self.folder / "tenants/acme.toml").write_text("".join(SOURCE.format(name=name, keys=keys) for name, keys in sources.items()))
        for nth, name in enumerate(sources):
            self.secret(f"{name}.secret", SECRET if nth == 0 else SECRET + name.encode())

    def secret(self, name, value):
        path = self.folder / name
        path.write_bytes(value)
        path.chmod(0o600)

    def self_signed(self, name, host):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
                "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.pem")

    def issued(self, name, host, authority):
        """A client's certificate of an authority that `self_signed` made."""
        more = self.folder / f"{name}.ext"
        more.write_text(f"subjectAltName=DNS:{host}\nextendedKeyUsage=clientAuth\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={host}",
                "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.csr")
        openssl("x509", "-req", "-days", "2", "-in", self.folder / f"{name}.csr", "-extfile", more, "-CAcreateserial",
                "-CA", self.folder / f"{authority}.pem", "-CAkey", self.folder / f"{authority}.key", "-out", self.folder / f"{name}.pem")

    def start(self, command, log):
        with open(self.folder / log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start_gateway(self):
        self.gateway = self.start([self.binary, "serve", "--config", self.folder], "gateway.log")
        eventually("the gateway is there", self.runtime)

    def runtime(self):
        """What the running gateway says of itself; none if it does not run yet."""
        try:
            runtime = json.loads((self.folder / "runtime.json").read_text())
        except FileNotFoundError:
            return None
        return runtime if runtime["pid"] == self.gateway.pid else None

    def start_nginx(self, blocks, modules=""):
        is_root = pathlib.Path("/proc/self").stat().st_uid == 0
        text = NGINX.format(folder=self.folder, user="user root;" if is_root else "", modules=modules, blocks=blocks)
        (self.folder / "nginx.conf").write_text(text)
        nginx = shutil.which("nginx", path=PATH)
        command = [nginx, "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"]
        self.nginx = self.start(command, "nginx.log")
        eventually("nginx listens", lambda: listens(self.tls))

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

    def proxied(self, shows=None, source=None, port=None):
        """A connection over TLS through nginx; `shows`: with this certificate; `source`: from this address."""
        context = ssl.create_default_context(cafile=self.folder / "tls.pem")
        if shows:
            context.load_cert_chain(self.folder / f"{shows}.pem", self.folder / f"{shows}.key")
        plain = socket.create_connection(("127.0.0.1", port or self.tls), PATIENCE, source and (source, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname=HOST)

    def versions(self):
        """The versions of TLS that are taken; of 1.1 a server of its own shows that this client speaks it."""
        port = free_port()
        control = self.start(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0",
             "-cert", self.folder / "tls.pem", "-key", self.folder / "tls.key", "-quiet"], "s_server.log")
        eventually("the server of TLS 1.1 listens", lambda: listens(port))

        def shaken(port, version):
            client = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-cipher", "ALL:@SECLEVEL=0",
                 "-brief"], input=b"", capture_output=True, timeout=PATIENCE)
            return b"CONNECTION ESTABLISHED" in client.stderr

        assert shaken(port, "tls1_1"), "this client cannot speak TLS 1.1"
        control.kill()
        return [version for version in ("tls1", "tls1_1", "tls1_2", "tls1_3") if shaken(self.tls, version)]

    def scrape(self):
        runtime = self.runtime()
        with socket.create_connection(("127.0.0.1", self.admin), PATIENCE) as connection:
            connection.sendall(
                f"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {runtime['token']}\r\n\r\n".encode())
            return read_all(connection).decode()

    def count(self, series):
        """The sum of the series whose name and labels a pattern fits."""
        return sum(map(int, re.findall(rf"^{series} (\d+)", self.scrape(), re.M)))

    def events(self):
        return self.count(r'sluice_webhook_events_total\{[^}]*outcome="accepted"[^}]*\}')

    def refusal(self, connect, pieces):
        """Who is refused and why, as the gateway logs it."""
        log = self.folder / "gateway.log"
        before = log.stat().st_size
        status = Answer(delivered(connect, pieces)).status
        assert status == 401, status

        def refused():
            lines = log.read_text()[before:].splitlines()
            return next((it for it in lines if '"delivery refused"' in it and it.endswith("}")), None)

        return json.loads(eventually("the refusal is logged", refused))


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


def signed(body, timestamp=None, secret=SECRET):
    timestamp = str(int(timestamp or time.time()))
    code = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
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
