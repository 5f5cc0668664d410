"""What the live test starts: gateways of the real binary, Postgres, Prometheus, Alertmanager. Each is a process
of its own on loopback, in a temporary folder, and is ended at the end."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
from ports import free_port  # noqa: E402

T = TypeVar("T")

SECRET = "a-test-secret-of-32-bytes-length"
OLD_SECRET = "an-old-test-secret-of-32-bytes-1"


def program(name: str, package: str) -> str:
    if path := shutil.which(name):
        return path
    raise SystemExit(f"{name} is missing: install Debian's package {package}")


def eventually(what: str, look: Callable[[], T | None], patience: float = 30) -> T:
    """Asks again and again until there is something."""
    end = time.monotonic() + patience
    while (found := look()) is None:
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s in vain: {what}")
        time.sleep(0.05)
    return found


def get(url: str, token: str | None = None, context: Any = None) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text


def answers(url: str) -> bool | None:
    with contextlib.suppress(OSError):
        get(url)
        return True
    return None


@contextlib.contextmanager
def running(arguments: list[str], log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        child = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT, **more)
        try:
            yield child
        except BaseException:
            print(f"--- {log.name}:", *log.read_text(errors="replace").splitlines()[-5:], sep="\n")
            raise
        finally:
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A cluster of its own; yields the URL of a database."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise SystemExit("initdb is missing: install Debian's package postgresql")
    owner: dict[str, Any] = {}
    folder.mkdir()
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = folder / "data"
    initdb = [binaries[-1] / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run(list(map(str, initdb)), check=True, stdout=subprocess.DEVNULL, cwd="/", **owner)
    server = [binaries[-1] / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "shared_buffers=32MB"]
    with running(list(map(str, server)), folder.parent / "postgres.log", cwd="/", **owner):
        eventually("Postgres", lambda: (folder / ".s.PGSQL.5432").exists() or None)
        url = f"postgres:///postgres?host={folder}&user=postgres"
        ready = [str(binaries[-1] / "psql"), "-h", str(folder), "-U", "postgres", "-c", "select 1"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
        eventually("a connection", lambda: subprocess.run(ready, **quiet).returncode == 0 or None)
        yield url


class Gateway:
    """A running `sluice serve`."""

    def __init__(self, binary: str, folder: Path, more: Any) -> None:
        self.binary, self.folder, self.more = binary, folder, more
        runtime = json.loads((folder / "runtime.json").read_text())
        self.admin, self.public, self.pid = runtime["admin"], runtime["public"], runtime["pid"]
        self.scheme, _, self.target = self.admin.partition("://")

    def sluice(self, *arguments: str, fails: bool = False) -> str:
        command = [self.binary, *arguments, "--config", str(self.folder)]
        ran = subprocess.run(command, capture_output=True, text=True)
        if (ran.returncode != 0) != fails:
            raise AssertionError(f"sluice {arguments}: {ran.returncode} {ran.stdout} {ran.stderr}")
        return ran.stdout

    def send(self, source: str, *more: str, secret: str = SECRET, fails: bool = False) -> None:
        url = f"{self.public}/webhooks/acme/{source}"
        vendor = "stripe" if source == "pay" else "generic"
        for left in reversed(range(5)):
            try:
                self.sluice("send", vendor, "--url", url, "--secret", secret, *more, fails=fails)
                return
            except AssertionError as error:
                # A busy machine tells a sender to come again.
                if not left or " 503" not in str(error):
                    raise

    def succeeded(self, source: str) -> int:
        page = json.loads(self.sluice("jobs", "--source", source, "--state", "succeeded", "--json"))
        return len(page["items"])

    def scrape(self) -> str:
        return get(f"{self.admin}/metrics", self.more.token, self.more.context())


@contextlib.contextmanager
def gateway(binary: str, folder: Path, callees: str, database: str | None, more: Any) -> Iterator[Gateway]:
    """A gateway with the sources that the live test needs; `more` is a `More` of guard.py."""
    (folder / "tenants").mkdir(parents=True)
    main = '[edge]\nlisten = "127.0.0.1:0"\n[outbound]\nallow_private = ["127.0.0.0/8"]\n'
    main += f'[admin]\nlisten = "127.0.0.1:0"\n{more.admin}{more.main}'
    if database:
        main += f'[database]\nurl = "{database}"\n'
    (folder / "sluice.toml").write_text(main)
    secrets = {"secret": SECRET, "old": OLD_SECRET, "other": SECRET[::-1], "llm.key": "sk-test", **more.files}
    for name, value in secrets.items():
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    key = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(folder / "site.pem")]
    subprocess.run(key, check=True, stderr=subprocess.DEVNULL)
    (folder / "tenants/acme.toml").write_text(
        f"""
[llm]
base_url = "{callees}/v1"
model = "test-model"
api_key = "file:llm.key"
[wordpress]
site = "{callees}"
site_uuid = "8f14e45f-ceea-467f-a3c0-5a0d9f0c2b11"
signing_key = "file:site.pem"

[sources.chat]
vendor = "generic"
secrets = ["file:secret", {{ ref = "file:old", not_after = "2099-01-01T00:00:00Z" }}]
[[sources.chat.routes]]
name = "summary"
action = "summarize_and_publish"

[sources.pay]
vendor = "stripe"
secrets = ["{more.pay}"]
[[sources.pay.routes]]
name = "log"
action = "log"

[sources.crm]
vendor = "generic"
secrets = ["file:secret"]
# One failure more would open the breaker that all lanes share, and its alert would keep this one's back.
[sources.crm.limits]
breaker = {{ failures = 2, cooldown = "5m" }}
[[sources.crm.routes]]
name = "call"
action = "http_call"
url = "{callees}/api"
method = "POST"

[sources.dead]
vendor = "generic"
secrets = ["file:secret"]
[[sources.dead.routes]]
name = "call"
action = "http_call"
url = "{callees}/rejecting"
method = "POST"
"""
    )
    # Somebody whom the data source of `acme` must not show.
    (folder / "tenants/globex.toml").write_text('[sources.orders]\nvendor = "generic"\nsecrets = ["file:other"]\n')
    log = folder.parent / f"{folder.name}.log"
    with running([binary, "serve", "--config", str(folder)], log) as child:

        def started() -> bool | None:
            if child.poll() is not None:
                raise AssertionError(f"the gateway ended with {child.returncode}")
            return (folder / "runtime.json").exists() or None

        eventually("the gateway", started, 60)
        yield Gateway(binary, folder, more)
