"""Ports for servers that must be told theirs."""

import random
import socket

# Below the ports that the system hands out, and beside those of tests/it/harness/ports.rs: no connection and
# no server of another test takes one between the look and the start.
PORTS = range(20000, 32000)


claims = []


def free_port() -> int:
    """A port of the loopback that nobody listens on, nor was given by this to another process that lives."""
    for port in random.sample(PORTS, 100):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0sluice-port-{port}")
        except OSError:
            continue
        claims.append(claim)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
