"""Loads the real binary over loopback and prints tables; `scripts/bench` builds and calls it.

Everything is compared within one run, in turns.
"""

import argparse, asyncio, contextlib, hashlib, hmac, http.server, json, re, secrets, subprocess, threading, time

from console import console
from harness import (NODE_UNLIMITED, UNLIMITED, Ceiling, Process, Sender, Sluice, exited, load, median,
                     quantile, run, secret, source, table)

SITE_UUID = "8f14e45f-ceea-467f-a3c0-5a0d9f0c2b11"


def generator(tools, folder):
    print("## The generator\n\nThe ceiling under one generator with 64 connections, and under two with 32 each.\n")
    ceiling = Ceiling(tools.ceiling, folder)
    runs = {"one": [], "two": []}
    load(tools.sluice, folder, ceiling, "--connections", "64", "--seconds", "2")
    for _ in range(2):
        runs["one"].append(load(tools.sluice, folder, ceiling, "--connections", "64", "--seconds", "5"))
        runs["two"].append(load(tools.sluice, folder, ceiling, "--connections", "32", "--seconds", "5", senders=2))
    ceiling.end()
    base = median([run["per_second"] for run in runs["one"]])
    rows = []
    for name, of in runs.items():
        rate = median([run["per_second"] for run in of])
        cost = [f"{median([run[key] for run in of]):.1f}" for key in ("server_us", "sender_us")]
        rows.append([name, f"{rate / base:.2f}", *cost])
    table(["generators", "rate, as a share of the first", "ceiling: µs of processor per delivery", "generator: µs"], rows)


def whole(tools, folder):
    print("## Acknowledged, durable deliveries a second\n\n"
          "1 KiB bodies, 64 keep-alive connections, one event and one job each, in turns with the ceiling.\n")
    ceiling = Ceiling(tools.ceiling, folder)
    sluice = Sluice(tools.sluice, folder / "whole", {"acme": source("app", UNLIMITED.format("app"))}, NODE_UNLIMITED)
    arguments = ("--connections", "64", "--seconds", str(tools.seconds))
    for server in (ceiling, sluice):
        load(tools.sluice, folder, server, "--connections", "64", "--seconds", "2")
    rows, ratios, costs, accepted = [], [], [], 0
    for turn in range(1, tools.rounds + 1):
        most = load(tools.sluice, folder, ceiling, *arguments)
        time.sleep(1)
        before = sluice.count("events")
        ours = load(tools.sluice, folder, sluice, *arguments)
        assert ours["accepted"] == ours["answered"], ours["statuses"]
        assert sluice.count("events") - before == ours["accepted"], "what was acknowledged is stored"
        accepted += ours["accepted"]
        time.sleep(1)
        ratios.append(ours["per_second"] / most["per_second"])
        costs.append(most["server_us"] / ours["server_us"])
        rows.append([turn, f"{most['per_second']:.0f}", f"{ours['per_second']:.0f}", f"**{ratios[-1]:.3f}**",
                     f"{most['server_us']:.0f} / {most['sender_us']:.0f}", f"{ours['server_us']:.0f} / {ours['sender_us']:.0f}",
                     f"{ours['latency_ms']['p50']:.1f} / {ours['latency_ms']['p95']:.1f} / {ours['latency_ms']['p99']:.1f}"])
    assert sluice.count("events") == sluice.count("jobs"), "one job each"
    table(["turn", "ceiling /s", "sluice /s", "ratio", "ceiling: µs server / sender", "sluice: µs server / sender", "ack p50 / p95 / p99 ms"], rows)
    print(f"Median ratio **{median(ratios):.3f}** (at least 0.25 is asked); by the server's processor time {median(costs):.3f}. "
          f"{accepted} events, each stored once with one job.\n", flush=True)
    ceiling.end()
    sluice.end()
    return median(ratios) >= 0.25


