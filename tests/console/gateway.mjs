// A gateway of its own in a temporary folder, a callee that misbehaves on command, a sender that signs.
import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as listener } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

/** What a hostile vendor writes wherever it can. */
export const HOSTILE = '"><script>window.hacked=1</script><img src=x onerror="window.hacked=1">{{7*7}}javascript:alert(1)';

/** Asks again and again until there is an answer. */
export async function eventually(what, look, patience = 60_000) {
	const end = Date.now() + patience;
	for (;;) {
		const found = await look();
		if (found) {
			return found;
		}
		if (Date.now() > end) {
			throw new Error(`waited in vain: ${what}`);
		}
		await pause(50);
	}
}

/** Answers with the status it is told; its error page is as hostile as the rest, and so is its model. */
export class Callee {
	static async start() {
		const callee = new Callee();
		callee.status = 200;
		callee.server = createServer((request, answer) => {
			request.resume();
			request.on('end', () => {
				if (request.url.endsWith('/chat/completions')) {
					const content = JSON.stringify({ title: `Order shipped ${HOSTILE}`.slice(0, 120), summary: `The order left the house. ${HOSTILE}`, category: 'customer' });
					answer.writeHead(callee.status, { 'content-type': 'application/json' });
					answer.end(JSON.stringify({ choices: [{ message: { content } }] }));
					return;
				}
				answer.writeHead(callee.status, { 'content-type': 'text/html' });
				answer.end(callee.status === 200 ? '{"ok":true}' : HOSTILE);
			});
		});
		// Node would end connections that rest, just as the gateway uses one.
		callee.server.keepAliveTimeout = 0;
		await new Promise((ready) => callee.server.listen(0, '127.0.0.1', ready));
		callee.origin = `http://127.0.0.1:${callee.server.address().port}`;
		callee.url = `${callee.origin}/sink`;
		return callee;
	}

	stop() {
		this.server.closeAllConnections();
		this.server.close();
	}
}

/** A port that was free a moment ago, for who must know it before it listens. */
export async function freePort() {
	const server = listener();
	await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
	const { port } = server.address();
	await new Promise((closed) => server.close(closed));
	return port;
}

/** The OpenID provider of tests/tools/oidc; its client comes back to `origin`. */
export class Provider {
	static async start(script, modules, origin, accounts) {
		const provider = new Provider();
		provider.child = spawn('node', [script, modules, '0', `${origin}/api/v1/session/provider/callback`], { stdio: ['pipe', 'pipe', 'ignore'] });
		const lines = createInterface({ input: provider.child.stdout })[Symbol.asyncIterator]();
		const said = async (begin) => {
			for (;;) {
				const { value, done } = await lines.next();
				if (done) {
					throw new Error('the provider ended: is oidc-provider installed?');
				}
				if (value.startsWith(begin)) {
					return value.slice(begin.length).trim();
				}
			}
		};
		provider.issuer = await said('LISTEN');
		provider.child.stdin.write(`${JSON.stringify(accounts)}\n`);
		await said('ACCOUNTS');
		return provider;
	}

	/** What `[admin]` says of it. */
	get config() {
		return `
[admin.oidc]
label = "Example Login"
issuer = "${this.issuer}"
client_id = "sluice"
client_secret = "file:oidc"
[[admin.oidc.roles]]
value = "acme-ops"
role = "operator"
tenants = ["acme"]
`;
	}

	stop() {
		this.child.kill();
	}
}

const SECRET = 'a-secret-of-the-console-tests-32b';

