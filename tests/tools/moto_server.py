"""AWS Secrets Manager and STS as moto imitates them, for tests/it/secrets/aws.rs.

Prints `LISTEN http://127.0.0.1:PORT` when it is ready and ends when its standard input does.
"""

import os
import sys

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"LISTEN http://{host}:{port}", flush=True)
sys.stdin.buffer.read()
os._exit(0)
