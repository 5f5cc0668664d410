"""Who may see what in Grafana: the files of provisioning as a fresh Grafana reads them, roles.ini, and the programs
`access` and `tenant` against the fake of grafana.py.

    access.py [ROOT]
"""

from __future__ import annotations

import configparser
import contextlib
import copy
import functools
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grafana import PASSWORD, TOKEN, DoesNotStart, Grafana, Org, Reply, User

ROOT = Path(__file__).resolve().parents[2]
ANN, BEN = "ann@acme.example", "ben@acme.example"
MINE, ALL, NOTHING, AWAY = "http://127.0.0.1:9191", "http://127.0.0.1:9090", "http://127.0.0.1:9292", "http://127.0.0.1:1"
ONCE_ALL, CUT = "http://127.0.0.1:9393", "http://127.0.0.1:9494"
# What is behind these addresses, by whose it is.
WHOSE = {MINE: ["acme"], ALL: ["acme", "globex", ""], NOTHING: [], ONCE_ALL: ["acme"], CUT: ["acme"]}
# What they keep, but no longer scrape.
KEPT = {ONCE_ALL: ["acme", "globex", ""]}
# When they scraped that, and what they say of a call that the documents do not have.
LONG_AGO = 86400.0
BAD_DATA: Reply = (400, {"status": "error", "errorType": "bad_data", "error": "invalid parameter"})


def prometheus(whose: dict[str, list[str]], url: str, path: str) -> Reply:
    """Instant queries and series as https://prometheus.io/docs/prometheus/latest/querying/api/ has them."""
    if url not in whose:
        return 502, None
    parts = urllib.parse.urlsplit(path)
    asked = dict(urllib.parse.parse_qsl(parts.query))
    if parts.path == "/api/v1/query" and asked.keys() == {"query"} and asked["query"].startswith("group by (tenant) ({"):
        found = [{"metric": {"tenant": tenant} if tenant else {}, "value": [0, "1"]} for tenant in whose[url]]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": found}}
    if parts.path == "/api/v1/series" and asked.keys() == {"match[]", "start", "end"} and asked["match[]"].startswith("{"):
        now = whose[url] if float(asked["start"]) <= time.time() <= float(asked["end"]) else []
        kept = KEPT.get(url, []) if float(asked["start"]) <= LONG_AGO <= float(asked["end"]) else []
        series = [{"__name__": "sluice_lane_jobs", **({"tenant": tenant} if tenant else {})} for tenant in now + kept]
        told = {"warnings": ["results truncated due to limit"]} if url == CUT else {}
        return 200, {"status": "success", "data": series, **told}
    return BAD_DATA


@contextlib.contextmanager
def fresh(root: Path, ask: Callable[[str, str], Reply] = functools.partial(prometheus, WHOSE)) -> Iterator[Grafana]:
    """A Grafana that starts with what the README says to copy."""
    grafana = Grafana(ask)
    try:
        provisioning = root / "deploy/grafana/provisioning"
        grafana.provision(sorted((provisioning / "datasources").iterdir()), sorted((provisioning / "dashboards").iterdir()))
        yield grafana
        assert not grafana.complaints, f"the fake does not know: {grafana.complaints}"
    finally:
        grafana.stop()


