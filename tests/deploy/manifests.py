"""Holds what deploy/ says to what the sources say, and looks for secrets in it.

    python3 tests/deploy/manifests.py BINARY

Times of an end, names of metrics, paths of probes, the public routes, the configurations in it (`sluice
check`), files that are named; hardening of containers; what roles of AWS may; overlays as the README shows them
(by kustomize where kubectl is there); the gateway's word for an error; nothing that looks like a secret.
"""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import kubernetes_validate
import yaml

from behind import PATIENCE, eventually
from ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BINARY = pathlib.Path(sys.argv.pop(1)).resolve()
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").rglob("*.yaml") if path.name not in ("kustomization.yaml", "prometheus-adapter.yaml"))
KUBERNETES = {
    (document["kind"], document["metadata"]["name"]): document
    for path in MANIFESTS
    for document in yaml.safe_load_all(path.read_text())
}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def text(path):
    return (ROOT / path).read_text()


def number(path, pattern):
    found = re.search(pattern, text(path))
    assert found, f"{path} has no {pattern}"
    return int(found[1])


def checked(case, main, tenants):
    """`sluice check` of a configuration whose secrets are files below /run/secrets."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in ("tls.crt", "tls-cert"):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", "/CN=x", "-keyout", folder / name.replace("cert", "key").replace("crt", "key"), "-out", folder / name],
                check=True, capture_output=True)
        for name in ("scrape-token", "acme-orders"):
            (folder / name).write_text(f"a-secret-of-the-test-{name}")
        (folder / "database-url").write_text("postgres://sluice@db.example/sluice?sslmode=verify-full&sslrootcert=ca.pem")
        (folder / "tenants").mkdir()
        for name, content in {"sluice.toml": main, **{f"tenants/{name}": it for name, it in tenants.items()}}.items():
            (folder / name).write_text(re.sub(r"/run/secrets/(sluice/)?", f"{folder}/", content))
        told = subprocess.run([BINARY, "check", "--config", folder], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        case.assertEqual(told.returncode, 0, told.stdout + told.stderr)


class Times(unittest.TestCase):
    def drain(self):
        # The admin listener ends after the jobs, with the same patience as the public one.
        steps = ("announce", "requests", "jobs", "requests", "telemetry")
        return sum(number("src/lifecycle.rs", rf"(?m)^ +{step}: Duration::from_secs\((\d+)\),$") for step in steps)

    def test_whoever_ends_a_gateway_waits_longer_than_its_drain(self):
        pod = KUBERNETES["Deployment", "sluice"]["spec"]["template"]["spec"]
        before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        given = {
            "kubernetes": pod["terminationGracePeriodSeconds"] - before,
            "systemd": number("deploy/systemd/sluice.service", r"(?m)^TimeoutStopSec=(\d+)$"),
            "ecs": number("deploy/terraform/modules/service/main.tf", r"stopTimeout\s+= (\d+)"),
            "compose": int(COMPOSE["services"]["gateway"]["stop_grace_period"].removesuffix("s")),
        }
        for who, seconds in given.items():
            self.assertGreater(seconds, self.drain() + 2, who)

    def test_proxies_close_idle_connections_before_the_gateway_does(self):
        ours = number("src/edge/accept.rs", r"idle_proxy: Duration::from_secs\((\d+)\)")
        self.assertLess(number("deploy/nginx/sluice.conf", r"upstream sluice \{[^}]*keepalive_timeout (\d+)s;") + 10, ours)
        self.assertLess(number("deploy/terraform/modules/edge/main.tf", r"idle_timeout\s+= (\d+)") + 10, ours)

    def test_nginx_s_limits_are_not_narrower_than_the_gateway_s(self):
        largest = number("src/config/server.rs", r"LARGEST_BODY: usize = (\d+) << 20")
        self.assertGreaterEqual(number("deploy/nginx/sluice.conf", r"client_max_body_size (\d+)m;"), largest)
        head = number("src/edge/accept.rs", r"head_bytes: (\d+) \* 1024")
        self.assertGreaterEqual(number("deploy/nginx/sluice.conf", r"large_client_header_buffers \d+ (\d+)k;"), head)
        self.assertIn("    proxy_request_buffering off;\n", text("deploy/nginx/sluice.conf"))
        ingress = {name.rpartition("/")[2]: value for name, value in KUBERNETES["Ingress", "sluice"]["metadata"]["annotations"].items()}
        self.assertGreaterEqual(int(ingress["proxy-body-size"].removesuffix("m")), largest)
        self.assertEqual(ingress["proxy-request-buffering"], "off")


class Routes(unittest.TestCase):
    """What lets paths in has those of the public listener, all of them and no others."""

    DECLARED = re.search(r"PUBLIC_ROUTES: \[&str; (\d+)\] = \[(.*?)\];", text("src/edge/mod.rs"), re.S)
    PATHS = [re.sub(r"\{\w+\}", "x", route) for route in re.findall(r'"([^"]+)"', DECLARED[2])]

    def let_in_exactly(self, patterns, lets_in):
        self.assertEqual(len(self.PATHS), int(self.DECLARED[1]))
        for path in self.PATHS:
            self.assertTrue(any(lets_in(it, path) for it in patterns), path)
        for pattern in patterns:
            self.assertTrue(any(lets_in(pattern, path) for path in self.PATHS), pattern)
        routes = json.loads(text("docs/openapi.json"))["paths"]
        for path in ("/", "/metrics", "/api/v1/events", *(set(routes) - set(self.PATHS))):
            self.assertFalse(any(lets_in(it, path) for it in patterns), path)

    def test_the_load_balancer_s_rules(self):
        rules = re.search(r'"aws_lb_listener_rule" "public" \{\n  for_each = \{\n(.*?)\n  \}', text("deploy/terraform/modules/edge/main.tf"), re.S)
        rules = [re.findall(r'"([^"]+)"', paths) for paths in re.findall(r"paths = \[(.*)\]", rules[1])]
        self.let_in_exactly([path for paths in rules for path in paths], lambda pattern, path: fnmatch.fnmatchcase(path, pattern))
        # What AWS's guide allows in a condition.
        self.assertTrue(all(len(paths) <= 3 for paths in rules), rules)

    def test_the_ingress_s_paths(self):
        paths = [(it["path"], it["pathType"]) for rule in KUBERNETES["Ingress", "sluice"]["spec"]["rules"] for it in rule["http"]["paths"]]

        def lets_in(pattern, path):
            there, kind = pattern
            return path == there if kind == "Exact" else f"{path}/".startswith(f"{there.rstrip('/')}/")

        self.let_in_exactly(paths, lets_in)


class Artifacts(unittest.TestCase):
    def test_no_node_of_several_keeps_them_for_itself(self):
        self.assertRegex(KUBERNETES["ConfigMap", "sluice"]["data"]["sluice.toml"], r'(?m)^\[artifacts\]\nstore = "s3://')
        for example in ("fargate", "instances"):
            self.assertIn('SLUICE_ARTIFACTS__STORE = "s3://${var.artifacts_bucket}"', text(f"deploy/terraform/examples/{example}/main.tf"))

    def test_the_roles_have_the_rights_that_the_document_names(self):
        document = text("docs/artifacts.md")
        needed = set(re.findall(r"`(s3:\w+)`", document[document.index("The role needs"):]))
        self.assertGreater(len(needed), 3)
        given = re.findall(r'sid += "Artifacts\w*"\n +actions += \[(.*)\]', text("deploy/terraform/modules/artifacts/main.tf"))
        self.assertEqual(set(re.findall(r'"(s3:\w+)"', " ".join(given))), needed)
        # Said once, and given to whatever runs the gateway.
        for path in ("service/roles.tf", "asg/main.tf"):
            self.assertRegex(text(f"deploy/terraform/modules/{path}"), r"source_policy_documents += .*\[var\.artifacts\.policy_json\]")
        for example in ("fargate", "instances"):
            self.assertIn("policy_json = module.artifacts.policy_json", text(f"deploy/terraform/examples/{example}/main.tf"))

    def test_no_policy_of_aws_s_own_gives_more_than_was_looked_through(self):
        attached = [name for path in (DEPLOY / "terraform").rglob("*.tf") for name in re.findall(r'policy_arn += "(.*)"', path.read_text())]
        self.assertEqual(attached, ["arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"])


def merged(base, patch):
    """A strategic merge of Kubernetes, as far as patches of ours go: lists by the name of their items."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {**base, **{key: merged(base[key], value) if key in base else value for key, value in patch.items()}}
    if isinstance(base, list) and isinstance(patch, list):
        key = "mountPath" if "mountPath" in patch[0] else "name"
        patches = {it[key]: it for it in patch}
        return [merged(it, patches.pop(it[key], {})) for it in base] + list(patches.values())
    return patch


