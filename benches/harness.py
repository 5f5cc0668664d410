"""What the load programs share: the real binary with a store of its own, loads, processor time, tables.

Processor time per delivery (user and system time of the process over the deliveries it answered)
stays the same while others use the machine; rates do not.
"""

import contextlib, json, os, pathlib, pwd, re, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, time, urllib.request

SECRET = "bench-secret-of-32-characters!!!"  # of the tenant `acme`; no two tenants may share one
TICK = os.sysconf("SC_CLK_TCK")


def table(header, rows):
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def body(size):
    """An order as JSON of `size` bytes once `{{id}}` is 36 characters long: fields and items as shops send them."""
    items = []

    def text(note):
        data = {"id": "{{id}}", "currency": "EUR", "total": "49.00", "paid": True, "items": items, "note": note}
        event = {"event_type": "order.paid", "subject_id": "order_{{id}}", "data": data}
        return json.dumps(event, separators=(",", ":"))

    ids = 2 * (36 - len("{{id}}"))
    item = {"sku": "NOTE-0001", "title": "Field notebook", "quantity": 2, "price": "12.25"}
    while len(text("")) + ids + len(json.dumps(item, separators=(",", ":"))) + 1 < size:
        items.append({**item, "sku": f"NOTE-{len(items):04}"})
    return text("x" * (size - len(text("")) - ids))


def secret(tenant):
    return SECRET if tenant == "acme" else f"{SECRET}-{tenant}"


