"""The system calls of a gateway under load are all among those that its unit allows.

    python3 tests/deploy/syscalls.py BINARY

The unit's filter would answer the others with EPERM. Needs strace and systemd-analyze (Debian: systemd).
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60


def members(group, seen):
    """All system calls of a group of systemd, with those of the groups in it."""
    if group in seen:
        return set()
    seen.add(group)
    listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", group], check=True, capture_output=True, text=True)
    found = set()
    for line in listed.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= members(word, seen)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed():
    calls = set()
    for line in (ROOT / "deploy/systemd/sluice.service").read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.split("=", 1)[1]
            taken = set().union(*(members(word, set()) for word in words.lstrip("~").split()))
            calls = calls - taken if words.startswith("~") else calls | taken
    return calls


def eventually(what, look):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    sys.exit(f"waited {PATIENCE} s in vain: {what}")


def used(binary):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([binary, "init", folder / "gateway"], check=True, stdout=subprocess.DEVNULL)
        main = folder / "gateway/sluice.toml"
        main.write_text(re.sub(r'listen = "127\.0\.0\.1:\d+"', 'listen = "127.0.0.1:0"', main.read_text()))
        strace = ["strace", "-f", "-c", "-S", "name", "-o", folder / "calls"]
        if os.geteuid() == 0:
            # As the service does, not as root, for whom SQLite does more.
            subprocess.run(["chown", "-R", "nobody", folder], check=True)
            strace += ["-u", "nobody"]
        with open(folder / "log", "wb") as log:
            traced = subprocess.Popen([*strace, binary, "serve", "--config", main], stdout=log, stderr=log)
        runtime = folder / "gateway/runtime.json"
        started = json.loads(eventually("the gateway starts", lambda: runtime.exists() and runtime.read_text()))
        url = f"{started['public']}/webhooks/acme/orders"
        # Who is traced is slow, and may tell some of them to come again.
        subprocess.run(
            [binary, "send", "generic", "--url", url, "--secret", f"file:{folder}/gateway/secrets/acme-orders", "--count", "200"],
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stored = subprocess.run([binary, "events", "--json", "--config", main], check=True, stdout=subprocess.PIPE)
        for command in (["jobs"], ["backup", str(folder / "backup.db")]):
            subprocess.run([binary, *command, "--config", main], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # strace goes when what it traces does.
        subprocess.run(["kill", f"-{signal.SIGTERM.value}", str(started["pid"])], check=True)
        if traced.wait(PATIENCE):
            sys.exit(f"the gateway ended with {traced.returncode}: {(folder / 'log').read_text()}")
        # Some may come again, but not all.
        if not json.loads(stored.stdout)["items"]:
            sys.exit(f"no delivery was stored: {(folder / 'log').read_text()}")
        rows = [line.split() for line in (folder / "calls").read_text().splitlines()]
        return {row[-1] for row in rows if len(row) >= 5 and row[0][0].isdigit()} - {"total"}


def main():
    may, does = allowed(), used(sys.argv[1])
    # Of a delivery: it is received and stored for good.
    for either in ({"accept4", "accept"}, {"fdatasync", "fsync"}):
        if not either & does:
            sys.exit(f"{' or '.join(sorted(either))} was not traced: {sorted(does)}")
    # Before the unit's filter is in force.
    refused = does - may - {"execve"}
    print(f"{len(does)} system calls, of {len(may)} that the unit allows; not allowed: {sorted(refused) or 'none'}")
    return 1 if refused else 0


sys.exit(main())
