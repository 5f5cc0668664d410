// What operators do in the console, in a browser, against a real gateway.
// console.mjs BINARY PROVIDER MODULES: the gateway's, and what tests/tools/oidc needs.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';
import { Callee, Gateway, HOSTILE, Provider, eventually, freePort } from './gateway.mjs';

const PASSWORD = 'correct horse battery staple';
const completed = (subject, answer = 'The order was shipped.') => ({
	event_type: 'assistant.completed',
	subject_id: subject,
	occurred_at: new Date(Date.now() - 90_000).toISOString(),
	data: { answer },
});

function holds(condition, what) {
	if (!condition) {
		throw new Error(what);
	}
}

const callee = await Callee.start();
const gateway = await Gateway.start(process.argv[2], callee);
const profile = mkdtempSync(join(tmpdir(), 'sluice-chromium-'));
const chromium = await puppeteer.launch({
	executablePath: '/usr/bin/chromium',
	pipe: true,
	timeout: 120_000,
	userDataDir: profile,
	args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
		// Nothing of the world outside: a page that asks for it is told there is none.
		'--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
});

const downloads = join(profile, 'downloads');
mkdirSync(downloads);

/** A page of its own browser at a gateway's console; it remembers what went wrong on it. Pages of `elsewhere` may do as they like. */
async function visitor(origin = gateway.runtime.admin, elsewhere = null) {
	const context = await chromium.createBrowserContext({ downloadBehavior: { policy: 'allow', downloadPath: downloads } });
	const page = await context.newPage();
	page.setDefaultTimeout(60_000);
	page.troubles = [];
	page.on('pageerror', (error) => page.troubles.push(`script: ${error.message}`));
	page.on('dialog', (dialog) => {
		page.troubles.push(`dialog: ${dialog.message()}`);
		dialog.dismiss().catch(() => {});
	});
	page.on('console', (message) => {
		if (message.type() === 'error' && page.url().startsWith(origin) && !message.text().startsWith('Failed to load resource')) {
			page.troubles.push(`console: ${message.text()}`);
		}
	});
	page.on('request', (request) => {
		const asks = request.isNavigationRequest() ? request.url() : page.url();
		const url = request.url().replace(/^blob:/, '');
		if (!url.startsWith(origin) && !(elsewhere && asks.startsWith(elsewhere))) {
			page.troubles.push(`asks another host: ${request.url()}`);
		}
	});
	// Every breach of the policy is one too many.
	await page.evaluateOnNewDocument(() => {
		window.breaches = [];
		document.addEventListener('securitypolicyviolation', (event) => window.breaches.push(`${event.violatedDirective}: ${event.blockedURI}`));
	});
	await page.setViewport({ width: 1360, height: 640 });
	await page.goto(origin);
	await page.waitForSelector('#password');
	return page;
}

async function signIn(page, name, password = PASSWORD) {
	await page.type('#name', name);
	await page.type('#password', password);
	await page.keyboard.press('Enter');
}

async function as(name) {
	const page = await visitor();
	await signIn(page, name);
	await page.waitForSelector('nav a');
	return page;
}

/** Goes to a page of the console and waits until it is there. */
async function go(page, place, title) {
	await page.evaluate((hash) => { location.hash = hash; }, `#/${place}`);
	await page.waitForFunction((text) => document.querySelector('main h1')?.textContent === text && !document.querySelector('[aria-busy="true"]'), {}, title);
}

const text = (page, selector = 'main') => page.$eval(selector, (element) => element.innerText);
const shows = (page, wanted, selector = 'main') =>
	page.waitForFunction((selector, wanted) => document.querySelector(selector)?.innerText.includes(wanted), {}, selector, wanted);
const click = async (page, label, selector = 'main') => {
	await page.waitForFunction(
		(selector, label) => {
			const found = [...document.querySelectorAll(`${selector} button, ${selector} a`)].find((one) => (one.getAttribute('aria-label') ?? one.textContent) === label);
			// At once: a page that looks again by itself may put another in its place.
			const may = found && !found.disabled;
			if (may) {
				found.click();
			}
			return may;
		},
		{},
		selector,
		label,
	);
};
const answerDialog = async (page, reason, verb) => {
	await page.waitForSelector('dialog[open] #reason');
	await page.type('dialog[open] #reason', reason);
	await click(page, verb, 'dialog[open]');
	await page.waitForFunction(() => !document.querySelector('dialog'));
};

