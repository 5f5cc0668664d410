"""What people and scrapers wait for: the page of lanes and `/metrics`, with 10 000 lanes and a million jobs."""

import json, subprocess, time, urllib.request

from harness import Sluice, load, source, table

TENANTS, SOURCES = 100, 100
AIM = 200  # ms
# Spread over all lanes, by the one event there is. Its callee refuses every call: all of them are due, and all are held.
COPIES = """
PRAGMA synchronous = OFF;
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {count})
INSERT INTO events (seq, id, tenant, source, vendor, external_id, payload_hash, stored_hash, dedupe_key, replay_key, event_type, subject_id, occurred_at,
    received_at, signature_ok, secret_version, api_version, revises, status, trace_id, keys_expire)
SELECT
    first.seq + n, randomblob(16), 'tenant' || (n % {tenants}), 'source' || (n / {tenants} % {sources}), vendor, external_id || '-' || n, payload_hash,
    stored_hash, randomblob(16), randomblob(16), event_type, subject_id, occurred_at, received_at, signature_ok, secret_version, api_version, revises,
    status, trace_id, keys_expire
FROM n CROSS JOIN (SELECT * FROM events LIMIT 1) AS first;
INSERT INTO forms (event_seq, event_id, schema_version, form)
SELECT e.seq, e.id, f.schema_version, f.form FROM events AS e CROSS JOIN (SELECT * FROM forms LIMIT 1) AS f WHERE e.id <> f.event_id;
INSERT INTO jobs (id, event_id, tenant, source, route, type, state, class, next_run_at, created_at, updated_at)
SELECT randomblob(16), e.id, e.tenant, e.source, j.route, j.type, 'pending', 0, j.created_at, j.created_at, j.created_at
FROM events AS e CROSS JOIN (SELECT * FROM jobs LIMIT 1) AS j WHERE e.id <> j.event_id;
"""


def asked(sluice, path):
    """The milliseconds until the last byte, and the answer."""
    request = urllib.request.Request(sluice.runtime["admin"] + path, headers={"authorization": f"Bearer {sluice.runtime['token']}"})
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return (time.monotonic() - began) * 1000, text


def settled(sluice):
    """Waits until all lanes are awake, or no more of them wake; how many are."""
    before = -1
    for _ in range(60):
        awake = len(json.loads(asked(sluice, "/api/v1/snapshot")[1])["lanes"])
        if awake == before:
            return awake
        before = awake
        time.sleep(2)
    return before


def times(sluice, path, count, pause):
    """So many requests with pauses between: median and longest, in ms, and the bytes of the last."""
    found = []
    for _ in range(count):
        time.sleep(pause)
        took, text = asked(sluice, path)
        found.append(took)
    found.sort()
    return found[len(found) // 2], found[-1], len(text)


def console(tools, folder):
    lanes = TENANTS * SOURCES
    print(f"## The page of lanes and `/metrics`\n\n{lanes} lanes with {tools.jobs} jobs that are due, on SQLite; whom they call refuses every call, so that "
          f"every lane is awake and held. At most {AIM} ms are aimed at.\n")
    action = 'action = "http_call"\nurl = "http://127.0.0.1:9/"'
    tenants = {f"tenant{t}": "".join(source(f"source{s}", "", action) for s in range(SOURCES)) for t in range(TENANTS)}
    sluice = Sluice(tools.sluice, folder / "console", tenants)
    load(tools.sluice, folder, sluice, "--connections", "1", "--rate", "1", "--seconds", "1", urls=sluice.urls[:1], tenant="tenant0")
    sluice.end()
    sluice.store.run(COPIES.format(count=tools.jobs, tenants=TENANTS, sources=SOURCES))
    main, rows, worst = (sluice.folder / "sluice.toml").read_text(), [], 0
    for folding, fold in (("on", 1000), ("off", 2 * lanes)):
        (sluice.folder / "sluice.toml").write_text(main + f"[limits]\nmetric_lanes = {fold}\n")
        sluice.begin()
        awake = settled(sluice)
        for what, path, count, pause in (
            ("lanes, the worst fifty", "/api/v1/lanes", 20, 0.1),
            ("lanes, the last fifty", f"/api/v1/lanes?cursor={lanes - 50}", 10, 0.1),
            ("lanes of a tenant", "/api/v1/lanes?tenant=tenant42", 10, 0.1),
            ("sources", "/api/v1/sources", 10, 0.1),
            ("traffic of six hours", "/api/v1/traffic?minutes=360", 10, 0.1),
            ("`/metrics`, each anew", "/metrics", 20, 0.3),
            ("`/metrics`, the store too", "/metrics", 3, 5.2),
        ):
            middle, most, size = times(sluice, path, count, pause)
            rows.append([folding, awake, what, f"{middle:.0f}", f"{most:.0f}", f"{size / 1024:.0f}"])
            worst = max(worst, middle)
        if tools.node:
            subprocess.run([tools.sluice, "user", "add", f"bench-{folding}", "--role", "viewer", "--password-stdin"], cwd=sluice.folder, check=True,
                           input=b"correct horse battery staple", stdout=subprocess.DEVNULL)
            shown = subprocess.run(["node", "render.mjs", sluice.runtime["admin"], f"bench-{folding}"], cwd=tools.node, check=True, capture_output=True, timeout=120)
            for what, found in json.loads(shown.stdout).items():
                rows.append([folding, awake, f"console: {what}", f"{found['median']:.0f}", f"{found['most']:.0f}", "–"])
                worst = max(worst, found["median"])
        sluice.end()
    table(["folding", "lanes awake", "what", "median ms", "most ms", "KiB"], rows)
    if not tools.node:
        print("The console was not drawn: `scripts/test-console` gets what a browser is driven with.\n")
    return worst <= AIM
