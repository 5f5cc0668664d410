"""The gateway under a real Prometheus and Alertmanager.

    live.py BINARY

Two gateways (SQLite, Postgres) are scraped while they work, one of them over TLS with a token; every metric, rule and
query of a dashboard is looked for; a callee that fails fires its alert at a webhook, and its recovery resolves it. The
rules are those of deploy/prometheus with every duration divided by 60. A Prometheus of one tenant is behind the
data source that deploy/grafana/tenant makes, and the main one is refused there.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

import access
from check import dashboards, metrics, panels, rules
from guard import alerts, guarded
from stubs import Callees, Receiver, Vault
from world import OLD_SECRET, SECRET, Gateway, answers, eventually, free_port, gateway, get, postgres, program, running

ROOT = Path(__file__).resolve().parents[2]
UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
OUTAGE = {"alertname": "SluiceBreakerOpen", "tenant": "acme", "source": "crm", "vendor": "generic"}

INVOICE = """{"id": "{{id}}", "object": "event", "api_version": "2031-01-01", "created": 1795507200, "livemode": false,
"pending_webhooks": 1, "type": "invoice.paid", "data": {"object": {"id": "in_1", "object": "invoice", "status": "paid",
"currency": "eur", "amount_due": 1, "amount_paid": 1, "amount_remaining": 0, "created": 1795507200, "unheard_of": true}}}"""

# Queries that find nothing here.
EMPTY = {
    "node.json: Store errors": "only what fails is shown, and the store does not",
    "lanes.json: Breakers that opened, restarts [1]": "only what is restarted is shown, and no lane panics",
    "tenant.json: Breakers that opened, restarts [1]": "the same",
}


def faster(text: str) -> str:
    """Rules with every duration divided by 60, a second at least."""

    def shorter(match: re.Match[str]) -> str:
        return f"{max(1, int(match[1]) * UNIT[match[2]] // 60)}s"

    def within(match: re.Match[str]) -> str:
        return re.sub(r"(\d+)([smhd])\b", shorter, match[0])

    return re.sub(r"\[[^\[\]\n]*\d[smhd]\]|offset \d+[smhd]|(?:keep_firing_)?for: \d+[smhd]", within, text)


def private_rules(folder: Path) -> None:
    """The rules of the repository, faster."""
    for path in (ROOT / "deploy/prometheus/rules").glob("*.yml"):
        (folder / path.name).write_text(faster(path.read_text()))


def private_alertmanager(folder: Path, receiver: str) -> Path:
    """The routes, groups and inhibitions of the repository, with all receivers at one webhook."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/alertmanager.yml").read_text())
    for route in (config["route"], *config["route"]["routes"]):
        route.update(group_wait="1s", group_interval="1s")
    config["receivers"] = [
        {"name": each["name"], "webhook_configs": [{"url": receiver, "send_resolved": True}]} for each in config["receivers"]
    ]
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