export class Gateway {
	/** `admin`: what stands in `[admin]` and below it. */
	static async start(binary, callee, admin = 'listen = "127.0.0.1:0"') {
		const gateway = new Gateway();
		gateway.binary = binary;
		const folder = mkdtempSync(join(tmpdir(), 'sluice-console-'));
		gateway.folder = folder;
		mkdirSync(join(folder, 'tenants'));
		writeFileSync(join(folder, 'secret'), SECRET, { mode: 0o600 });
		writeFileSync(join(folder, 'other'), `${SECRET}-other`, { mode: 0o600 });
		writeFileSync(join(folder, 'oidc'), 'canaryhunter-secret-of-the-client', { mode: 0o600 });
		writeFileSync(join(folder, 'schema.json'), '{"properties":{"answer":{"type":"string"}}}');
		writeFileSync(join(folder, 'sluice.toml'), `
[edge]
public_url = "https://hooks.example.com"
listen = "127.0.0.1:0"
[admin]
${admin}
[outbound]
allow_private = ["127.0.0.0/8"]
`);
		const source = (name, secret) => `
[sources.${name}]
vendor = "generic"
secrets = ["file:${secret}"]
schemas = [{ types = "assistant.*", file = "schema.json" }]
[[sources.${name}.routes]]
name = "crm"
event_types = ["assistant.*"]
action = "http_call"
url = "${callee.url}"
`;
		const notes = `
[llm]
base_url = "${callee.origin}/v1"
model = "small-model"
[sources.notes]
vendor = "generic"
secrets = ["file:notes", "file:notes-old"]
[[sources.notes.routes]]
name = "summary"
action = "summarize_and_publish"
prompt = "Say what happened, for the editors."
`;
		writeFileSync(join(folder, 'notes'), `${SECRET}-notes`, { mode: 0o600 });
		writeFileSync(join(folder, 'notes-old'), `${SECRET}-notes-old`, { mode: 0o600 });
		writeFileSync(join(folder, 'tenants/acme.toml'), source('chat', 'secret') + notes);
		writeFileSync(join(folder, 'tenants/bravo.toml'), source('leads', 'other'));
		gateway.child = spawn(binary, ['serve'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
		gateway.log = '';
		for (const pipe of [gateway.child.stdout, gateway.child.stderr]) {
			pipe.on('data', (text) => { gateway.log += text; });
		}
		gateway.runtime = await eventually('the gateway starts', () => {
			if (gateway.child.exitCode !== null) {
				throw new Error(`the gateway ended: ${gateway.log}`);
			}
			const path = join(folder, 'runtime.json');
			return existsSync(path) && JSON.parse(readFileSync(path, 'utf8'));
		});
		return gateway;
	}

	/** Runs a command of the binary; returns its JSON. */
	command(...words) {
		return JSON.parse(execFileSync(this.binary, [...words, '--json'], { cwd: this.folder, encoding: 'utf8' }));
	}

	async get(path) {
		const answer = await fetch(`${this.runtime.admin}/api/v1/${path}`, { headers: { authorization: `Bearer ${this.runtime.token}` } });
		return answer.json();
	}

	/** Sends a signed delivery; returns the gateway's answer. */
	async send(id, event, { source = 'acme/chat', secret = SECRET, headers = {} } = {}) {
		const body = JSON.stringify(event);
		const timestamp = String(Math.floor(Date.now() / 1000));
		const signature = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
		const deliver = () => fetch(`${this.runtime.public}/webhooks/${source}`, {
			method: 'POST',
			headers: { 'content-type': 'application/json', 'x-signature': signature, 'x-timestamp': timestamp, 'x-event-id': id, ...headers },
			body,
		});
		// As a vendor does: again while the gateway has no time for it.
		const answer = await eventually(`${id} is answered`, async () => {
			const tried = await deliver();
			return tried.status < 500 && tried;
		});
		return answer.json();
	}

	/** Runs a command of the binary in its folder. */
	run(words, input) {
		return execFileSync(this.binary, words, { cwd: this.folder, encoding: 'utf8', input });
	}

	/** The minutes of an hour with work in it, as nodes keep them. */
	pastHour() {
		const script = `
import math, sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], timeout=30)
minute = int(time.time()) // 60 * 60000
for ago in range(1, 60):
    if 31 <= ago <= 33:
        continue
    wave = 1 + math.sin(ago / 7)
    events, bad = int(900 + 500 * wave), 240 if 18 < ago < 24 else 6
    within = [int(events * share) for share in (0.05, 0.4 + 0.1 * wave, 0.85, 0.97, 0.99, 1, 1, 1, 1)]
    waiting = 4000 - 150 * ago if 2 < ago < 24 else 40
    numbers = [events, bad, int(events * 0.9), 90 if 18 < ago < 24 else 2, 3 if 18 < ago < 24 else 0, waiting, events, *within]
    for tenant, source in (("", ""), ("acme", "chat")):
        store.execute("INSERT INTO traffic VALUES (" + ", ".join("?" * 20) + ")", [tenant, source, minute - ago * 60000, "life", *numbers])
store.commit()
`;
		execFileSync('python3', ['-c', script, join(this.folder, 'sluice.db')]);
	}

	/** Waits until the job of an event is in this state. */
	job(event, state) {
		return eventually(`the job of ${event} is ${state}`, async () => {
			const detail = await this.get(`events/${event}`);
			return detail.jobs?.find((job) => job.state === state);
		});
	}

	async stop() {
		if (this.child.exitCode === null) {
			this.child.kill('SIGTERM');
			const killer = setTimeout(() => this.child.kill('SIGKILL'), 60_000);
			await new Promise((ended) => this.child.on('exit', ended));
			clearTimeout(killer);
		}
		rmSync(this.folder, { recursive: true, force: true });
	}
}
