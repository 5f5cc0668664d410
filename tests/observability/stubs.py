"""Whom the gateway calls in the live test: an LLM, a WordPress site and an API on one port, which fail on command;
and a receiver of Alertmanager's messages."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """An HTTP server on a free loopback port, with `answer(path, body) -> (status, json)`."""

    def __init__(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, reply = server.answer(self.path, json.loads(body or b"null"))
                text = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

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
        return 200, {}


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
