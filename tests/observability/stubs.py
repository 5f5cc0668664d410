"""Whom the gateway calls in the live test: an LLM, a WordPress site and an API on one port, which fail on command,
receivers of its own alerts, and a vault; and a receiver of Alertmanager's messages."""

from __future__ import annotations

import json
import threading
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """An HTTP server on a free loopback port: `answer(path, body) -> (status, json)`, or `handle` where more matters."""

    def __init__(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, reply = server.handle(self.command, self.path, self.headers, json.loads(body or b"null"))
                text = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self.http.server_port}"
        # How soon it ends once it is told to.
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def handle(self, method: str, path: str, headers: Message, body: Any) -> tuple[int, Any]:
        return self.answer(path, body)

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        raise NotImplementedError

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


class Callees(Server):
    """`down`: the API answers 503."""

    down = False

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/chat/completions":
            content = json.dumps({"title": "A title", "summary": "A summary.", "category": "other"})
            usage = {"prompt_tokens": 100, "completion_tokens": 50}
            return 200, {"choices": [{"message": {"content": content}}], "usage": usage}
        if path.endswith("/sluice/v1/callbacks"):
            echo = {"job_id": body["job_id"], "fence": body["fence"]}
            return 200, {**echo, "outcome": "created", "post_id": 1}
        if path == "/rejecting":
            return 422, {}
        if path == "/api" and self.down:
            return 503, {}
        # A receiver of the gateway's own alerts that was taken away.
        return (410 if path == "/gone" else 200), {}


class Vault(Server):
    """KV version 2, one version of one secret: as tests/it/secrets/fake.rs answers, which has the rest."""

    TOKEN = "hvs.a-token"

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        super().__init__()

    def handle(self, method: str, path: str, headers: Message, body: Any) -> tuple[int, Any]:
        if headers.get("X-Vault-Token") != self.TOKEN:
            return 403, {"errors": ["permission denied"]}
        if path == "/v1/auth/token/lookup-self":
            return 200, {"request_id": "a", "data": {}}
        if path != "/v1/secret/data/acme":
            return 404, {"errors": []}
        about = {"created_time": "2026-01-01T00:00:00Z", "custom_metadata": None, "deletion_time": "", "destroyed": False, "version": 1}
        return 200, {"request_id": "b", "data": {"data": self.values, "metadata": about}}


class Receiver(Server):
    """Keeps every alert that Alertmanager sends."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.came = threading.Condition()
        super().__init__()

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        with self.came:
            self.alerts += [{**alert, "receiver": body["receiver"]} for alert in body["alerts"]]
            self.came.notify_all()
        return 200, {}

    def wait(self, status: str, labels: dict[str, str], patience: float) -> dict[str, Any]:
        """The first alert of a status with these labels."""

        def found() -> dict[str, Any] | None:
            fitting = (
                alert for alert in self.alerts if alert["status"] == status and labels.items() <= alert["labels"].items()
            )
            return next(fitting, None)

        end = time.monotonic() + patience
        with self.came:
            while (alert := found()) is None:
                left = end - time.monotonic()
                if left <= 0:
                    told = [(alert["status"], alert["labels"]) for alert in self.alerts]
                    raise AssertionError(f"no {status} alert {labels} within {patience} s; there were {told}")
                self.came.wait(left)
            return alert
