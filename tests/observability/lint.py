"""Holds the dashboards to the rules of grafana/dashboard-linter, and to some of ours.

    lint.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from check import dashboards, panels

PREFIXES = ("datasource", "job", "instance")
# For an organisation that has series of lanes alone, and no other dashboard.
ALONE = "sluice-tenant"
# A window that a person reads: not one that a rate is drawn with.
WINDOWS = {"1h", "1d", "$__range"}


def check_query(expr: str) -> Iterator[str]:
    for window in re.findall(r"\b(?:rate|irate)\([^()]*\[([^\]]*)\]", expr):
        if window != "$__rate_interval":
            yield f"a rate over {window} instead of $__rate_interval"
    for window in re.findall(r"\bincrease\([^()]*\[([^\]]*)\]", expr):
        if window not in WINDOWS:
            yield f"an increase over {window}"
    for selector in re.findall(r"\b(?:sluice|process)_\w+(\{[^{}]*(?:\{\w+\}[^{}]*)*\})?", expr):
        for matcher in ('job=~"$job"', 'instance=~"$instance"'):
            if matcher not in selector:
                yield f"a selector without {matcher}"


def check_dashboard(dashboard: dict) -> Iterator[str]:
    is_alone = dashboard["uid"] == ALONE
    for key in ("uid", "title", "description", "tags", "refresh") + (() if is_alone else ("links",)):
        if not dashboard.get(key):
            yield f"no {key}"
    if is_alone:
        yield from check_alone(dashboard)
    if dashboard["editable"]:
        yield "can be edited, though its file is what counts"
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    for name in PREFIXES:
        if name not in variables:
            yield f"no variable {name}"
    for name, variable in variables.items():
        if not variable["label"]:
            yield f"variable {name} has no label"
    texts = str(dashboard["panels"])
    for name in variables.keys() - {"datasource"}:
        if f"${name}" not in texts:
            yield f"variable {name} is used by no panel"
    ids, taken = set(), set()
    for panel in panels(dashboard):
        title = panel.get("title") or f"panel {panel['id']}"
        if panel["id"] in ids:
            yield f"{title}: its id is another's"
        ids.add(panel["id"])
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        if cells & taken or place["x"] + place["w"] > 24:
            yield f"{title}: lies over another or beside the page"
        taken |= cells
        if panel["type"] == "row":
            continue
        if not panel.get("title"):
            yield f"{title}: no title"
        if not panel.get("description", "").endswith("."):
            yield f"{title}: no description"
        if not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{title}: no unit"
        if panel["datasource"]["uid"] != "${datasource}" or not panel["targets"]:
            yield f"{title}: no query of the chosen data source"
        for target in panel["targets"]:
            for wrong in check_query(target["expr"]):
                yield f"{title}: {wrong}"


def check_alone(dashboard: dict) -> Iterator[str]:
    asked = {target["expr"] for panel in panels(dashboard) for target in panel.get("targets", [])}
    asked |= {variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"}
    for name in sorted({name for expr in asked for name in re.findall(r"\b(?:sluice|process)_\w+", expr)}):
        if not name.startswith("sluice_lane_"):
            yield f"asks for {name}, which the data source of a tenant has not"
    if dashboard["links"] or dashboard["annotations"]["list"]:
        yield "leads to, or asks for, what a tenant's organisation has not"


def check(root: Path) -> Iterator[str]:
    uids: set[str] = set()
    for name, dashboard in dashboards(root):
        for wrong in check_dashboard(dashboard):
            yield f"{name}: {wrong}"
        if dashboard["uid"] in uids:
            yield f"{name}: its uid is another's"
        uids.add(dashboard["uid"])
        for panel in panels(dashboard):
            for link in panel.get("links", []):
                if not (root / "docs/runbooks" / link["url"].rsplit("/", 1)[-1]).is_file():
                    yield f"{name}: {panel['title']}: {link['url']} leads nowhere"
    for name, dashboard in dashboards(root):
        for link in dashboard["links"]:
            if link["url"].removeprefix("/d/") not in uids:
                yield f"{name}: {link['url']} leads nowhere"
    if not uids:
        yield "no dashboard"


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    wrong = list(check(root))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
