"""Holds what deploy/ says to what the sources say, and looks for secrets in it.

    python3 tests/deploy/manifests.py BINARY

Times of an end, names of metrics, paths of probes, the configurations in it (`sluice check`), files that
are named; hardening of containers; nothing that looks like a secret.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BINARY = pathlib.Path(sys.argv.pop(1)).resolve()
KUBERNETES = {
    (document["kind"], document["metadata"]["name"]): document
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if path.name not in ("kustomization.yaml", "prometheus-adapter.yaml")
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

    def test_kustomize_names_files_that_are_there(self):
        kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
        for name in kustomization["resources"]:
            self.assertTrue((DEPLOY / "kubernetes" / name).exists(), name)


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


class Secrets(unittest.TestCase):
    # What a secret looks like, by where it would stand: a key's armour, forms of known tokens, a literal
    # behind a telling name.
    SHAPES = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bASIA[0-9A-Z]{16}\b|\bwhsec_[A-Za-z0-9+/=]{16,}|\bsk-[A-Za-z0-9_-]{16,}"
        r"|\bxox[abp]-[A-Za-z0-9-]{10,}|\bgh[pousr]_[A-Za-z0-9]{20,}|\beyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{10,}"
        r"|://[^/\s:@$%{']+:[^@\s/$%{']+@"
        r"|(?i:password|passwd|secret|token|api_?key|auth_token)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9+/_-]{12,}[\"']?\s*$", re.M)
    # References and names, not values.
    INNOCENT = re.compile(r"file:|env:|aws-sm:|vault:|/run/secrets|module\.|var\.|local\.|data\.|PASSWORD@|manage_master")

    def found(self, content):
        lines = content.splitlines()
        return [line for line in lines if self.SHAPES.search(line) and not self.INNOCENT.search(line)]

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
                        "-----BEGIN EC PRIVATE KEY-----", 'password = "correct-horse-battery"', "TOKEN=0123456789abcdef"):
            self.assertEqual(self.found(planted), [planted])


if __name__ == "__main__":
    unittest.main()