def run(root: Path, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([root / "deploy/grafana" / program, *arguments], env=environment, capture_output=True, text=True, timeout=60)


def tenant(root: Path, grafana: Grafana, url: str = MINE, *more: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    ran = run(root, "tenant", grafana.origin, "acme", "--prometheus", url, *more, GRAFANA_PASSWORD=password)
    assert password not in ran.stdout + ran.stderr, "it shows the password"
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


def viewers(*emails: str) -> list[str]:
    return [argument for email in emails for argument in ("--viewer", email)]


def succeeds(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stderr


def refuses(grafana: Grafana, ran: subprocess.CompletedProcess[str], why: str) -> None:
    """It says why, and nobody is in that was not before."""
    assert ran.returncode == 1 and why in ran.stderr, (ran.returncode, ran.stderr, why)
    let_in = [write for write in grafana.writes if "/users" in write.path]
    assert not let_in, f"somebody was let in: {let_in}"


def shape(grafana: Grafana) -> list[str]:
    return [f"{write.method} {write.path}" for write in grafana.writes]


def no_more_than_viewers(grafana: Grafana, org: int) -> None:
    """Of all that was ever asked for, not only of what came of it."""
    for write in grafana.writes:
        body: dict[str, Any] = write.body or {}
        assert write.org in (None, org), f"it changes another organisation: {write}"
        assert body.get("role", "Viewer") == "Viewer", f"more than a viewer: {write}"
        assert body.get("OrgId", org) == org and "isGrafanaAdmin" not in body, f"more than its organisation: {write}"
        if write.path.startswith("/api/orgs/"):
            assert write.path.startswith(f"/api/orgs/{org}/"), f"people of another organisation: {write}"
    for number, user in grafana.users.items():
        if not user.is_admin:
            in_orgs = {each: org.roles[number] for each, org in grafana.orgs.items() if number in org.roles}
            assert in_orgs == {org: "Viewer"}, f"{user.login}: {in_orgs}"


# --- what a fresh Grafana starts with


def a_fresh_grafana_starts_with_what_is_copied(root: Path) -> None:
    with fresh(root) as grafana:
        assert grafana.orgs[1].sources.keys() == {"sluice"} and grafana.orgs[1].folders.keys() == {"sluice"}


def a_fresh_grafana_starts_in_compose(root: Path) -> None:
    grafana = Grafana()
    try:
        grafana.provision([root / "deploy/compose/grafana.yml"], [root / "deploy/compose/dashboards.yml"])
    finally:
        grafana.stop()


def an_organisation_that_is_not_there_is_no_start(root: Path) -> None:
    """That the two above would have failed before."""
    example = root / "deploy/grafana/provisioning/datasources/sluice.yml"
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as changed, fresh(root) as grafana:
        changed.write(example.read_text().replace("orgId: 1", "orgId: 2"))
        changed.flush()
        with contextlib.suppress(DoesNotStart):
            grafana.provision([Path(changed.name)], [])
            raise AssertionError("the fake starts with an organisation that it does not have")


def roles_are_of_groups_and_tenants_people_are_viewers(root: Path) -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string((root / "deploy/grafana/roles.ini").read_text())
    users, oauth = config["users"], config["auth.generic_oauth"]
    # Else a new account has an organisation of its own, or sees the main one.
    assert users.getboolean("auto_assign_org") and users["auto_assign_org_role"] == "None"
    assert oauth.getboolean("role_attribute_strict") and not oauth.getboolean("allow_assign_grafana_admin")
    assert not oauth.getboolean("skip_org_role_sync") and oauth["org_attribute_path"]
    assert "role_attribute_path" not in oauth, "its role would hold in each organisation"
    mapped = [entry.split(":") for entry in oauth["org_mapping"].split()]
    assert {role for _, org, role in mapped if org == "1"} == {"Viewer", "Editor", "Admin"}, mapped
    others = [(group, org, role) for group, org, role in mapped if org != "1"]
    assert others == [("acme", "sluice-acme", "Viewer")], others
    # The name that `tenant` gives.
    with fresh(root) as grafana:
        succeeds(tenant(root, grafana))
        assert grafana.orgs[2].name == "sluice-acme"


# --- access


def teams_have_their_rights_and_a_second_run_changes_nothing(root: Path) -> None:
    with fresh(root) as grafana:
        # One that only begins like it.
        grafana.orgs[1].teams[1] = "sluice-readers-of-old"
        succeeds(run(root, "access", grafana.origin, GRAFANA_TOKEN=TOKEN))
        numbers = {name: number for number, name in grafana.orgs[1].teams.items()}
        rights = {(right["teamId"], right["permission"]) for right in grafana.orgs[1].rights["sluice"]}
        assert rights == {(numbers["sluice-readers"], 1), (numbers["sluice-on-call"], 2)}, rights
        assert shape(grafana) == ["POST /api/teams", "POST /api/teams", "POST /api/folders/sluice/permissions"], shape(grafana)
        grafana.writes.clear()
        succeeds(run(root, "access", grafana.origin, GRAFANA_TOKEN=TOKEN))
        assert not grafana.writes, shape(grafana)
        # Rights that somebody added are taken back.
        grafana.orgs[1].rights["sluice"].append({"role": "Viewer", "permission": 1})
        succeeds(run(root, "access", grafana.origin, GRAFANA_TOKEN=TOKEN))
        assert shape(grafana) == ["POST /api/folders/sluice/permissions"], shape(grafana)
        assert {right.get("teamId") for right in grafana.orgs[1].rights["sluice"]} == {numbers["sluice-readers"], numbers["sluice-on-call"]}


def what_fails_is_not_taken_for_what_is_not_there(root: Path) -> None:
    search, make, rights = "/api/teams/search", "/api/teams", "/api/folders/sluice/permissions"
    for broken, changed in (
        (f"GET {search}", []),
        (f"POST {make}", []),
        (f"GET {rights}", [f"POST {make}", f"POST {make}"]),
        (f"POST {rights}", [f"POST {make}", f"POST {make}"]),
    ):
        with fresh(root) as grafana:
            grafana.broken = {broken}
            ran = run(root, "access", grafana.origin, GRAFANA_TOKEN=TOKEN)
            assert ran.returncode != 0 and shape(grafana) == changed, f"{broken} fails: {ran.returncode}, {shape(grafana)}"
            assert not grafana.complaints, f"{broken} fails: {grafana.complaints}"


# --- tenant


def people_come_last_and_a_second_run_changes_nothing(root: Path) -> None:
    for role in ("None", "Viewer", "Editor"):
        with fresh(root) as grafana:
            grafana.auto_assign_org_role = role
            before = copy.deepcopy(grafana.orgs[1])
            succeeds(tenant(root, grafana, MINE, *viewers(ANN, BEN)))
            own_role = [] if role == "Viewer" else ["PATCH /api/orgs/2/users/{}"]
            people = [step.format(number) for number in (2, 3) for step in ("POST /api/admin/users", *own_role)]
            things = ["POST /api/orgs", "POST /api/datasources", "POST /api/folders", "POST /api/dashboards/db"]
            assert shape(grafana) == things + people, shape(grafana)
            no_more_than_viewers(grafana, 2)
            org = grafana.orgs[2]
            assert [source["url"] for source in org.sources.values()] == [MINE] and org.dashboards.keys() == {"sluice-tenant"}
            assert grafana.orgs[1] == before, "the main organisation was changed"
            passwords = {write.body["password"] for write in grafana.writes if write.path == "/api/admin/users"}
            assert len(passwords) == 2 and min(map(len, passwords)) > 30, "passwords that somebody could guess"
            grafana.writes.clear()
            again = tenant(root, grafana, MINE, *viewers(ANN, BEN))
            succeeds(again)
            assert not grafana.writes and not again.stdout, (shape(grafana), again.stdout)


def what_differs_is_put_right(root: Path) -> None:
    with fresh(root) as grafana:
        succeeds(tenant(root, grafana, MINE, *viewers(ANN)))
        org = grafana.orgs[2]
        org.sources["sluice"]["jsonData"] = {"httpMethod": "GET"}
        org.dashboards["sluice-tenant"].append({"dashboard": {"uid": "sluice-tenant"}, "message": "by hand"})
        org.roles[2] = "None"
        # An account that was there before, in no organisation.
        grafana.users[3] = User(BEN)
        grafana.writes.clear()
        succeeds(tenant(root, grafana, MINE, *viewers(ANN, BEN)))
        expected = ["PUT /api/datasources/uid/sluice", "POST /api/dashboards/db", "PATCH /api/orgs/2/users/2", "POST /api/orgs/2/users"]
        assert shape(grafana) == expected, shape(grafana)
        no_more_than_viewers(grafana, 2)


def what_shows_others_lets_nobody_in(root: Path) -> None:
    for url, why in (
        (ALL, "globex, series of no tenant. "),
        # What it took over once can be asked for as long as it keeps it.
        (ONCE_ALL, "globex, series of no tenant, of before: empty the data folder"),
        (CUT, "does not tell all"),
        (NOTHING, "nothing of acme so far"),
        (AWAY, "502"),
    ):
        with fresh(root) as grafana:
            refuses(grafana, tenant(root, grafana, url, *viewers(ANN)), why)
            # An identity provider may let people in at any time.
            assert not grafana.orgs[2].sources, f"{url}: the data source stays"


def a_wall_that_falls_later_is_seen(root: Path) -> None:
    whose = dict(WHOSE)
    with fresh(root, functools.partial(prometheus, whose)) as grafana:
        succeeds(tenant(root, grafana, MINE, *viewers(ANN)))
        grafana.writes.clear()
        # Away for a moment: what was good stays.
        del whose[MINE]
        refuses(grafana, tenant(root, grafana, MINE, *viewers(BEN)), "502")
        assert not grafana.writes, shape(grafana)
        # People are inside: nothing is tried on them.
        refuses(grafana, tenant(root, grafana, ALL, *viewers(BEN)), "take them out before it leads elsewhere")
        assert not grafana.writes, shape(grafana)
        whose[MINE] = ["acme", "globex"]
        refuses(grafana, tenant(root, grafana, MINE, *viewers(BEN)), "globex")
        assert not grafana.orgs[2].sources, "people still see globex"


def whoever_sees_more_is_not_let_in(root: Path) -> None:
    def in_main(grafana: Grafana) -> None:
        grafana.users[2] = User(BEN)
        grafana.orgs[1].roles[2] = "None"

    def an_administrator(grafana: Grafana) -> None:
        grafana.users[2] = User(BEN, is_admin=True)

    def in_an_organisation_of_their_own(grafana: Grafana) -> None:
        grafana.users[2] = User(BEN)
        grafana.orgs[7] = Org(BEN, {2: "Admin"})

    for prepare, why in ((in_main, "Main Org."), (an_administrator, "server administrator"), (in_an_organisation_of_their_own, BEN)):
        with fresh(root) as grafana:
            prepare(grafana)
            # Nor whoever is named with them.
            refuses(grafana, tenant(root, grafana, MINE, *viewers(ANN, BEN)), why)
            assert grafana.users[2].login == BEN, "an account that it did not make is taken out"


def an_account_that_it_makes_and_refuses_is_taken_out(root: Path) -> None:
    with fresh(root) as grafana:
        grafana.auto_assign_org = False
        # The second time nothing is left that is in the way of the same refusal.
        for _ in range(2):
            ran = tenant(root, grafana, MINE, *viewers(ANN))
            assert ran.returncode == 1 and f"in the organisation {ANN}" in ran.stderr, ran.stderr
            assert grafana.users.keys() == {1}, f"an administrator of an organisation of their own is left: {grafana.users}"
            assert grafana.orgs.keys() == {1, 2} and grafana.orgs[2].roles.keys() == {1}, grafana.orgs
        grafana.auto_assign_org = True
        succeeds(tenant(root, grafana, MINE, *viewers(ANN)))
        assert grafana.orgs[2].roles == {1: "Admin", 2: "Viewer"}, grafana.orgs[2].roles
    with fresh(root) as grafana:
        # An editor of the tenant's organisation, of whom no viewer can be made.
        grafana.auto_assign_org_role, grafana.broken = "Editor", {"PATCH /api/orgs/2/users/2"}
        ran = tenant(root, grafana, MINE, *viewers(ANN))
        assert ran.returncode == 1 and grafana.users.keys() == {1}, (ran.stderr, grafana.users)
    with fresh(root) as grafana:
        grafana.auto_assign_org, grafana.broken = False, {"DELETE /api/admin/users/2"}
        ran = tenant(root, grafana, MINE, *viewers(ANN))
        assert ran.returncode == 1 and f"The account {ANN} that was made could not be taken out" in ran.stderr, ran.stderr


def an_organisation_that_is_not_as_it_should_be_is_left_alone(root: Path) -> None:
    def another_source(grafana: Grafana) -> None:
        grafana.orgs[2].sources["main"] = {"uid": "main", "url": ALL}

    def an_editor(grafana: Grafana) -> None:
        grafana.users[2] = User("eve")
        grafana.orgs[2].roles[2] = "Editor"

    def somebody_elses(grafana: Grafana) -> None:
        grafana.orgs[2].roles.clear()

    cases = ((another_source, "another data source (main)"), (an_editor, "eve has the role Editor"), (somebody_elses, "admin is not in"))
    for prepare, why in cases:
        with fresh(root) as grafana:
            grafana.orgs[2] = Org("sluice-acme", {1: "Admin"})
            prepare(grafana)
            refuses(grafana, tenant(root, grafana, MINE, *viewers(ANN)), why)
            assert not grafana.writes, shape(grafana)


def a_header_that_is_dropped_changes_nothing_in_the_main_organisation(root: Path) -> None:
    with fresh(root) as grafana:
        grafana.drops_header = True
        refuses(grafana, tenant(root, grafana, MINE, *viewers(ANN)), "X-Grafana-Org-Id")
        assert shape(grafana) == ["POST /api/orgs"], shape(grafana)


def who_may_not_is_told_so(root: Path) -> None:
    with fresh(root) as grafana:
        refuses(grafana, tenant(root, grafana, password="wrong"), "401 Invalid username or password")
        name = run(root, "tenant", grafana.origin, "../main", "--prometheus", MINE, GRAFANA_PASSWORD=PASSWORD)
        refuses(grafana, name, "no name of a tenant")
        clear = run(root, "tenant", "http://grafana.example.com", "acme", "--prometheus", MINE, GRAFANA_PASSWORD=PASSWORD)
        refuses(grafana, clear, "in the clear")
        refuses(grafana, run(root, "tenant", grafana.origin, "acme", "--prometheus", MINE), "GRAFANA_PASSWORD is missing")
        assert not grafana.writes, shape(grafana)


CASES = (
    a_fresh_grafana_starts_with_what_is_copied,
    a_fresh_grafana_starts_in_compose,
    an_organisation_that_is_not_there_is_no_start,
    roles_are_of_groups_and_tenants_people_are_viewers,
    teams_have_their_rights_and_a_second_run_changes_nothing,
    what_fails_is_not_taken_for_what_is_not_there,
    people_come_last_and_a_second_run_changes_nothing,
    what_differs_is_put_right,
    what_shows_others_lets_nobody_in,
    a_wall_that_falls_later_is_seen,
    whoever_sees_more_is_not_let_in,
    an_account_that_it_makes_and_refuses_is_taken_out,
    an_organisation_that_is_not_as_it_should_be_is_left_alone,
    a_header_that_is_dropped_changes_nothing_in_the_main_organisation,
    who_may_not_is_told_so,
)


def check_access(root: Path) -> Iterator[str]:
    for case in CASES:
        try:
            case(root)
        except (AssertionError, DoesNotStart) as error:
            yield f"deploy/grafana: {case.__name__}: {error}"


if __name__ == "__main__":
    wrong = list(check_access(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT))
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)