class Process:
    """A process with its processor time and memory."""

    def __init__(self, arguments, log, **options):
        self.log = open(log, "ab")
        self.child = subprocess.Popen(arguments, stdout=options.pop("stdout", self.log), stderr=self.log, **options)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, field="VmRSS"):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024

    def end(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


class Ceiling(Process):
    def __init__(self, binary, folder):
        arguments = [binary, "--listen", "127.0.0.1:0", "--secret", SECRET, "--seconds", "3600"]
        super().__init__(arguments, folder / "ceiling.log", stdout=subprocess.PIPE)
        self.urls = [self.child.stdout.readline().decode().strip()]


class Sqlite:
    """A store in a file beside the configuration."""

    url, name = None, "SQLite"
    # Without statistics its planner would not always take them.
    due, running = "jobs INDEXED BY jobs_due", "jobs INDEXED BY jobs_running"

    def at(self, folder):
        self.path = folder / "sluice.db"

    def ask(self, sql):
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as store:
            return store.execute(sql).fetchall()

    def run(self, sql):
        with contextlib.closing(sqlite3.connect(self.path)) as store:
            store.executescript(sql)

    def cpu(self):
        """Of processes beside the gateway's, in s: there are none."""
        return 0.0


class Cluster:
    """A Postgres server of this run alone: a free port, a socket and a folder of its own, `fsync` on."""

    # What docs/performance.md says of the server; else its defaults.
    SETTINGS = ["listen_addresses=", "shared_buffers=512MB", "max_wal_size=8GB", "max_connections=100", "log_min_messages=warning"]

    def __init__(self, folder):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
        if not found:
            sys.exit("this needs Postgres: apt-get install postgresql postgresql-contrib")
        self.programs, self.folder, self.made = found[-1].parent, folder, 0
        self.user = "nobody" if os.geteuid() == 0 else None
        folder.mkdir(mode=0o755)
        self.reach = pathlib.Path(tempfile.mkdtemp(prefix="sluice-pg-"))  # a socket's path is short
        for place in (folder, self.reach):
            if self.user:
                shutil.chown(place, self.user)
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        options = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []} if self.user else {}
        data = folder / "data"
        command = [self.programs / "initdb", "-D", data, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **options)
        command = [self.programs / "postgres", "-D", data, "-k", self.reach, "-p", str(self.port)]
        command += [part for setting in self.SETTINGS for part in ("-c", setting)]
        self.log = open(folder.parent / f"{folder.name}.log", "ab")
        self.child = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd="/", **options)
        for _ in range(300):
            if self.psql("postgres", "SELECT 1", check=False).returncode == 0:
                return
            time.sleep(0.1)
        self.end()
        sys.exit("Postgres did not start within half a minute")

    def psql(self, database, sql, check=True, settings=""):
        command = [self.programs / "psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", self.reach, "-p", str(self.port),
                   "-U", "postgres", "-d", database, "-c", sql]
        return subprocess.run(command, check=check, capture_output=True, text=True, env={**os.environ, "PGOPTIONS": settings})

    def database(self):
        """A new database."""
        self.made += 1
        self.psql("postgres", f"CREATE DATABASE bench{self.made} TEMPLATE template0")
        return Database(self, f"bench{self.made}")

    def cpu(self):
        """Of all its processes, those that ended too, in s."""
        total = 0
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rsplit(")", 1)[1].split()
                if int(stat.parts[2]) == self.child.pid:
                    total += sum(map(int, fields[11:15]))
                elif int(fields[1]) == self.child.pid:
                    total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory(self):
        """Of all its processes, shared pages once by their share (PSS), in MiB."""
        total = 0
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rsplit(")", 1)[1].split()
                if self.child.pid in (int(stat.parts[2]), int(fields[1])):
                    rollup = (stat.parent / "smaps_rollup").read_text()
                    total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])
        return total / 1024

    def end(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(60)
        self.log.close()
        shutil.rmtree(self.reach)


class Database:
    """A database of a [`Cluster`] as a store."""

    name, due, running = "Postgres", "jobs", "jobs"

    def __init__(self, cluster, database):
        self.cluster, self.database = cluster, database
        self.url = f"postgres:///{database}?host={cluster.reach}&port={cluster.port}&user=postgres"

    def at(self, folder):
        pass

    def ask(self, sql):
        lines = self.cluster.psql(self.database, sql).stdout.splitlines()
        number = lambda text: int(text) if re.fullmatch(r"-?\d+", text) else text or None
        return [tuple(number(cell) for cell in line.split("\t")) for line in lines]

    def run(self, sql):
        self.cluster.psql(self.database, sql)

    def cpu(self):
        return self.cluster.cpu()


class Sluice(Process):
    """`sluice serve` with a configuration of its own and a database on disk."""

    def __init__(self, binary, folder, tenants, main="", store=None):
        self.binary, self.folder, self.store = binary, folder, store or Sqlite()
        self.store.at(folder)
        if self.store.url:
            main += f'[database]\nurl = "{self.store.url}"\n'
        (folder / "tenants").mkdir(parents=True)
        listen = '[edge]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n[outbound]\nallow_private = ["127.0.0.0/8"]\n'
        (folder / "sluice.toml").write_text(listen + main)
        (folder / "llm.key").write_text("bench-llm-key")
        self.sources = []
        for tenant, text in tenants.items():
            (folder / "tenants" / f"{tenant}.toml").write_text(text.replace("file:key", f"file:{tenant}.key"))
            (folder / f"{tenant}.key").write_text(secret(tenant))
            self.sources += [(tenant, source) for source in re.findall(r"^\[sources\.([^.\]]+)\]", text, re.M)]
        self.begin()

    def begin(self):
        """Starts it, or starts it again after its end."""
        folder = self.folder
        (folder / "runtime.json").unlink(missing_ok=True)
        super().__init__([self.binary, "serve", "--config", str(folder / "sluice.toml")], folder / "serve.log")
        for _ in range(600):
            with contextlib.suppress(OSError, ValueError):
                self.runtime = json.loads((folder / "runtime.json").read_text())
                break
            if self.child.poll() is not None:
                sys.exit((folder / "serve.log").read_text()[-2000:])
            time.sleep(0.1)
        else:
            sys.exit("sluice serve did not begin within a minute")
        self.urls = [f"{self.runtime['public']}/webhooks/{tenant}/{source}" for tenant, source in self.sources]

    def get(self, url):
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def keys(self):
        return self.get(self.runtime["public"] + "/.well-known/jwks.json")

    def metrics(self):
        """Sums of all series by name, and the buckets of the acknowledgement histogram."""
        sums, buckets = {}, {}
        for line in self.get(self.runtime["admin"] + "/metrics").splitlines():
            if line.startswith("#"):
                continue
            name, value = line.rsplit(" ", 1)
            le = re.search(r'le="([^"]+)"', name)
            name = name.split("{")[0]
            if name == "sluice_webhook_ack_duration_seconds_bucket":
                le = float(le[1].replace("+Inf", "inf"))
                buckets[le] = buckets.get(le, 0) + float(value)
            sums[name] = sums.get(name, 0) + float(value)
        return sums, buckets

    def count(self, table, where="true"):
        return self.store.ask(f"SELECT count(*) FROM {table} WHERE {where}")[0][0]

    def backlog(self):
        """Jobs that are not over, and the seconds since the oldest of them was due."""
        rows = self.store.ask(f"SELECT count(*), min(next_run_at) FROM {self.store.due} WHERE state IN ('pending', 'failed')")
        running = self.count(self.store.running, "state = 'running'")
        oldest = max(0.0, time.time() - rows[0][1] / 1000) if rows[0][1] else 0.0
        return rows[0][0] + running, oldest

    def drained(self, within):
        """Seconds until no job is left; None: there still is one."""
        began = time.monotonic()
        while time.monotonic() - began < within:
            if self.backlog()[0] == 0:
                return time.monotonic() - began
            time.sleep(0.25)
        return None


class Sender(Process):
    """`sluice send generic`."""

    def __init__(self, binary, folder, urls, *arguments, size=1024, tenant="acme"):
        path = folder / f"body-{size}.json"
        if not path.exists():  # another sender may be reading it
            path.write_text(body(size))
        urls = [part for url in urls for part in ("--url", url)]
        command = [binary, "send", "generic", "--json", "--body", str(path), *arguments, *urls]
        environment = {**os.environ, "SLUICE_SEND_SECRET": secret(tenant)}
        super().__init__(command, folder / "send.log", stdout=subprocess.PIPE, env=environment)

    def report(self):
        text = self.child.stdout.read()
        _, _, usage = os.wait4(self.child.pid, 0)
        self.child.returncode = 0
        self.log.close()
        return {**json.loads(text), "cpu": usage.ru_utime + usage.ru_stime}


def load(binary, folder, server, *arguments, urls=None, senders=1, tenant="acme"):
    """Runs the load; adds the processor time of the server and of the senders per delivery, in µs."""
    store = getattr(server, "store", None)
    before, began, beside = server.cpu(), time.monotonic(), store.cpu() if store else 0.0
    running = [Sender(binary, folder, urls or server.urls, *arguments, tenant=tenant) for _ in range(senders)]
    reports = [sender.report() for sender in running]
    took = time.monotonic() - began
    total = {key: sum(report[key] for report in reports) for key in ("offered", "answered", "accepted", "per_second")}
    answered = max(total["answered"], 1)
    total["server_us"] = (server.cpu() - before) / answered * 1e6
    total["store_us"] = ((store.cpu() if store else 0.0) - beside) / answered * 1e6
    total["sender_us"] = sum(report["cpu"] for report in reports) / answered * 1e6
    total["latency_ms"], total["statuses"], total["seconds"] = reports[0]["latency_ms"], reports[0]["statuses"], took
    return total


def source(name, limits="", action='action = "log"'):
    head = f'[sources.{name}]\nvendor = "generic"\nsecrets = ["file:key"]\n'
    return f'{head}{limits}[[sources.{name}.routes]]\nname = "work"\n{action}\n'


UNLIMITED = "[sources.{}.limits]\ninbound = {{ per_second = 100000, burst = 1000000 }}\npending = 100000000\n"
NODE_UNLIMITED = "[limits]\ningest_per_second = 1000000\n"


def quantile(buckets, q):
    """The upper bound of the bucket that holds the quantile, in ms."""
    total = max(buckets.values(), default=0)
    if not total:
        return "–"
    bound = next(le for le in sorted(buckets) if buckets[le] >= q * total)
    return f"≤ {bound * 1000:g}"


def exited(process):
    """Whether it ended; its usage is still to be read."""
    return os.waitid(os.P_PID, process.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run(options, parts):
    """Runs the parts that are asked for, each in a folder of its own; status 1 names those that are not as asked."""
    options.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; none: all")
    tools = options.parse_args()
    unknown = set(tools.parts) - set(parts)
    if unknown:
        options.error(f"no such part: {', '.join(sorted(unknown))}")
    missed = []
    for name in tools.parts or parts:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="sluice-load-", dir=os.environ.get("SLUICE_BENCH_DIR")) as folder:
            if parts[name](tools, pathlib.Path(folder)) is False:
                missed.append(name)
    sys.exit(f"not as asked: {', '.join(missed)}" if missed else 0)
