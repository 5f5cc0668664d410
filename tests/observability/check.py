"""Holds metrics, rules, dashboards and runbooks to each other: no name or label in one that another lacks. Also
runs what access.py has on who may see the dashboards.

    check.py [ROOT]

Ends with status 1 and a line for each thing that is wrong.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from access import check_access

# Labels that Prometheus adds, or that a function of PromQL makes.
OF_PROMETHEUS = {"job", "instance", "le", "__name__", "alertname", "alertstate", "severity"}
# Metrics of other makers that the gateway or Prometheus exposes.
FOREIGN = re.compile(r"process_\w+|up|ALERTS(_FOR_STATE)?")
# No names in an expression.
KEYWORDS = set("""by without on ignoring group_left group_right and or unless offset bool start end sum min max avg
count topk bottomk quantile stddev rate irate increase delta deriv predict_linear changes resets absent time vector scalar
clamp_min clamp_max clamp histogram_quantile max_over_time min_over_time avg_over_time sum_over_time label_replace
label_join sort sort_desc round abs floor ceil last_over_time count_over_time label_values query_result inf nan""".split())

# What was so once, and is not said any more.
NOT_SO = {"that could start": "the age of a lane is that of its oldest job that is due, whatever it waits for"}


def metrics(root: Path) -> dict[str, set[str]]:
    """Name and labels of every series, from the document that is made from the code."""
    found: dict[str, set[str]] = {}
    row = re.compile(r"\| `(sluice_\w+)` \| (\w+) \| ([^|]*)\|")
    for line in (root / "docs/metrics.md").read_text().splitlines():
        if match := row.match(line):
            name, kind, labels = match[1], match[2], set(re.findall(r"`(\w+)`", match[3]))
            endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            found.update({name + ending: labels for ending in endings})
    return found


def rules(root: Path) -> Iterator[tuple[str, dict]]:
    for path in sorted((root / "deploy/prometheus/rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield f"{path.name}: {rule.get('alert') or rule['record']}", rule


def panels(dashboard: dict) -> Iterator[dict]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def dashboards(root: Path) -> Iterator[tuple[str, dict]]:
    for folder in ("dashboards", "tenant-dashboards"):
        for path in sorted((root / "deploy/grafana" / folder).glob("*.json")):
            yield path.name, json.loads(path.read_text())


def expressions(root: Path) -> Iterator[tuple[str, str]]:
    """Every query of rules and dashboards, with where it stands."""
    for where, rule in rules(root):
        yield where, rule["expr"]
    for name, dashboard in dashboards(root):
        for panel in panels(dashboard):
            for target in panel.get("targets", []):
                yield f"{name}: {panel['title']}", target["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}: variable {variable['name']}", variable["query"]["query"]
        for annotation in dashboard["annotations"]["list"]:
            if "expr" in annotation:
                yield f"{name}: annotation {annotation['name']}", annotation["expr"]


def names_and_labels(expr: str) -> tuple[set[str], set[str]]:
    """The metrics that an expression names, and the labels that it matches, groups or joins by."""
    if match := re.fullmatch(r"label_values\((.*),\s*(\w+)\)", expr):
        names, labels = names_and_labels(match[1])
        return names, labels | {match[2]}
    labels: set[str] = set()
    for matcher in re.findall(r"\{([^{}]*(?:\{\w+\}[^{}]*)*)\}", re.sub(r'"[^"]*"', '""', expr)):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matcher))
    bare = re.sub(r"\{[^{}]*\}", " ", re.sub(r'"[^"]*"', '""', expr))
    grouped = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
    for group in grouped.findall(bare):
        labels |= set(re.findall(r"\w+", group))
    bare = grouped.sub(" ", bare)
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    names = set(re.findall(r"(?<![\w$.:])[a-zA-Z_][\w:]*", bare)) - KEYWORDS
    return {name for name in names if not re.fullmatch(r"\d.*|[smhdwy]", name)}, labels


def unused_with_reason(root: Path) -> dict[str, str]:
    lines = (root / "tests/observability/unused.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def check_names(root: Path) -> Iterator[str]:
    known = metrics(root)
    recorded: dict[str, set[str]] = {}
    for _, rule in rules(root):
        if "record" in rule:
            recorded.setdefault(rule["record"], set()).update(rule.get("labels", {}))
    used: set[str] = set()
    for where, expr in expressions(root):
        names, labels = names_and_labels(expr)
        used |= names
        allowed = set(OF_PROMETHEUS)
        for name in names:
            if name in known or name in recorded:
                allowed |= known.get(name, set()) | recorded.get(name, set())
            elif not FOREIGN.fullmatch(name):
                yield f"{where}: no metric is called {name}"
        for label in sorted(labels - allowed):
            yield f"{where}: none of its metrics has a label {label}"
    base = {re.sub(r"_(bucket|sum|count)$", "", name) if name in known else name for name in used}
    every = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    listed = unused_with_reason(root)
    for name in sorted(every - base - listed.keys()):
        yield f"{name}: in no rule and no dashboard, and not in unused.txt with a reason"
    for name in sorted(listed.keys() - every):
        yield f"unused.txt: no metric is called {name}"
    for name in sorted(listed.keys() & base):
        yield f"unused.txt: {name} is used"
    for name in sorted(recorded.keys() - used):
        yield f"slo.yml: nobody reads {name}"


def check_alerts(root: Path) -> Iterator[str]:
    cases: dict[str, set[bool]] = {}
    for path in (root / "deploy/prometheus/tests").glob("*.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                cases.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    uids = {dashboard["uid"] for _, dashboard in dashboards(root)}
    alerts = [rule for _, rule in rules(root) if "alert" in rule]
    for name in sorted(cases.keys() - {rule["alert"] for rule in alerts}):
        yield f"tests: there is no alert {name}"
    for rule in alerts:
        name = rule["alert"]
        if rule["labels"].get("severity") not in ("page", "ticket"):
            yield f"{name}: severity is neither page nor ticket"
        if True not in cases.get(name, set()):
            yield f"{name}: no case fires it"
        if False not in cases.get(name, set()):
            yield f"{name}: no case keeps it silent"
        notes = rule.get("annotations", {})
        for note in ("summary", "description", "runbook_url", "dashboard_url"):
            if not notes.get(note):
                yield f"{name}: no {note}"
        page = root / "docs/runbooks" / notes.get("runbook_url", "").rsplit("/", 1)[-1]
        text = page.read_text() if page.is_file() else ""
        if f"`{name}`" not in text:
            yield f"{name}: {page.name} does not name it"
        for part in ("**Alerts.**", "**Meaning.**", "**Look.**", "**Act.**"):
            if part not in text:
                yield f"{page.name}: no {part}"
        board = re.search(r"/d/([\w-]+)", notes.get("dashboard_url", ""))
        if uids and (not board or board[1] not in uids):
            yield f"{name}: dashboard_url leads to no dashboard"
    for page in sorted((root / "docs/runbooks").glob("*.md")):
        known = {rule["alert"] for rule in alerts}
        for name in set(re.findall(r"`(Sluice[A-Z]\w+)`", page.read_text())) - known:
            yield f"{page.name}: there is no alert {name}"


def check_folding(root: Path) -> Iterator[str]:
    """The table of what is said of folded lanes has each alert on single lanes, and each has a case of such lanes."""
    text = (root / "deploy/prometheus/README.md").read_text()
    table = re.search(r"^## Folded lanes$(.*?)(?=^## |\Z)", text, re.M | re.S)
    named = set(re.findall(r"^\| `(Sluice\w+)` \|", table[1] if table else "", re.M))
    of_lanes = {rule["alert"] for _, rule in rules(root) if "alert" in rule and "tenant" in names_and_labels(rule["expr"])[1]}
    for name in sorted(of_lanes ^ named):
        yield f"prometheus/README.md, folded lanes: {name} {'is missing' if name in of_lanes else 'is on no lane'}"
    folded = yaml.safe_load((root / "deploy/prometheus/tests/folded.yml").read_text())["tests"]
    tested = {case["alertname"] for test in folded for case in test["alert_rule_test"]}
    for name in sorted(of_lanes - tested):
        yield f"tests/folded.yml: no case of {name}"


def check_words(root: Path) -> Iterator[str]:
    for folder in ("deploy/prometheus", "deploy/grafana"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".md", ".yml", ".json"):
                said = " ".join(path.read_text().split())
                for words, why in NOT_SO.items():
                    if words in said:
                        yield f"{path.relative_to(root)}: says {words!r}: {why}"


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    wrong = [*check_names(root), *check_alerts(root), *check_folding(root), *check_words(root), *check_access(root)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
