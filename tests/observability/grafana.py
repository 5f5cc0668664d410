"""A FAKE Grafana: the part of its HTTP API that deploy/grafana/access and deploy/grafana/tenant use, as it is documented
at https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/ (pages authentication,
api-legacy/org, /user, /admin, /data_source, /team, /folder_permissions, /dashboard_versions; folder; dashboard), and what
it makes of the files in provisioning/ when it starts (https://grafana.com/docs/grafana/latest/administration/provisioning/,
grafana/grafana issue 28877). No real Grafana can be had from the package registries.

It is strict: a call, a field or a header that those pages do not have is a complaint, and fails the test.
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import yaml

from stubs import Server

ROLES = ("None", "Viewer", "Editor", "Admin")
PASSWORD = "an-admin's-password: with a colon"
TOKEN = "glsa_a-service-account"
SOURCE_FIELDS = {"uid", "name", "type", "access", "url", "isDefault", "jsonData"}
# Keys of the files of provisioning.
PROVIDER = {"name", "orgId", "folder", "folderUid", "type", "disableDeletion", "updateIntervalSeconds", "allowUiUpdates", "options"}
DATASOURCE = {"name", "uid", "orgId", "type", "access", "url", "isDefault", "editable", "jsonData", "version"}


class DoesNotStart(Exception):
    """Grafana refuses its configuration."""


@dataclass
class Org:
    name: str
    # By the number of the user.
    roles: dict[int, str] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Each with its versions, oldest first.
    dashboards: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    teams: dict[int, str] = field(default_factory=dict)
    rights: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass
class User:
    login: str
    is_admin: bool = False


@dataclass
class Write:
    """A call that changes something; `org` is none for one about all."""

    method: str
    path: str
    org: int | None
    body: Any


Reply = tuple[int, Any]


class Grafana(Server):
    """A fresh one has one organisation, and one user who administers it and the server."""

    def __init__(self, ask: Callable[[str, str], Reply] | None = None) -> None:
        """`ask(url, path)`: what is behind the data source with this URL."""
        self.orgs = {1: Org("Main Org.", {1: "Admin"})}
        self.users = {1: User("admin", is_admin=True)}
        self.writes: list[Write] = []
        self.complaints: list[str] = []
        self.ask = ask
        self.auto_assign_org, self.auto_assign_org_role = True, "Viewer"
        # Calls that it fails to answer, such as `GET /api/teams/search`.
        self.broken: set[str] = set()
        # A proxy before it drops the header that names the organisation.
        self.drops_header = False
        super().__init__()

    # --- as it starts

    def provision(self, datasources: list[Path], dashboards: list[Path]) -> None:
        for path in datasources:
            for source in self.read(path, "datasources", DATASOURCE):
                self.orgs[source.get("orgId", 1)].sources[source["uid"]] = {**source, "readOnly": True}
        for path in dashboards:
            for provider in self.read(path, "providers", PROVIDER):
                folder = provider.get("folderUid") or provider["folder"]
                self.orgs[provider.get("orgId", 1)].folders[folder] = {"uid": folder, "title": provider["folder"]}
        for org in self.orgs.values():
            if sum(source.get("isDefault", False) for source in org.sources.values()) > 1:
                raise DoesNotStart("only one data source of an organisation can be the default")

    def read(self, path: Path, what: str, known: set[str]) -> list[dict[str, Any]]:
        config = yaml.safe_load(path.read_text())
        if config.get("apiVersion") != 1 or config.keys() - {"apiVersion", what}:
            raise DoesNotStart(f"{path.name}: not a file of {what}")
        for each in config[what]:
            if unknown := each.keys() - known:
                raise DoesNotStart(f"{path.name}: unknown keys {sorted(unknown)}")
            if each.get("orgId", 1) not in self.orgs:
                raise DoesNotStart(f"{path.name}: {each['name']}: organisation {each['orgId']} not found")
        return config[what]

    # --- its API

    def handle(self, method: str, path: str, headers: Message, body: Any) -> Reply:
        parts = urllib.parse.urlsplit(path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(parts.query).items()}
        org, refusal = self.admitted(parts.path, headers)
        if refusal:
            return refusal
        if f"{method} {parts.path}" in self.broken:
            return 500, {"message": "Internal server error"}
        for pattern, ways in ROUTES:
            if match := re.fullmatch(pattern, parts.path):
                if method not in ways:
                    break
                groups = tuple(urllib.parse.unquote(group) for group in match.groups())
                status, reply = ways[method](self, org, groups, body if method != "GET" else query)
                if method != "GET" and status < 400:
                    self.writes.append(Write(method, parts.path, org, body))
                return status, reply
        self.complaints.append(f"{method} {path} is not in the documents")
        return 404, {"message": "Not found"}

    def admitted(self, path: str, headers: Message) -> tuple[int | None, Reply | None]:
        """The organisation that a call is in, or why it is not admitted."""
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        is_of_all = path.startswith(("/api/orgs", "/api/users", "/api/admin"))
        if scheme == "Bearer" and given == TOKEN:
            return (None, (403, {"message": "Permission denied"})) if is_of_all else (1, None)
        user, _, password = base64.b64decode(given).decode().partition(":") if scheme == "Basic" else ("", "", "")
        number = next((number for number, each in self.users.items() if each.login == user), None)
        if number is None or password != PASSWORD:
            return None, (401, {"message": "Invalid username or password"})
        named = headers.get("X-Grafana-Org-Id")
        if is_of_all:
            if named:
                self.complaints.append(f"{path}: X-Grafana-Org-Id is not for requests regarding admin")
            return (None, None) if self.users[number].is_admin else (None, (403, {"message": "Permission denied"}))
        org = int(named) if named and not self.drops_header else 1
        if org not in self.orgs or number not in self.orgs[org].roles:
            return None, (401, {"message": "Unauthorized"})
        if self.orgs[org].roles[number] != "Admin":
            return None, (403, {"message": "Permission denied"})
        return org, None

    def fits(self, where: str, body: Any, required: set[str], optional: Set[str] = frozenset()) -> bool:
        if not isinstance(body, dict) or required - body.keys() or body.keys() - required - optional:
            self.complaints.append(f"{where}: {body}")
            return False
        return True

    def find_org(self, _: Any, groups: tuple[str, ...], __: Any) -> Reply:
        for number, org in self.orgs.items():
            if org.name == groups[0]:
                return 200, {"id": number, "name": org.name, "address": {}}
        return 404, {"message": "Organization not found"}

    def make_org(self, _: Any, __: Any, body: Any) -> Reply:
        if not self.fits("POST /api/orgs", body, {"name"}):
            return 400, {"message": "bad request data"}
        if any(org.name == body["name"] for org in self.orgs.values()):
            return 409, {"message": "Organization name taken"}
        number = max(self.orgs) + 1
        self.orgs[number] = Org(body["name"], {1: "Admin"})
        # A text here, as its document shows it; a number elsewhere.
        return 200, {"orgId": str(number), "message": "Organization created"}

    def take_org(self, _: Any, groups: tuple[str, ...], __: Any) -> Reply:
        found = self.orgs.pop(int(groups[0]), None)
        return (200, {"message": "Organization deleted"}) if found else (404, {"message": "Organization not found"})

    def this_org(self, org: int, *_: Any) -> Reply:
        return 200, {"id": org, "name": self.orgs[org].name}

    def members(self, _: Any, groups: tuple[str, ...], __: Any) -> Reply:
        org = int(groups[0])
        roles = self.orgs[org].roles.items()
        return 200, [{"orgId": org, "userId": user, "login": self.users[user].login, "role": role} for user, role in roles]

    def add_member(self, _: Any, groups: tuple[str, ...], body: Any) -> Reply:
        org = self.orgs[int(groups[0])]
        if not self.fits("POST users of an organisation", body, {"loginOrEmail", "role"}) or body["role"] not in ROLES:
            return 400, {"message": "Invalid role specified"}
        number = next((number for number, user in self.users.items() if user.login == body["loginOrEmail"]), None)
        if number is None:
            return 404, {"message": "User not found"}
        if number in org.roles:
            return 409, {"message": "User is already member of this organization"}
        org.roles[number] = body["role"]
        return 200, {"message": "User added to organization", "userId": number}

    def change_member(self, _: Any, groups: tuple[str, ...], body: Any) -> Reply:
        org, number = self.orgs[int(groups[0])], int(groups[1])
        if not self.fits("PATCH a user of an organisation", body, {"role"}) or body["role"] not in ROLES:
            return 400, {"message": "Invalid role specified"}
        if number not in org.roles:
            return 404, {"message": "User not found"}
        org.roles[number] = body["role"]
        return 200, {"message": "Organization user updated"}

    def account(self, number: int) -> dict[str, Any]:
        user = self.users[number]
        return {"id": number, "email": user.login, "login": user.login, "isGrafanaAdmin": user.is_admin}

    def find_user(self, _: Any, __: Any, query: dict[str, str]) -> Reply:
        for number, user in self.users.items():
            if user.login == query["loginOrEmail"]:
                return 200, self.account(number)
        return 404, {"message": "user not found"}

    def user(self, _: Any, groups: tuple[str, ...], __: Any) -> Reply:
        number = int(groups[0])
        return (200, self.account(number)) if number in self.users else (404, {"message": "user not found"})

    def orgs_of_user(self, _: Any, groups: tuple[str, ...], __: Any) -> Reply:
        number = int(groups[0])
        return 200, [
            {"orgId": org, "name": each.name, "role": each.roles[number]} for org, each in self.orgs.items() if number in each.roles
        ]

    def make_user(self, _: Any, __: Any, body: Any) -> Reply:
        if not self.fits("POST /api/admin/users", body, {"login", "password"}, {"email", "name", "OrgId"}):
            return 400, {"message": "bad request data"}
        if any(user.login == body["login"] for user in self.users.values()):
            return 412, {"message": "User already exists"}
        if not self.auto_assign_org and any(org.name == body["login"] for org in self.orgs.values()):
            # grafana/grafana issue 2545.
            return 500, {"message": "failed to create user"}
        number = max(self.users) + 1
        self.users[number] = User(body["login"])
        if self.auto_assign_org:
            self.orgs[body.get("OrgId", 1)].roles[number] = self.auto_assign_org_role
        else:
            self.orgs[max(self.orgs) + 1] = Org(body["login"], {number: "Admin"})
        return 200, {"id": number, "message": "User created"}

    def take_user(self, _: Any, groups: tuple[str, ...], __: Any) -> Reply:
        number = int(groups[0])
        if self.users.pop(number, None) is None:
            return 404, {"message": "user not found"}
        for org in self.orgs.values():
            org.roles.pop(number, None)
        return 200, {"message": "User deleted"}

    def sources(self, org: int, *_: Any) -> Reply:
        return 200, list(self.orgs[org].sources.values())

    def source(self, org: int, groups: tuple[str, ...], _: Any) -> Reply:
        found = self.orgs[org].sources.get(groups[0])
        return (200, found) if found else (404, {"message": "Data source not found"})

    def make_source(self, org: int, _: Any, body: Any) -> Reply:
        if not self.fits("POST /api/datasources", body, SOURCE_FIELDS):
            return 400, {"message": "bad request data"}
        if body["uid"] in self.orgs[org].sources:
            return 409, {"message": "data source with the same uid already exists"}
        return self.keep_source(org, body)

    def change_source(self, org: int, groups: tuple[str, ...], body: Any) -> Reply:
        if not self.fits("PUT a data source", body, SOURCE_FIELDS) or groups[0] != body["uid"]:
            return 400, {"message": "bad request data"}
        return self.keep_source(org, body) if groups[0] in self.orgs[org].sources else (404, {"message": "Data source not found"})

    def keep_source(self, org: int, body: Any) -> Reply:
        # It adds fields of its own, also to `jsonData`.
        kept = {**body, "orgId": org, "readOnly": False, "jsonData": {**body["jsonData"], "cacheLevel": "Low"}}
        self.orgs[org].sources[body["uid"]] = kept
        return 200, {"datasource": kept, "message": "Datasource added", "name": body["name"]}

    def take_source(self, org: int, groups: tuple[str, ...], _: Any) -> Reply:
        found = self.orgs[org].sources.pop(groups[0], None)
        return (200, {"message": "Data source deleted"}) if found else (404, {"message": "Data source not found"})

    def proxied(self, org: int, groups: tuple[str, ...], query: dict[str, str]) -> Reply:
        found = self.orgs[org].sources.get(groups[0])
        if found is None or self.ask is None:
            return 404, {"message": "Data source not found"}
        return self.ask(found["url"], f"{groups[1]}?{urllib.parse.urlencode(query)}")

    def folder(self, org: int, groups: tuple[str, ...], _: Any) -> Reply:
        found = self.orgs[org].folders.get(groups[0])
        return (200, found) if found else (404, {"message": "folder not found", "status": "not-found"})

    def make_folder(self, org: int, _: Any, body: Any) -> Reply:
        if not self.fits("POST /api/folders", body, {"uid", "title"}):
            return 400, {"message": "bad request data"}
        if body["uid"] in self.orgs[org].folders:
            return 412, {"message": "Folder already exists"}
        self.orgs[org].folders[body["uid"]] = body
        return 200, body

    def folder_rights(self, org: int, groups: tuple[str, ...], _: Any) -> Reply:
        if groups[0] not in self.orgs[org].folders:
            return 404, {"message": "Folder not found"}
        roles = [{"role": "Viewer", "permission": 1}, {"role": "Editor", "permission": 2}]
        return 200, [{"teamId": 0, "userId": 0, "role": "", **right} for right in self.orgs[org].rights.get(groups[0], roles)]

    def change_rights(self, org: int, groups: tuple[str, ...], body: Any) -> Reply:
        if groups[0] not in self.orgs[org].folders:
            return 404, {"message": "Folder not found"}
        if not self.fits("POST permissions of a folder", body, {"items"}):
            return 400, {"message": "bad request data"}
        self.orgs[org].rights[groups[0]] = body["items"]
        return 200, {"message": "Folder permissions updated"}

    def teams(self, org: int, _: Any, query: dict[str, str]) -> Reply:
        if "name" in query and query["name"] not in self.orgs[org].teams.values():
            return 404, {"message": "Team not found"}
        found = [
            {"id": number, "orgId": org, "name": name}
            for number, name in self.orgs[org].teams.items()
            if name == query.get("name", name) and query.get("query", "") in name
        ]
        return 200, {"totalCount": len(found), "teams": found, "page": 1, "perPage": 1000}

    def make_team(self, org: int, _: Any, body: Any) -> Reply:
        if not self.fits("POST /api/teams", body, {"name"}, {"email"}):
            return 400, {"message": "bad request data"}
        if body["name"] in self.orgs[org].teams.values():
            return 409, {"message": "Team name is taken"}
        number = len(self.orgs[org].teams) + 1
        self.orgs[org].teams[number] = body["name"]
        return 200, {"message": "Team created", "teamId": number}

    def dashboard(self, org: int, groups: tuple[str, ...], _: Any) -> Reply:
        versions = self.orgs[org].dashboards.get(groups[0])
        if not versions:
            return 404, {"message": "Dashboard not found"}
        # In another form than it was given.
        return 200, {"dashboard": {**versions[-1]["dashboard"], "id": 7, "schemaVersion": 42}, "meta": {}}

    def versions(self, org: int, groups: tuple[str, ...], query: dict[str, str]) -> Reply:
        versions = self.orgs[org].dashboards.get(groups[0])
        if not versions:
            return 404, {"message": "Dashboard not found"}
        told = [{"version": nth + 1, "message": each["message"]} for nth, each in enumerate(versions)]
        return 200, {"continueToken": "", "versions": told[::-1][: int(query.get("limit", "1000"))]}

    def keep_dashboard(self, org: int, _: Any, body: Any) -> Reply:
        if not self.fits("POST /api/dashboards/db", body, {"dashboard", "folderUid", "overwrite", "message"}):
            return 400, {"message": "bad request data"}
        if body["folderUid"] not in self.orgs[org].folders:
            return 400, {"message": "folder not found"}
        uid = body["dashboard"]["uid"]
        versions = self.orgs[org].dashboards.setdefault(uid, [])
        if versions and not body["overwrite"]:
            return 412, {"message": "A dashboard with the same uid already exists", "status": "name-exists"}
        versions.append(body)
        return 200, {"id": 7, "uid": uid, "status": "success", "version": len(versions)}


ROUTES: list[tuple[str, dict[str, Callable[..., Reply]]]] = [
    (r"/api/orgs/name/([^/]+)", {"GET": Grafana.find_org}),
    (r"/api/orgs", {"POST": Grafana.make_org}),
    (r"/api/orgs/(\d+)", {"DELETE": Grafana.take_org}),
    (r"/api/orgs/(\d+)/users", {"GET": Grafana.members, "POST": Grafana.add_member}),
    (r"/api/orgs/(\d+)/users/(\d+)", {"PATCH": Grafana.change_member}),
    (r"/api/org", {"GET": Grafana.this_org}),
    (r"/api/users/lookup", {"GET": Grafana.find_user}),
    (r"/api/users/(\d+)", {"GET": Grafana.user}),
    (r"/api/users/(\d+)/orgs", {"GET": Grafana.orgs_of_user}),
    (r"/api/admin/users", {"POST": Grafana.make_user}),
    (r"/api/admin/users/(\d+)", {"DELETE": Grafana.take_user}),
    (r"/api/datasources", {"GET": Grafana.sources, "POST": Grafana.make_source}),
    (r"/api/datasources/uid/([^/]+)", {"GET": Grafana.source, "PUT": Grafana.change_source, "DELETE": Grafana.take_source}),
    (r"/api/datasources/proxy/uid/([^/]+)(/.*)", {"GET": Grafana.proxied}),
    (r"/api/folders", {"POST": Grafana.make_folder}),
    (r"/api/folders/([^/]+)", {"GET": Grafana.folder}),
    (r"/api/folders/([^/]+)/permissions", {"GET": Grafana.folder_rights, "POST": Grafana.change_rights}),
    (r"/api/teams/search", {"GET": Grafana.teams}),
    (r"/api/teams", {"POST": Grafana.make_team}),
    (r"/api/dashboards/uid/([^/]+)", {"GET": Grafana.dashboard}),
    (r"/api/dashboards/uid/([^/]+)/versions", {"GET": Grafana.versions}),
    (r"/api/dashboards/db", {"POST": Grafana.keep_dashboard}),
]