def open_model(tools, folder):
    rate, seconds = 1000, tools.open_seconds
    print(f"## Open model\n\n{rate} deliveries a second for {seconds} s over 100 sources, on default limits, "
          "each with one job.\nDeliveries are due at fixed moments and their latency counts from there.\n")
    sluice = Sluice(tools.sluice, folder / "open", {"acme": "".join(source(f"source{s}") for s in range(100))})
    arguments = ("--connections", "100", "--rate", str(rate), "--seconds", str(seconds))
    cpu, began = sluice.cpu(), time.monotonic()
    sender = Sender(tools.sluice, folder, sluice.urls, *arguments)
    seen, last, acks = [], {}, 0
    while not exited(sender):
        time.sleep(max(0.0, began + len(seen) + 1 - time.monotonic()))
        sums, buckets = sluice.metrics()
        fresh = {le: count - last.get(le, 0) for le, count in buckets.items()}
        acked = max(buckets.values(), default=0)
        depth, oldest = sluice.backlog()
        seen.append([len(seen) + 1, int(acked - acks), quantile(fresh, 0.95), quantile(fresh, 0.99), depth, f"{oldest:.1f}"])
        last, acks = buckets, acked
    report = sender.report()
    left = sluice.drained(60)
    cost = (sluice.cpu() - cpu) / max(report["answered"], 1) * 1e6
    stored, done = sluice.count("events"), sluice.count("jobs", "state = 'succeeded'")
    lost = report["accepted"] - stored
    table(["due", "acknowledged", "refused", "no answer", "lost", "jobs done", "ack p50 / p95 / p99 / max ms", "backlog zero after the last"],
          [[report["offered"], report["accepted"], report["answered"] - report["accepted"],
            report["connect_failures"] + report["no_answer"], lost, done,
            " / ".join(f"{report['latency_ms'][q]:.1f}" for q in ("p50", "p95", "p99", "max")),
            f"{left:.1f} s" if left is not None else "**never**"]])
    print(f"{cost:.0f} µs of processor for each delivery with its job.\n\nSecond by second: p95 and p99 as the bounds of the histogram's buckets, "
          "jobs that are not over, seconds since the oldest was due.\n")
    table(["s", "acks", "p95 ms", "p99 ms", "queue", "oldest s"], seen)
    sluice.end()
    return report["accepted"] == report["offered"] and lost == 0 and left is not None and done == stored


HANG_FLOOR = 1.25


def hang(tools, folder):
    print("## While the LLM and WordPress hang\n\n"
          "200 deliveries a second over 20 sources that summarise and publish; callees that answer at once and callees that never do, in turns.\n")
    action = 'action = "summarize_and_publish"'
    rows, p95 = [], {"answer": [], "hang": []}
    key = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True).stdout
    for turn in range(2):
        for mode in p95:
            place = folder / f"{mode}{turn}"
            place.mkdir()
            (place / "site.pem").write_bytes(key)
            flags = ["--hang"] if mode == "hang" else []
            callees = Process([tools.standins, "--serve", *flags], folder / "standins.log", stdout=subprocess.PIPE, stdin=subprocess.PIPE)
            llm, site = (callees.child.stdout.readline().decode().strip() for _ in range(2))
            tenant = (f'[llm]\nbase_url = "{llm}"\nmodel = "bench"\napi_key = "file:llm.key"\nper_second = 10000\nconcurrency = 64\n'
                      f'[wordpress]\nsite = "{site}"\nsite_uuid = "{SITE_UUID}"\nsigning_key = "file:site.pem"\n')
            tenant += "".join(source(f"source{s}", "", action) for s in range(20))
            sluice = Sluice(tools.sluice, place, {"acme": tenant})
            callees.child.stdin.write(json.dumps(json.loads(sluice.keys())).encode() + b"\n")
            callees.child.stdin.flush()
            load(tools.sluice, folder, sluice, "--connections", "20", "--rate", "200", "--seconds", "3")
            report = load(tools.sluice, folder, sluice, "--connections", "20", "--rate", "200", "--seconds", str(tools.hang_seconds))
            p95[mode].append(report["latency_ms"]["p95"])
            done = sluice.count("jobs", "state = 'succeeded'")
            rows.append([turn + 1, mode, report["accepted"], report["offered"] - report["accepted"], done,
                         f"{report['latency_ms']['p50']:.1f}", f"{report['latency_ms']['p95']:.1f}", f"{report['latency_ms']['p99']:.1f}"])
            sluice.end()
            callees.child.stdin.close()
            callees.child.wait(30)
    table(["turn", "callees", "acknowledged", "not", "jobs done meanwhile", "ack p50 ms", "p95 ms", "p99 ms"], rows)
    ratio = median(p95["hang"]) / median(p95["answer"])
    # Two turns of the same kind differ by this much for no reason of ours; they may agree by luck, hence the floor.
    differ = max(max(of) / min(of) for of in p95.values())
    most = max(differ, HANG_FLOOR)
    print(f"p95 while they hang is **{ratio:.2f}** of p95 while they answer (at most {most:.2f}: two turns of the same "
          f"kind differ by {differ:.2f}, and {HANG_FLOOR} is allowed).\n", flush=True)
    return all(row[3] == 0 for row in rows) and ratio <= most