class Prometheus:
    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"

    def query(self, expr: str) -> list[dict[str, Any]]:
        answer = get(f"{self.origin}/api/v1/query?{urllib.parse.urlencode({'query': expr})}")
        result = answer["data"]["result"]
        # `NaN` is what a ratio of nothing is.
        return [sample for sample in result if not math.isnan(float(sample["value"][1]))]

    def rules(self) -> list[dict[str, Any]]:
        groups = get(f"{self.origin}/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def scrape_config(nth: int, of: Gateway) -> dict[str, Any]:
    """A job for each, since they are reached in different ways; all series say `sluice`."""
    config: dict[str, Any] = {
        "job_name": f"sluice-{nth}",
        "scheme": of.scheme,
        "static_configs": [{"targets": [of.target]}],
        "relabel_configs": [{"target_label": "job", "replacement": "sluice"}],
    }
    if of.more.ca:
        config["tls_config"] = {"ca_file": str(of.more.ca)}
        config["authorization"] = {"credentials": of.more.token}
    return config


@contextlib.contextmanager
def watched(folder: Path, gateways: list[Gateway], receiver: str) -> Iterator[Prometheus]:
    """Prometheus and Alertmanager over these targets."""
    port, alert_port = free_port(), free_port()
    private_rules(folder)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "slo.yml"), str(folder / "alerts.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alert_port}"]}]}]},
        "scrape_configs": [scrape_config(nth, each) for nth, each in enumerate(gateways)],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    prometheus = [
        program("prometheus", "prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    ]
    alertmanager = [
        program("prometheus-alertmanager", "prometheus-alertmanager"),
        f"--config.file={private_alertmanager(folder, receiver)}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{alert_port}",
        "--cluster.listen-address=",
    ]
    with running(alertmanager, folder / "alertmanager.log"), running(prometheus, folder / "prometheus.log"):
        eventually("Alertmanager", lambda: answers(f"http://127.0.0.1:{alert_port}/-/ready"))
        eventually("Prometheus", lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        yield Prometheus(port)


@contextlib.contextmanager
def of_tenant(folder: Path, main: Prometheus) -> Iterator[Prometheus]:
    """The Prometheus of one tenant: the example of the repository, beside the main one."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/tenant.yml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["global"]["scrape_timeout"] = "1s"
    (scrape,) = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [main.origin.removeprefix("http://")]}]
    (folder / "tenant.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    arguments = [
        program("prometheus", "prometheus"),
        f"--config.file={folder / 'tenant.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb-tenant'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(arguments, folder / "tenant.log"):
        eventually("the tenant's Prometheus", lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        yield Prometheus(port)


class Load:
    """Deliveries of every kind, again and again until it is stopped."""

    def __init__(self, gateways: list[Gateway]) -> None:
        self.gateways, self.over, self.failed = gateways, threading.Event(), []
        self.threads = [threading.Thread(target=self.send, args=(each,)) for each in gateways]
        for thread in self.threads:
            thread.start()

    def send(self, to: Gateway) -> None:
        body = to.folder / "body.json"
        body.write_text('{"event_type":"note.made","subject_id":"{{id}}","occurred_at":"2026-11-24T08:00:00Z","data":{}}')
        invoice = to.folder / "invoice.json"
        invoice.write_text(INVOICE)
        try:
            # A field that the vendor does not document.
            to.send("pay", "--body", str(invoice))
            while not self.over.is_set():
                for source in ("chat", "pay", "dead"):
                    to.send(source, "--count", "5", *(() if source == "pay" else ("--body", str(body))))
                to.send("chat", "--count", "2", "--id", "the-same")
                to.send("chat", secret=OLD_SECRET)
                to.send("chat", "--count", "2", secret="a-guessed-secret-of-32-bytes-len", fails=True)
                # Not as fast as it can: the processors are needed by those who look on.
                self.over.wait(0.2)
        except Exception as error:  # told by the main thread
            self.failed.append(error)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.failed:
            raise self.failed[0]


def check_scrape(gateways: list[Gateway]) -> None:
    """Prometheus has nothing to say against a scrape, and each metric of the documents is in one."""
    told: set[str] = set()
    for each in gateways:
        scrape = each.scrape()
        checked = subprocess.run([program("promtool", "prometheus"), "check", "metrics"], input=scrape, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        told |= set(re.findall(r"^(sluice_\w+)", scrape, re.M))
    missing = metrics(ROOT).keys() - told
    assert not missing, f"not told: {sorted(missing)}"


def check_guard(gateways: list[Gateway]) -> None:
    """Who guards its scrape tells nobody without the token anything."""
    (guarded,) = (each for each in gateways if each.more.token)
    try:
        get(f"{guarded.admin}/metrics", None, guarded.more.context())
    except urllib.error.HTTPError as refused:
        assert refused.code == 401, refused
        return
    raise AssertionError("the scrape asks for no token")


def concrete(expr: str) -> str:
    """A query of a dashboard as Grafana sends it, over a short time."""
    expr = expr.replace("$__rate_interval", "10s").replace("$__range", "5m")
    return re.sub(r"\$\w+", ".*", expr)


def queries(only: str = "") -> Iterator[tuple[str, str]]:
    for name, dashboard in dashboards(ROOT):
        if only not in name:
            continue
        for panel in panels(dashboard):
            targets = panel.get("targets", [])
            for nth, target in enumerate(targets):
                yield f"{name}: {panel['title']}" + (f" [{nth}]" if nth else ""), target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            yield f"{name}: annotation {annotation['name']}", annotation["expr"]


def check_dashboards(prometheus: Prometheus, only: str = "") -> None:
    """Each query finds something, but for those that are known not to."""
    wrong = []
    for where, expr in queries(only):
        found = prometheus.query(concrete(expr))
        if bool(found) == (where in EMPTY):
            wrong.append(f"{where}: {'is not empty any more' if found else 'finds nothing'}: {expr}")
    assert not wrong, "\n".join(wrong)


def check_rules(prometheus: Prometheus) -> None:
    """Each rule is evaluated without an error, and each recorded series is there."""
    known = prometheus.rules()
    assert len(known) == sum(1 for _ in rules(ROOT)), "not all rules were loaded"
    wrong = [f"{rule['name']}: {rule['health']} {rule.get('lastError')}" for rule in known if rule["health"] != "ok"]
    for _, rule in rules(ROOT):
        if "record" in rule:
            labels = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
            if not prometheus.query(f"{rule['record']}{{{labels}}}"):
                wrong.append(f"{rule['record']}{{{labels}}} is not recorded")
    assert not wrong, "\n".join(wrong)


def main() -> None:
    binary = str(Path(sys.argv[1]).resolve())
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        callees, receiver = Callees(), Receiver()
        stack.callback(callees.stop)
        stack.callback(receiver.stop)
        vault = Vault({"pay": SECRET})
        stack.callback(vault.stop)
        url = stack.enter_context(postgres(folder / "postgres"))
        kept = guarded(callees.origin, vault.origin, folder / "certificates")
        one = stack.enter_context(gateway(binary, folder / "one", callees.origin, None, kept))
        two = stack.enter_context(gateway(binary, folder / "two", callees.origin, url, alerts(callees.origin)))
        gateways = [one, two]
        prometheus = stack.enter_context(watched(folder, gateways, receiver.origin))
        # What happens before the first scrape is no increase.
        eventually("the first scrape", lambda: len(prometheus.query("up == 1")) == len(gateways) or None)
        load = Load(gateways)
        try:
            for each in gateways:
                os.kill(each.pid, signal.SIGHUP)
                each.send("crm", "--count", "3")
                eventually("the jobs before the outage", lambda: each.succeeded("crm") == 3 or None)
            # The vendor's event comes, and whom its job calls is away.
            callees.down = True
            one.send("crm", "--count", "4")
            fired = receiver.wait("firing", OUTAGE, 240)
            assert fired["receiver"] == "tickets", fired
            assert fired["annotations"]["runbook_url"].endswith("/breaker-open.md"), fired
            one.sluice("dead", "replay", "--tenant", "acme", "--source", "dead")
            # The gateways' own alerts are for two receivers, and one of them is gone.
            receiver.wait("firing", {"alertname": "SluiceAlertsUndelivered", "receiver": "gone"}, 240)
            by_and_by(lambda: check_scrape(gateways))
            check_guard(gateways)
            by_and_by(lambda: check_rules(prometheus))
            by_and_by(lambda: check_dashboards(prometheus))
            tenant = stack.enter_context(of_tenant(folder, prometheus))
            by_and_by(lambda: check_tenant(prometheus, tenant))
            by_and_by(lambda: check_dashboards(tenant, "tenant.json"))
            check_wall(prometheus, tenant)
            callees.down = False
            one.sluice("lanes", "probe", "acme/crm")
            receiver.wait("resolved", OUTAGE, 240)
        finally:
            load.stop()
        names = sorted({alert["labels"]["alertname"] for alert in receiver.alerts})
        print(f"{sum(1 for _ in queries())} queries and {len(prometheus.rules())} rules answered; alerts that fired: {', '.join(names)}")


def check_tenant(main: Prometheus, tenant: Prometheus) -> None:
    """The data source of one tenant has its lanes and nothing of anybody else."""
    assert main.query('sluice_lane_events_total{tenant="globex"}'), "nobody else is there"
    lanes = tenant.query("count by (source) (sluice_lane_events_total)")
    assert {lane["metric"]["source"] for lane in lanes} == {"chat", "pay", "crm", "dead"}, lanes
    # Whatever Prometheus tells of its own scrape has no tenant and is nobody's.
    foreign = tenant.query('{__name__=~".+",__name__!~"up|scrape_.+",tenant!="acme"}')
    assert not foreign, f"of somebody else: {foreign[:3]}"


def check_wall(main: Prometheus, tenant: Prometheus) -> None:
    """What deploy/grafana/tenant says of both, asking them through a fake Grafana."""

    def ask(url: str, path: str) -> tuple[int, Any]:
        return 200, get(f"{url}{path}")

    with access.fresh(ROOT, ask) as grafana:
        access.refuses(grafana, access.tenant(ROOT, grafana, main.origin, "--viewer", access.ANN), "globex")
        access.succeeds(access.tenant(ROOT, grafana, tenant.origin, "--viewer", access.ANN))
        access.no_more_than_viewers(grafana, 2)


def by_and_by(check: Callable[[], None], patience: float = 120) -> None:
    """Checks again while a scrape or an evaluation may still be on its way."""
    end = time.monotonic() + patience
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


if __name__ == "__main__":
    main()