async function picture(page, name) {
	const folder = process.env.SLUICE_SCREENSHOTS;
	if (!folder) {
		return;
	}
	await page.evaluate(() => document.getElementById('said').replaceChildren());
	await page.screenshot({ path: join(folder, `console-${name}.png`), fullPage: true });
}

async function clean(page) {
	const breaches = await page.evaluate(() => window.breaches);
	const hacked = await page.evaluate(() => window.hacked);
	holds(breaches.length === 0, `the policy was breached: ${breaches}`);
	holds(hacked === undefined, 'a script of a payload ran');
	holds(page.troubles.length === 0, page.troubles.join('\n'));
}

/** Fills a form in: values by the ids of its fields. */
async function fill(page, values) {
	for (const [id, value] of Object.entries(values)) {
		const kind = await page.$eval(`#${id}`, (element) => element.tagName);
		if (kind === 'SELECT') {
			await page.select(`#${id}`, value);
		} else {
			await page.$eval(`#${id}`, (element) => { element.value = ''; });
			await page.type(`#${id}`, value);
		}
	}
}

const NOTES = { source: 'acme/notes', secret: 'a-secret-of-the-console-tests-32b-notes' };

const tests = {
	async 'who does not know the password stays out, and is told so'() {
		const page = await visitor();
		await picture(page, 'sign-in');
		await signIn(page, 'ada', 'a wrong password');
		await shows(page, 'name or password is wrong', '#said');
		await page.goto(`${gateway.runtime.admin}/#/events`);
		await page.waitForSelector('#password');
		holds(!(await text(page, 'body')).includes('Lanes'), 'a stranger sees no page');
		await clean(page);
	},

	async 'an event is found and followed from its delivery to its job'() {
		const { event_id: id } = await gateway.send('e-1', completed('order-1'));
		await gateway.job(id, 'succeeded');
		const page = await as('ada');
		await go(page, 'events?external_id=e-1', 'Events');
		await shows(page, 'order-1');
		await picture(page, 'events');
		await click(page, 'assistant.completed');
		await shows(page, 'Timeline');
		const steps = await page.$$eval('.steps li', (items) => items.map((item) => item.innerText));
		for (const step of ['received and stored', 'crm: job made', 'crm: attempt 1', 'crm: done']) {
			holds(steps.some((found) => found.includes(step)), `no step "${step}" in ${steps}`);
		}
		holds(steps.some((found) => /attempt 1, (waited .*, )?took/.test(found)), `how long it took: ${steps}`);
		holds((await page.$$('svg.trace rect')).length >= steps.length - 1, 'the trace is a picture too');
		await page.click('summary');
		await shows(page, 'The order was shipped.');
		await picture(page, 'event');
		await click(page, 'http_call');
		await shows(page, 'Attempts');
		await picture(page, 'job');
		await clean(page);
	},

	async 'a lane is paused with a reason and resumed'() {
		const page = await as('ada');
		await go(page, 'lanes', 'Lanes');
		await click(page, 'Pause acme/chat');
		await answerDialog(page, 'the CRM is being moved', 'Pause');
		await shows(page, 'paused', 'tbody tr');
		await click(page, 'Resume acme/chat');
		await answerDialog(page, '', 'Resume');
		await page.waitForFunction(() => !document.querySelector('.state.paused'));
		const lines = (await gateway.get('audit?actor=user:ada')).items;
		const pause = lines.find((line) => line.action === 'lane.pause');
		holds(pause.object === 'acme/chat' && pause.reason === 'the CRM is being moved', JSON.stringify(lines));
		await clean(page);
	},

	async 'dead letters are counted by a dry run and come back by a replay'() {
		callee.status = 422;
		const dead = [];
		for (const n of [1, 2, 3]) {
			const { event_id: id } = await gateway.send(`dead-${n}`, completed(`dead-${n}`));
			await gateway.job(id, 'deadletter');
			dead.push(id);
		}
		callee.status = 200;
		const page = await as('ada');
		await go(page, 'dead?reason=rejected', 'Dead letters');
		holds((await page.$$('tbody tr')).length === 3, 'three dead letters are shown');
		// By the keyboard alone.
		await page.evaluate(() => [...document.querySelectorAll('main button')].find((button) => button.textContent === 'Dry run').focus());
		await page.keyboard.press('Enter');
		await shows(page, '3 dead letters would be replayed.', '#matched');
		await picture(page, 'dead-letters');
		holds((await gateway.get('jobs?state=deadletter')).items.length === 3, 'a dry run changes nothing');
		await page.keyboard.press('Tab');
		await page.keyboard.press('Enter');
		await page.waitForSelector('dialog[open] #reason');
		holds(await page.evaluate(() => document.activeElement.id === 'reason'), 'the dialog asks for the reason');
		await page.keyboard.type('the CRM is back');
		await page.keyboard.press('Enter');
		await page.waitForFunction(() => !document.querySelector('dialog'));
		for (const id of dead) {
			await gateway.job(id, 'succeeded');
		}
		const replayed = (await gateway.get('audit?action=dead.replay')).items;
		holds(replayed.length === 3 && replayed.every((line) => line.reason === 'the CRM is back'), JSON.stringify(replayed));
		await clean(page);
	},

	async 'a page shows what happens without being asked'() {
		const page = await as('ada');
		await shows(page, 'live', '.account');
		await go(page, 'events', 'Events');
		await gateway.send('live-1', completed('told-by-itself'));
		await shows(page, 'told-by-itself');
		await clean(page);
	},

	async 'a viewer sees what is theirs, no payload, and is offered nothing that is refused'() {
		await gateway.send('b-1', completed('of-bravo'), { source: 'bravo/leads', secret: 'a-secret-of-the-console-tests-32b-other' });
		const page = await as('vic');
		await go(page, 'lanes', 'Lanes');
		holds(!(await text(page)).includes('bravo'), 'no lane of another tenant');
		holds((await page.$$('main tbody button')).length === 0, 'no button acts');
		const pages = await text(page, 'nav');
		holds(['Users', 'Tokens', 'Audit', 'Subjects'].every((title) => !pages.includes(title)), `no page that is refused: ${pages}`);
		for (const place of ['users', 'tokens', 'audit', 'add', 'subjects']) {
			await go(page, place, 'There is no such page');
		}
		await go(page, 'sources', 'Sources');
		holds(!(await text(page)).includes('Add a source'), 'no source to add');
		await go(page, 'source/bravo/leads', 'This cannot be shown');
		await go(page, 'events', 'Events');
		holds(!(await text(page)).includes('of-bravo'), 'no event of another tenant');
		await click(page, 'assistant.completed');
		await page.waitForSelector('summary');
		await page.click('summary');
		await shows(page, 'Your role sees no payloads.');
		const refused = await page.evaluate(async () => {
			const who = await (await fetch('/api/v1/session')).json();
			const answer = await fetch('/api/v1/lanes/acme/chat/pause', { method: 'POST', headers: { 'x-sluice-csrf': who.csrf } });
			return answer.status;
		});
		holds(refused === 403, `a viewer's pause: ${refused}`);
		await clean(page);
	},

	async 'what a hostile vendor and a hostile callee write is only text'() {
		callee.status = 422;
		const hostile = { ...completed(HOSTILE, HOSTILE), event_type: 'assistant.<b>x' };
		const { event_id: id } = await gateway.send('h-1', hostile, { headers: { 'x-request-id': HOSTILE, 'user-agent': HOSTILE } });
		await gateway.job(id, 'deadletter');
		await gateway.send('h-2', completed(HOSTILE, 42));
		await gateway.send('h-3', hostile, { secret: 'a-guessed-secret', headers: { 'user-agent': HOSTILE } });
		await eventually('the refusal is kept', async () => (await gateway.get('refusals')).length > 0);
		callee.status = 200;
		const page = await as('ada');
		await go(page, `event/${id}`, 'assistant.<b>x');
		await page.click('summary');
		await shows(page, '<script>window.hacked=1</script>');
		const job = (await gateway.get(`events/${id}`)).jobs[0].id;
		await go(page, `job/${job}`, 'http_call for assistant.<b>x');
		for (const [place, title] of [['events', 'Events'], ['jobs', 'Jobs'], ['dead', 'Dead letters'], ['quarantine', 'Quarantine'], ['refusals', 'Refused deliveries'], ['sources', 'Sources'], ['audit', 'Audit']]) {
			await go(page, place, title);
			if (place !== 'dead' && place !== 'events') {
				await picture(page, place);
			}
		}
		await go(page, 'refusals', 'Refused deliveries');
		await page.click('details summary');
		await shows(page, 'POST /webhooks/acme/chat');
		await go(page, `events?subject=${encodeURIComponent(HOSTILE)}&type=${encodeURIComponent(HOSTILE)}`, 'Events');
		await clean(page);
	},

	async 'a quarantined event says why and is released'() {
		const page = await as('ada');
		await go(page, 'quarantine', 'Quarantine');
		await shows(page, '/answer');
		await click(page, 'assistant.completed');
		await click(page, 'Release');
		await answerDialog(page, 'a person looked', 'Release');
		await shows(page, 'released', '.facts');
		await clean(page);
	},

	async 'a source is switched off, refuses, and is switched on again'() {
		const page = await as('ada');
		await go(page, 'sources', 'Sources');
		await click(page, 'Disable acme/chat');
		await answerDialog(page, 'its secret leaked', 'Disable');
		await shows(page, 'disabled', 'tbody tr');
		const refused = await gateway.send('off-1', completed('off-1'));
		holds(refused.error === 'unauthorized', `a source that is off answers ${JSON.stringify(refused)}`);
		await click(page, 'Enable acme/chat');
		await answerDialog(page, 'rotated', 'Enable');
		await page.waitForFunction(() => !document.querySelector('.state.disabled'));
		const { event_id: id } = await gateway.send('on-1', completed('on-1'));
		await gateway.job(id, 'succeeded');
		await clean(page);
	},

	async 'the pages work by keyboard and tell what they are'() {
		const page = await as('root');
		await go(page, 'events', 'Events');
		holds(await page.evaluate(() => document.activeElement.matches('main h1')), 'a new page is told by its heading');
		await page.reload();
		await page.waitForSelector('nav a');
		await page.keyboard.press('Tab');
		holds(await page.evaluate(() => document.activeElement.className === 'skip'), 'the first stop leads to the content');
		await page.keyboard.press('Enter');
		holds(await page.evaluate(() => document.activeElement.id === 'main'), 'and does');
		for (const place of ['lanes', 'traffic', 'events', 'jobs', 'dead', 'quarantine', 'refusals', 'sources', 'subjects', 'audit', 'users', 'tokens']) {
			await page.evaluate((hash) => { location.hash = hash; }, `#/${place}`);
			await page.waitForFunction((place) => document.querySelector(`nav a[aria-current="page"]`)?.hash === `#/${place}` && !document.querySelector('[aria-busy="true"]'), {}, place);
			const nameless = await page.evaluate(() => {
				const named = (element) => element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.length;
				return [...document.querySelectorAll('button, a, input, select, [role=search]')].filter((element) => element.role !== 'search' && !named(element)).map((element) => element.outerHTML);
			});
			holds(nameless.length === 0, `without a name on ${place}: ${nameless}`);
			holds(await page.evaluate(() => [...document.querySelectorAll('table')].every((table) => table.caption && [...table.querySelectorAll('th')].every((head) => head.scope === 'col'))), `tables of ${place} have captions and headings`);
		}
		await clean(page);
	},

	async 'traffic is drawn, in the dark too, and is a table for who does not see it'() {
		gateway.pastHour();
		const page = await as('ada');
		await go(page, 'traffic', 'Traffic');
		await page.waitForFunction(() => document.querySelectorAll('.plot canvas').length === 4);
		const drawn = () => page.$$eval('.plot canvas', (all) => all.map((canvas) => {
			const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
			const colours = new Set();
			for (let at = 0; at < data.length; at += 4) {
				if (data[at + 3] === 255) {
					colours.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
				}
			}
			return [...colours].join(' ');
		}));
		const light = await drawn();
		holds(light.every((colours) => colours.length > 0), `each chart is drawn: ${light}`);
		await picture(page, 'traffic');
		await page.$eval('.chart details summary', (summary) => summary.click());
		await page.waitForSelector('.chart details[open] tbody tr');
		const rows = await page.$$eval('.chart details[open] tbody tr', (rows) => rows.map((row) => row.innerText));
		holds(rows.length >= 59 && rows.some((row) => row.includes('no gateway ran')), `the table has every minute: ${rows}`);
		await page.waitForFunction(() => document.querySelector('.chart details[open]'));
		const former = await page.$('.plot canvas');
		await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
		await page.waitForFunction((former) => !former.isConnected && document.querySelectorAll('.plot canvas').length === 4, {}, former);
		await page.$eval('.chart details summary', (summary) => summary.click());
		await picture(page, 'traffic-dark');
		const dark = await drawn();
		holds(dark[0] !== light[0], 'in the dark it has other colours');
		await go(page, 'traffic?tenant=acme&source=chat&minutes=180', 'Traffic');
		await page.waitForFunction(() => document.querySelectorAll('.plot canvas').length === 4);
		await clean(page);
	},

	async 'a prompt is tried on an event; nothing is published, and what the model says is only text'() {
		const { event_id: id } = await gateway.send('n-1', completed('order-9'), NOTES);
		await gateway.job(id, 'succeeded');
		const page = await as('ada');
		await go(page, `event/${id}`, 'assistant.completed');
		await click(page, 'Show the prompt');
		await shows(page, 'Say what happened, for the editors.');
		await shows(page, 'order-9');
		holds((await gateway.get('audit?action=prompt.preview')).items.length === 0, 'nobody was asked');
		await click(page, 'Ask the model');
		await shows(page, 'It costs the tokens of one job', 'dialog[open]');
		await answerDialog(page, 'new instructions', 'Ask');
		await shows(page, 'The order left the house.');
		await shows(page, '{{7*7}}', '.answer .text');
		await picture(page, 'preview');
		const detail = await gateway.get(`events/${id}`);
		holds(detail.jobs.length === 1 && detail.jobs[0].attempts === 1, `no job of it: ${JSON.stringify(detail.jobs)}`);
		const [line] = (await gateway.get('audit?action=prompt.preview')).items;
		holds(line.actor === 'user:ada' && line.reason === 'new instructions', JSON.stringify(line));
		callee.status = 503;
		await click(page, 'Ask the model');
		await answerDialog(page, '', 'Ask');
		await shows(page, 'No answer:');
		callee.status = 200;
		await clean(page);
	},

	async 'a source is added as the page tells, and its first event is waited for'() {
		const page = await as('root');
		await go(page, 'sources', 'Sources');
		await click(page, 'Add a source');
		await page.waitForSelector('#add-vendor');
		await fill(page, { 'add-vendor': 'generic', 'add-tenant': 'acme', 'add-source': 'orders' });
		await click(page, 'Show the steps');
		await shows(page, 'https://hooks.example.com/webhooks/acme/orders');
		await shows(page, 'not in the running configuration yet');
		await picture(page, 'add-source');
		const command = await page.$eval('[aria-label=Command]', (element) => element.textContent);
		gateway.run([...command.split(' ').slice(1), '--no-wait']);
		await shows(page, 'Waiting for its first event');
		await gateway.send('o-1', completed('o-1'), { source: 'acme/orders', secret: 'a-guessed-secret' });
		await shows(page, 'Refused meanwhile');
		await shows(page, 'bad signature');
		const secret = readFileSync(join(gateway.folder, 'secrets/acme-orders'), 'utf8').trim();
		await gateway.send('o-2', completed('o-2'), { source: 'acme/orders', secret });
		await shows(page, 'The first event came');
		await picture(page, 'add-source-came');
		await click(page, 'acme/orders, its secrets and its traffic');
		await shows(page, 'acme/orders', 'h1');
		await clean(page);
	},

	async 'a source tells which of its secrets is still used, and how to rotate it'() {
		await gateway.send('n-2', completed('n-2'), { ...NOTES, secret: `${NOTES.secret}-old` });
		const page = await as('ada');
		await go(page, 'source/acme/notes', 'acme/notes');
		const rows = await page.$$eval('tbody tr', (rows) => rows.map((row) => row.innerText));
		holds(rows.some((row) => row.includes('file:notes-old') && row.includes('keep it')), `the old one is in use: ${rows}`);
		await shows(page, 'secrets = ["file:secrets/acme-notes-2", "file:notes"]');
		await page.waitForFunction(() => document.querySelectorAll('.plot canvas').length === 4);
		await picture(page, 'source');
		await clean(page);
	},

	async 'an admin adds a user, switches them off, and makes and revokes a token'() {
		const page = await as('root');
		await go(page, 'users', 'Users');
		await page.click('details.panel summary');
		await fill(page, { 'user-name': 'pat', 'user-password': PASSWORD, 'user-role': 'operator', 'user-tenants': 'acme' });
		await picture(page, 'users');
		await click(page, 'Add');
		await shows(page, 'pat', 'tbody');
		await click(page, 'Disable pat');
		await answerDialog(page, 'on leave', 'Disable');
		await shows(page, 'disabled', 'tbody');
		const out = await visitor();
		await signIn(out, 'pat');
		await shows(out, 'name or password is wrong', '#said');
		await click(page, 'Enable pat');
		await answerDialog(page, 'back', 'Enable');
		await page.waitForFunction(() => !document.querySelector('.state.disabled'));
		await go(page, 'tokens', 'Tokens');
		await page.click('details.panel summary');
		await fill(page, { 'token-name': 'ci', 'token-role': 'viewer', 'token-days': '7' });
		await click(page, 'Make');
		await page.waitForSelector('[aria-label=Secret]');
		const secret = await page.$eval('[aria-label=Secret]', (element) => element.textContent);
		const look = async () => (await fetch(`${gateway.runtime.admin}/api/v1/lanes`, { headers: { authorization: `Bearer ${secret}` } })).status;
		holds((await look()) === 200, 'the token is good');
		await eventually('its use is kept', async () => (await gateway.get('tokens')).find((token) => token.name === 'ci').used_at);
		await go(page, 'users', 'Users');
		await go(page, 'tokens', 'Tokens');
		holds(!(await page.$('[aria-label=Secret]')), 'the secret is shown once');
		await page.click('details.panel summary');
		await fill(page, { 'token-name': 'ci-2', 'token-role': 'viewer', 'token-days': '7' });
		await click(page, 'Make');
		await page.waitForSelector('[aria-label=Secret]');
		await shows(page, 'ci-2', 'tbody');
		await page.$eval('[aria-label=Secret]', (element) => { element.textContent = 'slu_0123456789abcdef… (a secret, shown once)'; });
		await picture(page, 'tokens');
		await click(page, 'I have it');
		await page.waitForFunction(() => !document.querySelector('[aria-label=Secret]'));
		await click(page, 'Revoke ci');
		await answerDialog(page, 'no longer needed', 'Revoke');
		await shows(page, 'revoked', 'tbody');
		holds((await look()) === 401, 'the token is no good any more');
		const acts = (await gateway.get('audit?actor=user:root')).items.map((line) => line.action);
		holds(['token.revoke', 'token.add', 'user.enable', 'user.disable', 'user.add'].every((act) => acts.includes(act)), `${acts}`);
		await clean(page);
	},

	async 'who knows their password gives themselves another'() {
		const page = await as('pat');
		await page.click('.account .who');
		await page.waitForSelector('#new_password');
		await picture(page, 'account');
		await fill(page, { password: PASSWORD, new_password: 'another battery staple', again: 'another battery stapler' });
		await click(page, 'Change it');
		await shows(page, 'not the same twice', '#said');
		await fill(page, { password: PASSWORD, new_password: 'another battery staple', again: 'another battery staple' });
		await click(page, 'Change it');
		await shows(page, 'The password is changed', '#said');
		await click(page, 'Sign out', '.account');
		await page.waitForSelector('#name');
		await signIn(page, 'pat', 'another battery staple');
		await page.waitForSelector('nav a');
		await clean(page);
	},

	async 'an admin exports what is kept of a subject and erases it: counted first, with its id typed and a reason'() {
		const SUBJECT = 'jane.doe/42';
		const { event_id: first } = await gateway.send('s-1', completed(SUBJECT));
		for (const id of [first, (await gateway.send('s-2', completed(SUBJECT, 'A second one.'))).event_id, (await gateway.send('s-3', completed('john'))).event_id]) {
			await gateway.job(id, 'succeeded');
		}
		const page = await as('root');
		await go(page, `event/${first}`, 'assistant.completed');
		await click(page, 'export or erase');
		await page.waitForFunction(() => document.querySelector('h1')?.textContent === 'Subjects' && document.querySelectorAll('tbody tr').length === 2);
		await fill(page, { 'export-reason': 'she asked what is known of her' });
		await click(page, 'Export');
		await shows(page, '2 events exported.', '#said');
		await shows(page, 'she asked what is known of her');
		const [file] = await eventually('the file is there', async () => {
			const files = readdirSync(downloads, { recursive: true }).filter((name) => name.endsWith('.ndjson'));
			return files.length > 0 && files;
		});
		holds(/^acme-subject-\d{4}-\d\d-\d\d\.ndjson$/.test(file), `the file does not name the subject: ${file}`);
		const lines = readFileSync(join(downloads, file), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line));
		holds(lines.length === 3 && lines[2].events === 2 && lines[0].raw.includes('A second one.'), JSON.stringify(lines));

		const erase = () => page.$eval('section[aria-labelledby=erase-title] .maker button', (button) => !button.disabled);
		await fill(page, { 'erase-reason': 'she wants to be forgotten', 'erase-subject': SUBJECT });
		holds(!(await erase()), 'nothing is erased that was not counted');
		await click(page, 'Count what would go');
		await shows(page, '2 events would be erased and 0 jobs cancelled', '#would-erase');
		holds(await erase(), 'counted, typed and with a reason');
		await fill(page, { 'erase-subject': 'jane.doe/43' });
		holds(!(await erase()), 'another id was typed');
		await fill(page, { 'erase-subject': SUBJECT, 'erase-reason': ' ' });
		holds(!(await erase()), 'a reason is asked for');
		holds((await gateway.get(`events?subject=${encodeURIComponent(SUBJECT)}`)).items.length === 2, 'nothing is gone yet');
		await fill(page, { 'erase-reason': 'she wants to be forgotten' });
		await picture(page, 'subjects');
		await click(page, 'Erase for good');
		await shows(page, '2 events erased, 0 jobs cancelled.');
		await shows(page, 'Nothing is kept of this subject.');
		await shows(page, 'she wants to be forgotten');
		holds(!(await erase()), 'what is gone is not erased again');
		holds((await gateway.get(`events?subject=${encodeURIComponent(SUBJECT)}`)).items.length === 0, 'they are gone');
		holds((await gateway.get('events?subject=john')).items.length === 1, 'of somebody else nothing is');
		const [act] = (await gateway.get('audit?action=subject.erase')).items;
		holds(act.actor === 'user:root' && act.reason === 'she wants to be forgotten' && !act.object.includes('jane'), JSON.stringify(act));
		await clean(page);

		const operator = await as('ada');
		const [left] = (await gateway.get('events?subject=john')).items;
		await go(operator, `event/${left.id}`, 'assistant.completed');
		holds(!(await text(operator, 'body')).match(/export or erase|Subjects/), 'an operator is not offered it');
		await go(operator, 'subjects?tenant=acme&subject=john', 'There is no such page');
		const status = await operator.evaluate(async () => {
			const who = await (await fetch('/api/v1/session')).json();
			const ask = { method: 'POST', headers: { 'x-sluice-csrf': who.csrf, 'content-type': 'application/json' }, body: '{"subject":"john"}' };
			return (await fetch('/api/v1/tenants/acme/subjects/erase', ask)).status;
		});
		holds(status === 403, `an operator's erasure: ${status}`);
		await clean(operator);
	},

	async 'who has an account at the provider signs in by its button, as what the provider says they are'() {
		const port = await freePort();
		const origin = `http://127.0.0.1:${port}`;
		const provider = await Provider.start(process.argv[3], process.argv[4], origin, {
			u1: { preferred_username: 'grace', groups: ['acme-ops'] },
			u2: { preferred_username: 'mallory', groups: ['others'] },
		});
		const other = await Gateway.start(process.argv[2], callee, `listen = "127.0.0.1:${port}"\npublic_url = "${origin}"\n${provider.config}`);
		try {
			const through = async (page, account) => {
				// Not by `click`, which would look for the link on the next page again.
				await page.waitForSelector('form.door a.button');
				await Promise.all([page.waitForNavigation(), page.click('form.door a.button')]);
				await page.waitForSelector('input[name=login]');
				await page.type('input[name=login]', account);
				await page.type('input[name=password]', 'any');
				await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
				// Consent; then back.
				await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')]);
			};
			const page = await visitor(origin, provider.issuer);
			await page.evaluate(() => { location.hash = '#/events?tenant=acme'; });
			await page.waitForSelector('form.door a.button[href*="tenant"]');
			holds((await text(page, 'form.door a.button')) === 'Sign in with Example Login', 'the button names the provider');
			await picture(page, 'sign-in-provider');
			await through(page, 'u1');
			await shows(page, 'oidc:grace, operator of acme', '.account').catch(async (error) => {
				throw new Error(`${error.message}\n${page.url()}\n${await text(page, 'body')}\n${other.log.slice(-3000)}`);
			});
			await shows(page, 'Events', 'h1');
			holds(page.url() === `${origin}/#/events?tenant=acme`, `back to where they were: ${page.url()}`);
			await clean(page);
			const stranger = await visitor(origin, provider.issuer);
			await through(stranger, 'u2');
			await shows(stranger, 'You may not sign in here', 'h1');
			await stranger.goto(origin);
			await stranger.waitForSelector('#password');
			holds(stranger.troubles.length === 0, stranger.troubles.join('\n'));
		} finally {
			await other.stop();
			provider.stop();
		}
	},

	async 'in the dark it is dark, and on a phone nothing is cut off'() {
		const page = await as('root');
		await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
		await go(page, 'lanes', 'Lanes');
		await picture(page, 'dark');
		await page.setViewport({ width: 390, height: 800 });
		const event = (await gateway.get('events?source=notes&limit=1')).items[0].id;
		for (const place of ['lanes', 'traffic', 'events', `event/${event}`, 'dead', 'sources', 'source/acme/notes', 'add?vendor=stripe&tenant=acme&source=pay', 'subjects?tenant=acme&subject=john', 'users', 'tokens', 'account']) {
			await page.evaluate((hash) => { location.hash = hash; }, `#/${place}`);
			await page.waitForFunction((hash) => location.hash === hash && document.querySelector('main h1') && !document.querySelector('[aria-busy="true"]'), {}, `#/${place}`);
			const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
			holds(!wide, `${place} scrolls sideways`);
		}
		await go(page, 'traffic', 'Traffic');
		await page.waitForFunction(() => document.querySelectorAll('.plot canvas').length === 4);
		await picture(page, 'phone');
		await clean(page);
	},

	async 'a lane in trouble says what holds it, since when, and when it is probed; a probe mends it'() {
		callee.status = 503;
		for (let n = 0; n < 8; n += 1) {
			await gateway.send(`down-${n}`, completed(`down-${n}`));
		}
		const page = await as('ada');
		await go(page, 'lanes?state=held', 'Lanes');
		await shows(page, 'acme/chat', 'tbody tr');
		const row = await page.$eval('tbody tr', (row) => row.innerText);
		holds(/breaker|held|open/.test(row) && /in \d+ (s|min)/.test(row), `why and when: ${row}`);
		await go(page, 'lanes', 'Lanes');
		await shows(page, 'held', 'tbody tr');
		await picture(page, 'lanes');
		callee.status = 200;
		await click(page, 'Probe acme/chat');
		await page.waitForSelector('dialog[open]');
		await picture(page, 'dialog');
		await answerDialog(page, 'the CRM is back', 'Probe');
		await page.waitForFunction(() => document.querySelector('tbody tr') && !document.querySelector('.state.held'));
		await clean(page);
	},

	async 'who signs out is out'() {
		const page = await as('ada');
		await click(page, 'Sign out', '.account');
		await page.waitForSelector('#password');
		const status = await page.evaluate(async () => (await fetch('/api/v1/lanes')).status);
		holds(status === 401, `after signing out: ${status}`);
		await clean(page);
	},
};

let failed = 0;
let passed = 0;
try {
	for (const [name, role, tenants] of [['ada', 'operator', []], ['vic', 'viewer', ['--tenant', 'acme']], ['root', 'admin', []]]) {
		gateway.run(['user', 'add', name, '--role', role, ...tenants, '--password-stdin'], PASSWORD);
	}
	for (const [name, test] of Object.entries(tests)) {
		if (process.env.SLUICE_ONLY && !name.includes(process.env.SLUICE_ONLY)) {
			continue;
		}
		try {
			await test();
			passed += 1;
			console.log(`ok: ${name}`);
		} catch (error) {
			failed += 1;
			console.log(`FAILED: ${name}\n${error.stack}`);
		}
	}
} finally {
	await chromium.close();
	rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
	await gateway.stop();
	callee.stop();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