def signed(lane, event_id, content):
    tenant, name = lane
    path, stamp = f"/webhooks/{tenant}/{name}", str(int(time.time()))
    code = hmac.new(secret(tenant).encode(), stamp.encode() + b"." + content, hashlib.sha256).hexdigest()
    head = (f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
            f"x-signature: {code}\r\nx-timestamp: {stamp}\r\nx-event-id: {event_id}\r\n\r\n")
    return head.encode() + content


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head[9:12])


def address(sluice):
    host, port = sluice.runtime["public"].removeprefix("http://").rsplit(":", 1)
    return host, int(port)


async def at_once(sluice, requests):
    """All requests on connections of their own; no byte of a body is sent before all are open."""
    lines = await asyncio.gather(*(asyncio.open_connection(*address(sluice)) for _ in requests))

    async def exchange(line, request):
        reader, writer = line
        try:
            writer.write(request)
            return await answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            return 0
        finally:
            writer.close()

    return await asyncio.gather(*(exchange(*pair) for pair in zip(lines, requests)))


async def in_turn(sluice, requests):
    """All requests over eight connections."""
    requests = iter(requests)

    async def work():
        reader, writer = await asyncio.open_connection(*address(sluice))
        statuses = []
        for request in requests:
            for _ in range(20):  # as vendors do: again after a 503
                writer.write(request)
                status = await answer(reader)
                if status != 503:
                    break
            statuses.append(status)
        writer.close()
        return statuses

    statuses = sum(await asyncio.gather(*(work() for _ in range(8))), [])
    assert set(statuses) == {200}, set(statuses)