class Kubernetes(unittest.TestCase):
    def pods(self):
        for (kind, name), document in KUBERNETES.items():
            if kind in ("Deployment", "Job"):
                yield f"{kind} {name}", document["spec"]["template"]["spec"]

    def test_its_configuration_is_right(self):
        main = KUBERNETES["ConfigMap", "sluice"]["data"]["sluice.toml"]
        checked(self, main, KUBERNETES["ConfigMap", "sluice-tenants"]["data"])

    def test_containers_are_hardened(self):
        for name, pod in self.pods():
            security = pod["securityContext"]
            self.assertTrue(security["runAsNonRoot"] and security["runAsUser"] > 0, name)
            self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"}, name)
            self.assertFalse(pod["automountServiceAccountToken"], name)
            for container in pod["containers"]:
                self.assertEqual(container["securityContext"], {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}, name)
                self.assertRegex(container["image"], r"@sha256:[0-9a-f]{64}$")
                self.assertIn("memory", container["resources"]["limits"])

    def test_probes_ask_for_paths_that_anyone_may_at_the_port_of_the_admin_listener(self):
        routes = json.loads(text("docs/openapi.json"))["paths"]
        container = KUBERNETES["Deployment", "sluice"]["spec"]["template"]["spec"]["containers"][0]
        ports = {it["name"]: it["containerPort"] for it in container["ports"]}
        main = KUBERNETES["ConfigMap", "sluice"]["data"]["sluice.toml"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = container[probe]["httpGet"]
            self.assertIn(get["path"], routes)
            self.assertEqual(get["scheme"], "HTTPS")
            self.assertIn(f'[admin]\nlisten = "0.0.0.0:{ports[get["port"]]}"\ntls', main)

    def test_the_autoscaler_s_metric_is_what_the_adapter_makes_of_one_that_the_gateway_has(self):
        wanted = [it["external"]["metric"]["name"] for it in KUBERNETES["HorizontalPodAutoscaler", "sluice"]["spec"]["metrics"]
                  if it["type"] == "External"]
        rules = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.yaml").read_text())["rules"]["external"]
        self.assertEqual(wanted, [it["name"]["as"] for it in rules])
        for rule in rules:
            self.assertIn(f"`{rule['seriesQuery']}`", text("docs/metrics.md"))
            self.assertIn(rule["seriesQuery"], rule["metricsQuery"])

    def test_the_autoscaler_counts_what_is_late_only_while_the_workers_are_busy(self):
        query = yaml.safe_load((DEPLOY / "kubernetes/prometheus-adapter.yaml").read_text())["rules"]["external"][0]["metricsQuery"]
        series = lambda name, labels, value: {"series": f"{name}{{{labels}}}", "values": f"{value}x4"}
        late = [series("sluice_lane_oldest_due_age_seconds", f'instance="{pod}",tenant="acme",source="{source}"', age)
                for pod in "ab" for source, age in (("paused", 600), ("pay", 40))]
        # A pod that just joined has nothing to do yet.
        cases = [{"interval": "1m", "input_series": [
                      *late, *(series("sluice_workers", f'instance="{pod}"', 64) for pod in "abc"),
                      *(series("sluice_workers_busy", f'instance="{pod}"', many) for pod in "ab"),
                      series("sluice_workers_busy", 'instance="c"', 0)],
                  "promql_expr_test": [{"expr": query, "eval_time": "3m", "exp_samples": [{"labels": "{}", "value": told}]}]}
                 for many, told in ((64, 600), (10, 0))]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "cases.yml")
            path.write_text(yaml.safe_dump({"rule_files": [], "tests": cases}))
            ran = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_selectors_find_the_gateway_s_pods_only(self):
        labels = KUBERNETES["Deployment", "sluice"]["spec"]["template"]["metadata"]["labels"]
        for kind, where in (("Service", ["selector"]), ("PodDisruptionBudget", ["selector", "matchLabels"]),
                            ("NetworkPolicy", ["podSelector", "matchLabels"])):
            for (it, _), document in KUBERNETES.items():
                if it == kind:
                    found = document["spec"]
                    for key in where:
                        found = found[key]
                    self.assertEqual(found, labels, kind)
        self.assertNotEqual(KUBERNETES["Job", "sluice-migrate"]["spec"]["template"]["metadata"]["labels"], labels)

    def test_what_its_readme_shows_for_an_overlay_fits(self):
        blocks = re.findall(r"(?ms)^```yaml\n(.*?)^```$", text("deploy/kubernetes/README.md"))
        shown = {it["kind"]: it for it in map(yaml.safe_load, blocks) if it.get("kind", "Component") != "Component"}
        self.assertEqual(set(shown), {"Deployment", "NetworkPolicy"})
        deployment = merged(KUBERNETES["Deployment", "sluice"], shown["Deployment"])
        for document in (deployment, shown["NetworkPolicy"]):
            kubernetes_validate.validate(document, "1.37", strict=True)
        pod = deployment["spec"]["template"]["spec"]
        self.assertEqual((len(pod["containers"]), len(pod["volumes"])), (1, 4))
        mounts = {it["mountPath"]: it["name"] for it in pod["containers"][0]["volumeMounts"]}
        folder, file = re.search(r'SERVICE_ACCOUNT_TOKEN: &str = "(.*)/(.*)";', text("src/config/secrets.rs")).groups()
        volume = next(it for it in pod["volumes"] if it["name"] == mounts[folder])
        self.assertEqual([it["serviceAccountToken"]["path"] for it in volume["projected"]["sources"]], [file])
        spec = shown["NetworkPolicy"]["spec"]
        self.assertEqual(spec["podSelector"]["matchLabels"], KUBERNETES["NetworkPolicy", "sluice"]["spec"]["podSelector"]["matchLabels"])
        brokers = set(map(int, re.findall(r'\("[a-z]+", (\d+)\)', text("src/brokers/endpoint.rs"))))
        self.assertEqual({it["port"] for rule in spec["egress"] for it in rule["ports"]}, {8200, *brokers})

    def test_kustomize_names_files_that_are_there_and_all_that_there_are(self):
        named = set()
        for path in (DEPLOY / "kubernetes").rglob("kustomization.yaml"):
            named |= {path.parent / name for name in yaml.safe_load(path.read_text())["resources"]}
        self.assertEqual(named, set(MANIFESTS))

    def overlay(self, folder):
        """The overlay that the README shows, beside the sources, with a namespace that is not theirs."""
        readme = text("deploy/kubernetes/README.md")
        shown = dict(re.findall(r"(?ms)^```yaml\n# (\S+/kustomization\.yaml)\n(.*?)^```$", readme))
        self.assertEqual(set(shown), {f"{name}/kustomization.yaml" for name in ("release", "gateway", "migrate")})
        for name, content in shown.items():
            (folder / name).parent.mkdir()
            (folder / name).write_text(content.replace("namespace: sluice", "namespace: hooks"))
        (folder / "gateway/config.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: sluice\ndata:\n  sluice.toml: mine\n")
        (folder / "sluice/deploy").mkdir(parents=True)
        shutil.copytree(DEPLOY / "kubernetes", folder / "sluice/deploy/kubernetes")
        # Its commands are about folders that it shows.
        commands = re.findall(r"kubectl (?:apply|delete) -k (\w+)", readme)
        self.assertEqual(set(commands), {"gateway", "migrate"})
        self.assertLess(commands.index("migrate"), len(commands) - 1 - commands[::-1].index("gateway"))
        return yaml.safe_load(shown["release/kustomization.yaml"])["images"][0]

    def test_what_an_overlay_says_of_image_and_namespace_reaches_the_migration_too(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            image = self.overlay(folder)
            if not shutil.which("kubectl"):
                print("\nNOT RENDERED: this machine has no kubectl, whose kustomize renders the overlay of deploy/kubernetes/README.md")
                return
            rendered = {}
            for name in ("gateway", "migrate"):
                told = subprocess.run(["kubectl", "kustomize", folder / name], capture_output=True, text=True)
                self.assertEqual(told.returncode, 0, told.stderr)
                rendered |= {(it["kind"], it["metadata"]["name"]): it for it in yaml.safe_load_all(told.stdout)}
            self.assertEqual(set(rendered), set(KUBERNETES))
            self.assertEqual({it["metadata"]["namespace"] for it in rendered.values()}, {"hooks"})
            self.assertEqual(rendered["ConfigMap", "sluice"]["data"]["sluice.toml"], "mine")
            for document in rendered.values():
                kubernetes_validate.validate(document, "1.37", strict=True)
            for kind, name in (("Deployment", "sluice"), ("Job", "sluice-migrate")):
                containers = rendered[kind, name]["spec"]["template"]["spec"]["containers"]
                self.assertEqual([it["image"] for it in containers], [f"{image['newName']}@{image['digest']}"])


class Compose(unittest.TestCase):
    def test_its_configuration_is_right(self):
        folder = DEPLOY / "compose"
        checked(self, (folder / "sluice.toml").read_text(), {it.name: it.read_text() for it in (folder / "tenants").iterdir()})

    def test_services_name_secrets_volumes_and_files_that_are_there(self):
        named = set()
        for name, service in COMPOSE["services"].items():
            named |= set(service.get("secrets", []))
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                there = (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
                self.assertTrue(there, f"{name}: {volume}")
            for port in service.get("ports", []):
                self.assertTrue(port.startswith("127.0.0.1:"), f"{name}: {port}")
            self.assertTrue(set(service.get("depends_on", {})) <= set(COMPOSE["services"]), name)
        self.assertEqual(named, set(COMPOSE["secrets"]))

    def test_init_writes_each_secret_once(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder) / "secrets"
            subprocess.run([DEPLOY / "compose/init", folder], check=True)
            first = {it.name: it.read_bytes() for it in folder.iterdir()}
            self.assertEqual({pathlib.Path(it["file"]).name for it in COMPOSE["secrets"].values()}, set(first))
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
            subprocess.run([DEPLOY / "compose/init", folder], check=True)
            self.assertEqual({it.name: it.read_bytes() for it in folder.iterdir()}, first)

    def test_prometheus_understands_its_file(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "token").write_text("x")
            content = (DEPLOY / "compose/prometheus.yml").read_text().replace("/run/secrets/scrape-token", str(folder / "token"))
            (folder / "prometheus.yml").write_text(content.replace("/etc/prometheus/sluice", str(DEPLOY / "prometheus")))
            told = subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"], capture_output=True, text=True)
            self.assertEqual(told.returncode, 0, told.stdout + told.stderr)


class Running(unittest.TestCase):
    """A gateway with the configuration of compose, but for its ports and a database in a file."""

    @classmethod
    def setUpClass(cls):
        held = tempfile.TemporaryDirectory()
        cls.addClassCleanup(held.cleanup)
        cls.folder = pathlib.Path(held.name)
        subprocess.run([DEPLOY / "compose/init", cls.folder / "secrets"], check=True)
        (cls.folder / "tenants").mkdir()
        # As in the container, where its certificate is for another name than commands look for it by.
        cls.admin = free_port()
        cls.main = cls.of_here((DEPLOY / "compose/sluice.toml").read_text())
        for name, content in (("sluice.toml", cls.main), ("tenants/acme.toml", cls.of_here((DEPLOY / "compose/tenants/acme.toml").read_text()))):
            (cls.folder / name).write_text(content)
        cls.log = cls.folder / "log"
        with open(cls.log, "wb") as out:
            cls.gateway = subprocess.Popen([BINARY, "serve", "--config", cls.folder], stdout=out, stderr=out, env={"PATH": os.environ["PATH"]})
        cls.addClassCleanup(cls.ended)
        eventually("the gateway is there", (cls.folder / "runtime.json").exists)

    @classmethod
    def ended(cls):
        cls.gateway.send_signal(signal.SIGTERM)
        cls.gateway.wait(PATIENCE)

    @classmethod
    def of_here(cls, content):
        content = content.replace("/run/secrets/", f"{cls.folder}/secrets/")
        content = content.replace("0.0.0.0:8443", "127.0.0.1:0").replace("0.0.0.0:8444", f"0.0.0.0:{cls.admin}")
        return re.sub(r"(?ms)^\[database\]\n.*?\n\n", f'[database]\nurl = "sqlite://{cls.folder}/sluice.db"\n\n', content)

    def test_the_command_that_compose_shows_makes_a_user_who_can_sign_in(self):
        shown = re.search(r"exec gateway \\\n# +/usr/local/bin/sluice (user add .*)\n", text("deploy/compose.yaml"))[1]
        self.assertIn(f"-- /usr/local/bin/sluice {shown}\n", text("deploy/kubernetes/README.md"))
        gateway = COMPOSE["services"]["gateway"]
        self.assertIn("./compose/sluice.toml:/etc/sluice/sluice.toml:ro", gateway["volumes"])
        command = [str(self.folder) if it == "/etc/sluice" else it for it in shlex.split(shown)]
        told = subprocess.run([BINARY, *command], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        self.assertEqual(told.returncode, 0, told.stderr)
        trusted = ssl.create_default_context(cafile=self.folder / "secrets/tls-cert")
        signing_in = urllib.request.Request(
            f"https://localhost:{self.admin}/api/v1/session", method="POST", headers={"content-type": "application/json"},
            data=json.dumps({"name": command[2], "password": told.stdout.strip()}).encode())
        with urllib.request.urlopen(signing_in, context=trusted, timeout=PATIENCE) as answer:
            self.assertEqual(json.load(answer)["role"], "admin")

    def test_the_alarm_on_errors_counts_the_line_of_an_error_and_no_other(self):
        key, word = re.search(r'pattern += "\{ \$\.(\w+) = \\"(\w+)\\" \}"', text("deploy/terraform/modules/alarms/main.tf")).groups()
        self.assertIn(f"log lines of level `{word}`", text("docs/production.md"))

        def counted():
            lines = self.log.read_text()
            return [it["message"] for it in map(json.loads, lines[:lines.rfind("\n") + 1].splitlines()) if it[key] == word]

        self.assertEqual(counted(), [])
        (self.folder / "sluice.toml").write_text(f"{self.main}unknown = 1\n")
        self.addCleanup((self.folder / "sluice.toml").write_text, self.main)
        self.gateway.send_signal(signal.SIGHUP)
        self.assertEqual(set(eventually("the refused configuration is logged", counted)), {"configuration refused, the running one stays in force"})


class Secrets(unittest.TestCase):
    # What a secret looks like, by where it would stand: a key's armour, forms of known tokens, a literal
    # behind a telling name. Each is looked for by itself, or one could hide in the innocent find of another.
    SHAPES = [re.compile(shape, re.M) for shape in (
        r"-----BEGIN [A-Z ]*PRIVATE KEY",
        r"\bA[KS]IA[0-9A-Z]{16}\b",
        r"\bwhsec_[A-Za-z0-9+/=]{16,}",
        r"\bsk-[A-Za-z0-9_-]{16,}",
        r"\bxox[abp]-[A-Za-z0-9-]{10,}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\beyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{10,}",
        r"://[^/\s:@$%{']+:[^@\s/$%{']+@",
        r"(?i:password|passwd|secret|token|api_?key|auth_token)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9+/_-]{12,}[\"']?\s*$",
    )]
    # References and names, not values; in the find itself, for a secret may stand beside them.
    INNOCENT = re.compile(r"/run/secrets|:PASSWORD@")

    def found(self, content):
        return [line for line in content.splitlines()
                if any(not self.INNOCENT.search(it[0]) for shape in self.SHAPES for it in shape.finditer(line))]

    def test_nothing_in_deploy_or_the_examples_looks_like_a_secret(self):
        looked = 0
        for folder in (DEPLOY, ROOT / "examples", ROOT / "tests/production"):
            for path in folder.rglob("*"):
                if path.is_file() and ".terraform" not in path.parts and "secrets" not in path.relative_to(folder).parts[:-1]:
                    looked += 1
                    self.assertEqual(self.found(path.read_text()), [], path)
        self.assertEqual(self.found(text("docs/production.md")), [])
        self.assertGreater(looked, 40)

    def test_the_shapes_find_what_they_are_for(self):
        for planted in ("aws_access_key_id = AKIA" + "IOSFODNN7EXAMPLE", "url = postgres://sluice:hunter2@db/sluice",
                        "-----BEGIN EC PRIVATE KEY-----", 'password = "correct-horse-battery"', "TOKEN=0123456789abcdef",
                        'url = "file:secrets/url"  # postgres://sluice:hunter2@db/sluice',
                        'secrets = ["env:ACME", "aws-sm:acme"]  # it was whsec_' + "0123456789abcdef",
                        "token: /run/secrets/whsec_" + "0123456789abcdef"):
            self.assertEqual(self.found(planted), [planted])
        for innocent in ("url = postgres://sluice:PASSWORD@db/sluice", "token: /run/secrets/scrape-token", 'password = "file:secrets/db"'):
            self.assertEqual(self.found(innocent), [])


if __name__ == "__main__":
    unittest.main()
