"""Receivers of telemetry that others wrote, for tests/it/telemetry.rs.

    receivers.py otlp      rotel, a collector: its own lines tell every span it received
    receivers.py sentry    bugsink, which takes what Sentry takes

Prints `LISTEN URL` (of bugsink: its DSN) when it is ready and ends when its standard input does. A line
`events` on the standard input of bugsink prints all it has stored, as one line of JSON.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

from ports import free_port

PATIENCE = 120


def say(line):
    print(line, flush=True)


def wait_for(ready, child):
    for _ in range(PATIENCE * 20):
        if child.poll() is not None:
            sys.exit(f"ended early: {child.returncode}")
        if ready():
            return
        time.sleep(0.05)
    sys.exit("did not start in time")


def accepts(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def otlp():
    import rotel

    http, grpc = free_port(), free_port()
    binary = os.path.join(list(rotel.__path__)[0], "rotel-agent")
    arguments = ["start", "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
    arguments += ["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"]
    child = subprocess.Popen([binary, *arguments, "--batch-timeout", "200ms"], stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: accepts(http), child)
        say(f"LISTEN http://127.0.0.1:{http}")
        sys.stdin.buffer.read()
    finally:
        child.kill()
        child.wait()


SETTINGS = """
from bugsink.settings.default import *
SECRET_KEY = {key!r}
DATABASES["default"]["NAME"] = {folder!r} + "/db.sqlite3"
DATABASES["snappea"]["NAME"] = {folder!r} + "/snappea.sqlite3"
SNAPPEA = {{"TASK_ALWAYS_EAGER": True}}
BUGSINK = {{"BASE_URL": "http://127.0.0.1:{port}", "SINGLE_USER": True, "SINGLE_TEAM": True, "VALIDATE_ON_DIGEST": "none"}}
ALLOWED_HOSTS = ["*"]
DEBUG = False
"""


def migrated(folder, environment):
    """A database of bugsink; made once for each installation, for it takes long."""
    template = os.path.join(sys.prefix, "bugsink-databases")
    if not os.path.isdir(template):
        manage = [os.path.join(sys.prefix, "bin", "bugsink-manage"), "migrate"]
        for more in ([], ["snappea", "--database=snappea"]):
            subprocess.run(manage + more, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
        made = tempfile.mkdtemp(dir=sys.prefix)
        for name in ("db.sqlite3", "snappea.sqlite3"):
            shutil.copy(os.path.join(folder, name), made)
        try:
            os.rename(made, template)
        except OSError:  # somebody else was as fast
            shutil.rmtree(made)
    for name in ("db.sqlite3", "snappea.sqlite3"):
        shutil.copy(os.path.join(template, name), folder)


def sentry():
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with open(os.path.join(folder, "bugsink_conf.py"), "w") as settings:
            settings.write(SETTINGS.format(key="x" * 50, folder=folder, port=port))
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "bugsink_conf", "PYTHONPATH": folder, "HOME": folder}
        migrated(folder, environment)
        os.environ.update(environment)
        sys.path.insert(0, folder)
        import django

        django.setup()
        from events.models import Event
        from projects.models import Project
        from teams.models import Team

        # Its key is the secret of the DSN: one that a test knows when it sees it.
        key = uuid.UUID(bytes=b"canaryhunter-dsn")
        project = Project.objects.create(name="sluice", team=Team.objects.create(name="ops"), sentry_key=key)
        server = [os.path.join(sys.prefix, "bin", "gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", "1"]
        child = subprocess.Popen(
            [*server, "bugsink.wsgi"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            def ready():
                try:
                    return urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).status == 200
                except OSError:
                    return False

            wait_for(ready, child)
            say(f"LISTEN {project.dsn}")
            for line in sys.stdin:
                if line.strip() == "events":
                    say("EVENTS " + json.dumps([event.get_parsed_data() for event in Event.objects.all()]))
        finally:
            child.terminate()
            child.wait()


{"otlp": otlp, "sentry": sentry}[sys.argv[1]]()