def large(n, size):
    """A body of `size` bytes: text, and in turn with it what grows most when it is parsed."""
    head = f'{{"event_type":"bench","n":{n},"data":'
    room = size - len(head) - 4
    return head + ('"' + ("word " * room)[: room + 1] + '"}' if n % 2 else "[" + "0," * (room // 2) + "0]}")


def memory(tools, folder):
    size = 512 * 1024
    print("## Memory\n\nResident memory of the process as the kernel counts it.\n")
    sluice = Sluice(tools.sluice, folder / "bodies", {"acme": "".join(source(f"source{s}") for s in range(100))})
    base, requests = sluice.memory(), []
    for n in range(2000):
        content = large(n, size)
        requests.append(signed(sluice.sources[n % 100], f"body{n}", content.encode()))
    statuses = asyncio.run(at_once(sluice, requests))
    peak = sluice.memory("VmHWM")
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    stored = sluice.count("events")
    assert stored >= counts.get(200, 0), (stored, counts)
    sluice.drained(60)
    table(["bodies of 512 KiB at once", "base MiB", "peak MiB", "most MiB", "answers", "stored"],
          [[len(requests), f"{base:.0f}", f"**{peak:.0f}**", 512,
            ", ".join(f"{count} × {status}" for status, count in counts.items()), stored]])
    sluice.end()
    bodies = peak < 512

    limits = "[sources.{}.limits]\ninbound = {{ per_second = 100000, burst = 1000000 }}\noutbound = {{ per_second = 10000, concurrency = 64 }}\n"
    tenants = {f"tenant{t}": "".join(source(f"source{s}") for s in range(100)) for t in range(100)}
    tenants["warm"] = "".join(source(f"up{n}", limits.format(f"up{n}")) for n in range(16))
    sluice = Sluice(tools.sluice, folder / "lanes", tenants, "[limits]\ningest_per_second = 1000000\n")
    lanes = [lane for lane in sluice.sources if lane[0] != "warm"]
    event = lambda n: f'{{"event_type":"bench","data":{{"n":{n}}}}}'.encode()
    # Twice the same work in a few lanes first: what any load takes once, such as the page caches of SQLite, is in the base.
    asyncio.run(in_turn(sluice, [signed(("warm", f"up{n % 16}"), f"warm{n}", event(n)) for n in range(2 * len(lanes))]))
    assert sluice.drained(120) is not None
    time.sleep(2)
    base = sluice.memory()
    asyncio.run(in_turn(sluice, [signed(lane, f"lane{n}", event(n)) for n, lane in enumerate(lanes)]))
    assert sluice.drained(120) is not None
    busy = sluice.memory()
    # Put away after a minute, and what is idle is forgotten every half minute.
    time.sleep(tools.idle_seconds)
    idle = sluice.memory()
    done = sluice.count("jobs", "state = 'succeeded'")
    table(["lanes that ran one job", "jobs done", "base MiB", "right after MiB", "idle MiB", "idle over base MiB", "most MiB"],
          [[len(lanes), done, f"{base:.1f}", f"{busy:.1f}", f"{idle:.1f}", f"**{idle - base:.1f}**", 20]])
    sluice.end()
    return bodies and done == 3 * len(lanes) and idle - base <= 20


class Taker(http.server.BaseHTTPRequestHandler):
    """Takes spans and reports, and counts the bytes."""

    protocol_version, taken = "HTTP/1.1", 0

    def do_POST(self):
        Taker.taken += len(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def scraped(sluice):
    """A scrape each second, as Prometheus would."""
    over = threading.Event()

    def scrape():
        while not over.wait(1):
            sluice.metrics()

    scraper = threading.Thread(target=scrape)
    scraper.start()
    yield
    over.set()
    scraper.join()


TELEMETRY_FLOOR = 0.9


def telemetry(tools, folder):
    print("## All telemetry on\n\n"
          "As `whole`, in turns: without traces, Sentry and scrapes; with all three, of every trace (the default) and of every tenth.\n")
    taker = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=taker.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{taker.server_port}"
    (folder / "sentry.dsn").write_text(f"http://key@{host}/1")
    on = (f'[telemetry.traces]\nendpoint = "http://{host}"\nratio = {{}}\n'
          f'[telemetry.sentry]\ndsn = "file:{folder / "sentry.dsn"}"\n')
    modes = {"off": "", "1.0": on.format("1.0"), "0.1": on.format("0.1")}
    tenants = {"acme": source("app", UNLIMITED.format("app"))}
    nodes = {mode: Sluice(tools.sluice, folder / mode, tenants, NODE_UNLIMITED + more) for mode, more in modes.items()}
    arguments = ("--connections", "64", "--seconds", str(tools.seconds))
    for node in nodes.values():
        load(tools.sluice, folder, node, "--connections", "64", "--seconds", "2")
    runs = {mode: [] for mode in modes}
    for turn in range(tools.rounds):
        # Each in another place of each turn: what came before leaves something to do.
        order = list(modes)[turn % 3:] + list(modes)[:turn % 3]
        for mode in order:
            with contextlib.nullcontext() if mode == "off" else scraped(nodes[mode]):
                run = load(tools.sluice, folder, nodes[mode], *arguments)
            assert run["accepted"] == run["answered"], run["statuses"]
            runs[mode].append(run)
            time.sleep(2)
    ratios = {mode: [on["per_second"] / off["per_second"] for on, off in zip(runs[mode], runs["off"])] for mode in modes}
    rows = []
    for mode, of in runs.items():
        sums, _ = nodes[mode].metrics()
        stored = nodes[mode].count("events")
        rows.append([mode, f"{median([run['per_second'] for run in of]):.0f}", f"**{median(ratios[mode]):.3f}**",
                     f"{min(ratios[mode]):.3f} … {max(ratios[mode]):.3f}", f"{median([run['server_us'] for run in of]):.0f}",
                     stored, f"{sums.get('sluice_telemetry_dropped_total', 0):.0f}"])
    table(["traces kept", "acks /s", "share of off", "of all turns", "µs of processor per delivery", "events", "spans dropped"], rows)
    print(f"At least {TELEMETRY_FLOOR} is asked. The receiver took {Taker.taken / 1e6:.0f} MB, on the same processors.\n", flush=True)
    for node in nodes.values():
        node.end()
    taker.shutdown()
    return Taker.taken > 0 and all(median(of) >= TELEMETRY_FLOOR for of in ratios.values())


def sealing(tools, folder):
    print("## Sealed\n\nAs `whole`, in turns: payloads and headers plain, and sealed by a key of the tenant (`[encryption]`).\n")
    key = folder / "wrapping.key"
    key.write_text(secrets.token_hex(32))
    plain = source("app", UNLIMITED.format("app"))
    modes = {"plain": plain, "sealed": f'{plain}\n[encryption]\nkey = "file:{key}"\n'}
    nodes = {mode: Sluice(tools.sluice, folder / mode, {"acme": tenant}, NODE_UNLIMITED) for mode, tenant in modes.items()}
    arguments = ("--connections", "64", "--seconds", str(tools.seconds))
    for node in nodes.values():
        load(tools.sluice, folder, node, "--connections", "64", "--seconds", "2")
    runs = {mode: [] for mode in modes}
    for turn in range(tools.rounds):
        for mode in list(modes)[::-1] if turn % 2 else list(modes):
            run = load(tools.sluice, folder, nodes[mode], *arguments)
            assert run["accepted"] == run["answered"], run["statuses"]
            runs[mode].append(run)
            time.sleep(2)
    sealed = "substr(raw, 1, 4) = X'FF736C01'"
    counts = {mode: nodes[mode].count("payloads", sealed) for mode in modes}
    assert counts["plain"] == 0 and counts["sealed"] == nodes["sealed"].count("events"), counts
    ratios = [sealed["per_second"] / plain["per_second"] for sealed, plain in zip(runs["sealed"], runs["plain"])]
    rows = [[mode, f"{median([run['per_second'] for run in of]):.0f}", f"{median([run['server_us'] for run in of]):.0f}",
             nodes[mode].count("events")] for mode, of in runs.items()]
    table(["payloads", "acks /s", "µs of processor per delivery", "events"], rows)
    print(f"Sealed as a share of plain: **{median(ratios):.3f}** ({min(ratios):.3f} … {max(ratios):.3f}).\n", flush=True)
    for node in nodes.values():
        node.end()


PARTS = {"generator": generator, "whole": whole, "open": open_model, "hang": hang, "memory": memory, "console": console, "telemetry": telemetry, "sealing": sealing}


def main():
    options = argparse.ArgumentParser(prog="scripts/bench")
    for tool in ("sluice", "ceiling", "standins"):
        options.add_argument(f"--{tool}", required=True)
    options.add_argument("--seconds", type=int, default=8, help="of one turn of `whole`, `telemetry` and `sealing`")
    options.add_argument("--rounds", type=int, default=4, help="turns of `whole`, `telemetry` and `sealing`")
    options.add_argument("--open-seconds", type=int, default=60)
    options.add_argument("--hang-seconds", type=int, default=20)
    options.add_argument("--jobs", type=int, default=1_000_000, help="of `console`")
    options.add_argument("--node", help="the folder in which `scripts/test-console` has what drives a browser")
    options.add_argument("--idle-seconds", type=int, default=95)
    run(options, PARTS)


if __name__ == "__main__":
    main()
