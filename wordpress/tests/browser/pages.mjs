import { createServer } from 'node:http';
import { Browser, base, equal, gateway, holds, open, picture, press, signIn, text } from './browser.mjs';

const HOSTILE = '<script>window.hit=1</script><img src=x onerror="window.hit=1">"\'><svg onload=window.hit=1>';
const id = (n) => `job_${String(n).padStart(32, '0')}`;
const job = (n, state, change = {}) => ({
	job_id: id(n), type: 'summarize_and_publish', source: 'payments', route: 'invoices', state, attempts: 1,
	next_run_at: null, last_error: '', updated_at: new Date(Date.now() - n * 60000).toISOString(), ...change,
});

const tests = {
	async 'settings are saved, and a damaged key set is refused'(browser) {
		const page = await browser.as('admin');
		equal(await open(page, '/wp-admin/options-general.php?page=sluice-settings'), 200, 'settings');
		const kid = await text(page, '.form-table li code');
		await page.type('#sluice_keys', '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}');
		await press(page, '#submit');
		holds((await text(page, '.notice-error, .settings-error')).includes('damaged'), 'the damaged key is told');
		equal(await text(page, '.form-table li code'), kid, 'the key in force stays');
		await page.$eval('#sluice_keys', (field, value) => { field.value = value; }, gateway('jwks'));
		await page.type('#sluice_gateway', 'https://hooks.example.com');
		await page.$eval('#sluice_type_1_name', (field) => { field.value = 'news'; });
		await page.select('#sluice_type_1_status', 'pending');
		await page.$eval('#sluice_type_0_category', (field) => { field.value = field.options[1].value; });
		await press(page, '#submit');
		equal(await page.$eval('#sluice_gateway', (field) => field.value), 'https://hooks.example.com', 'gateway');
		equal(await page.$eval('#sluice_type_1_status', (field) => field.value), 'pending', 'status of a type');
		equal(gateway('callback', { type: 'news' }).json.outcome, 'created', 'the pasted key is in force');
		await page.select('#sluice_type_1_status', 'publish');
		await press(page, '#submit');
		holds((await text(page, '.settings-error')).includes('author'), 'publishing needs an author');
		return page;
	},

	async 'the self-test turns green while one looks'(browser) {
		const page = await browser.as('admin');
		await open(page, '/wp-admin/options-general.php?page=sluice-settings');
		const button = await page.evaluateHandle(() => [...document.querySelectorAll('.sluice-action button')].find((one) => one.textContent.includes('self-test')));
		await Promise.all([page.waitForNavigation({ waitUntil: 'networkidle2' }), button.click()]);
		equal(await page.$eval('#sluice-self-test', (place) => place.dataset.state), 'waiting', 'asked');
		const [request] = gateway('report').json.requests;
		equal(request.kind, 'self_test', 'handed out');
		equal(gateway('self_test', request.id).status, 200, 'called back');
		await page.waitForFunction(() => document.getElementById('sluice-self-test').dataset.state === 'done');
		holds((await text(page, '#sluice-self-test')).startsWith('Good'), 'green');
		await picture(page, 'wordpress-settings');
		return page;
	},

	async 'the jobs screen shows what is, refreshes, and runs nothing that was sent to it'(browser) {
		gateway('report', [
			job(1, 'running'),
			job(2, 'failed', { attempts: 3, next_run_at: new Date(Date.now() + 90000).toISOString(), last_error: 'llm:api.example: answered 429' }),
			job(3, 'deadletter', { attempts: 8, last_error: `wordpress:x: ${HOSTILE} answered 500` }),
			job(4, 'pending', { type: 'wordpress_publish' }),
			job(5, 'deadletter', { attempts: 1, last_error: HOSTILE }),
		]);
		const hostile = gateway('callback', { title: HOSTILE, summary: `${HOSTILE}\n\n<!-- wp:html -->${HOSTILE}<!-- /wp:html --> [gallery]` });
		equal(hostile.json.outcome, 'created', 'hostile post');
		gateway('wp', `wp_publish_post( ${hostile.json.post_id} );`);
		const page = await browser.as('editor');
		equal(await open(page, '/wp-admin/admin.php?page=sluice'), 200, 'screen');
		const states = await page.$$eval('[data-sluice-job]', (rows) => rows.map((row) => row.dataset.sluiceState));
		equal(states.length, 6, 'rows');
		equal(await text(page, `[data-sluice-job="${id(2)}"] [data-sluice="error"]`), 'The language model asked to slow down. This usually mends itself.', 'plain words');
		holds((await text(page, `[data-sluice-job="${id(2)}"] [data-sluice="next"]`)).startsWith('in '), 'next try');
		holds(!(await page.content()).includes('window.hit=1</script>'), 'no error text of strangers');
		gateway('report', [job(1, 'succeeded', { updated_at: new Date().toISOString() })]);
		await page.waitForFunction((job) => document.querySelector(`[data-sluice-job="${job}"]`).dataset.sluiceState === 'succeeded', {}, id(1));
		equal(await text(page, `[data-sluice-job="${id(1)}"] [data-sluice="label"]`), 'Done', 'refreshed');
		await picture(page, 'wordpress-jobs');
		await page.setViewport({ width: 782, height: 900 });
		holds(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth + 1), 'nothing sticks out on a small screen');
		await page.setViewport({ width: 1280, height: 900 });
		await page.type('#sluice-jobs-search-input', 'wordpress_publish');
		await press(page, '#search-submit');
		equal(await page.$$eval('[data-sluice-job]', (rows) => rows.map((row) => row.dataset.sluiceJob)), [id(4)], 'search');
		await open(page, '/wp-admin/admin.php?page=sluice&state=deadletter');
		equal((await page.$$('[data-sluice-job]')).length, 2, 'filter');
		// By keyboard alone.
		await page.focus(`[data-sluice-job="${id(3)}"] button[aria-label^="Retry"]`);
		await Promise.all([page.waitForNavigation({ waitUntil: 'networkidle2' }), page.keyboard.press('Enter')]);
		holds((await text(page, `[data-sluice-job="${id(3)}"]`)).includes('Retry was asked for.'), 'asked');
		equal(gateway('report').json.requests, [{ id: 1, kind: 'retry', job_id: id(3) }], 'the gateway hears of it');
		await press(page, `[data-sluice-job="${id(5)}"] button[aria-label^="Dismiss"]`);
		equal(gateway('report').json.requests[1].kind, 'dismiss', 'dismissal');
		for (const path of ['/wp-admin/', '/wp-admin/edit.php', `/?p=${hostile.json.post_id}`, `/wp-admin/post.php?post=${hostile.json.post_id}&action=edit`]) {
			await open(page, path);
			equal(await page.evaluate(() => window.hit ?? null), null, `nothing ran on ${path}`);
		}
		await open(page, `/?p=${hostile.json.post_id}`);
		equal(await page.$$eval('article script, main script:not([type]), .entry-content img, .entry-content svg', (found) => found.length), 0, 'no element of strangers');
		holds((await page.evaluate(() => document.body.textContent)).includes('[gallery]'), 'shortcodes stay text');
		return page;
	},

	async 'the dashboard tells editors of troubles'(browser) {
		gateway('report', [job(1, 'deadletter', { last_error: 'llm:x: answered 500' }), job(2, 'succeeded')]);
		const page = await browser.as('editor');
		await open(page, '/wp-admin/');
		holds((await text(page, '#sluice_jobs')).includes('had a failure of its own'), 'widget');
		await picture(page, 'wordpress-widget', '#sluice_jobs');
		return page;
	},

	async 'an update that waits is compared and taken by its editor'(browser) {
		const key = 'ab'.repeat(32);
		const { post_id } = gateway('callback', { post_key: key, title: 'Invoice paid', summary: 'Twelve euros.' }).json;
		gateway('wp', `wp_update_post( array( 'ID' => ${post_id}, 'post_content' => 'What the editor wrote.' ) );`);
		equal(gateway('callback', { post_key: key, title: 'Invoice paid twice', summary: `Twenty-four euros. ${HOSTILE}`, artifacts: [{ type: 'report', url: 'https://files.example/report.pdf', expires_at: new Date(Date.now() + 3600000).toISOString() }] }).json.outcome, 'proposed', 'kept beside');
		const page = await browser.as('editor');
		await open(page, '/wp-admin/edit.php');
		holds((await text(page, `#post-${post_id} .column-sluice`)).includes('Update waits'), 'column');
		await open(page, `/wp-admin/post.php?post=${post_id}&action=edit`);
		await page.waitForSelector('#sluice .sluice-proposal');
		const panel = await text(page, '#sluice');
		holds(panel.includes('What the editor wrote.') && panel.includes('Twenty-four euros.'), 'both texts are compared');
		await page.waitForFunction(() => [...document.querySelectorAll('.components-notice')].some((notice) => notice.textContent.includes('A newer result waits')));
		const decide = await page.$eval('#sluice .sluice-proposal a.button', (link) => link.href);
		await open(page, decide.slice(base.length));
		holds((await text(page, '.notice-warning table.diff')).includes('What the editor wrote.'), 'and again where one decides');
		await picture(page, 'wordpress-proposal');
		const take = await page.evaluateHandle(() => [...document.querySelectorAll('.notice-warning button')].find((one) => one.textContent.includes('Take')));
		await Promise.all([page.waitForNavigation({ waitUntil: 'networkidle2' }), take.click()]);
		holds((await text(page, '.notice-success')).includes('taken over'), 'told');
		equal(gateway('wp', `return get_post( ${post_id} )->post_title;`), 'Invoice paid twice', 'written');
		equal(await page.evaluate(() => window.hit ?? null), null, 'nothing ran');
		return page;
	},

	async 'the screens are translated, and read from right to left where the language is'(browser) {
		gateway('report', [
			job(1, 'running'),
			job(2, 'failed', { attempts: 3, next_run_at: new Date(Date.now() + 90000).toISOString(), last_error: 'llm:api.example: answered 429' }),
			job(3, 'deadletter', { attempts: 8, last_error: 'wordpress:x: answered 500' }),
		]);
		for (const login of ['editor', 'admin']) {
			gateway('wp', `update_user_meta( get_user_by( 'login', '${login}' )->ID, 'locale', 'ar' );`);
		}
		try {
			const page = await browser.as('editor');
			await open(page, '/wp-admin/admin.php?page=sluice');
			equal(await page.evaluate(() => document.documentElement.dir), 'rtl', 'direction');
			equal(await text(page, 'h1'), 'مهام Sluice', 'our own words');
			equal(await text(page, `[data-sluice-job="${id(3)}"] [data-sluice="label"]`), 'متروك', 'and a state');
			// What stands first stands at the right, and nothing sticks out.
			const left = (selector) => page.$eval(selector, (element) => element.getBoundingClientRect().left);
			holds(await left(`[data-sluice-job="${id(3)}"] .column-job`) > await left(`[data-sluice-job="${id(3)}"] .column-updated`), 'columns');
			holds(await left(`[data-sluice-job="${id(3)}"] button[aria-label]`) > await left(`[data-sluice-job="${id(3)}"] form:last-child button`), 'buttons');
			const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth + 1);
			holds(await fits(), 'wide');
			await picture(page, 'wordpress-jobs-rtl');
			await page.setViewport({ width: 782, height: 900 });
			holds(await fits(), 'narrow');
			const settings = await browser.as('admin');
			await open(settings, '/wp-admin/options-general.php?page=sluice-settings');
			holds(await settings.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth + 1), 'settings');
			// What is copied out of the page must not be turned round.
			equal(await settings.$$eval('.sluice-config, .sluice-id, input.code, textarea.code', (all) => all.map((one) => getComputedStyle(one).direction).filter((direction) => direction !== 'ltr')), [], 'code');
			await picture(settings, 'wordpress-settings-rtl');
			return [page, settings];
		} finally {
			gateway('wp', "delete_metadata( 'user', 0, 'locale', '', true );");
		}
	},

	async 'a link to a file that a colleague passed on leads through the login page to the file'(browser) {
		const file = 'art_0193a7d4c1e87cc0a3f0c5d6e7f80912';
		const fresh = 'https://files.example/transcript?signature=';
		let asked = 0;
		const desk = createServer((request, answer) => {
			asked += 1;
			answer.end(JSON.stringify({ ok: true, schema_version: 1, url: fresh + asked, expires_at: '2026-11-24T08:00:00Z' }));
		});
		await new Promise((listens) => { desk.listen(0, '127.0.0.1', listens); });
		try {
			const { post_id } = gateway('callback', { artifacts: [{ type: 'transcript', id: file, url: 'https://files.example/old', expires_at: '2026-11-24T07:00:00Z' }] }).json;
			gateway('pull', `http://127.0.0.1:${desk.address().port}/site/v1/acme`, 'a-token-of-the-test-site-of-40-bytes-len');
			const editor = await browser.as('editor');
			await open(editor, `/wp-admin/post.php?post=${post_id}&action=edit`);
			await editor.waitForSelector('#sluice a[target="_blank"]');
			const link = await editor.$eval('#sluice a[target="_blank"]', (one) => one.href);
			equal(link, `${base}/wp-admin/admin.php?action=sluice_file&post=${post_id}&file=${file}`, 'an address that stays');
			asked = 0;
			const colleague = await browser.page();
			let referrer;
			await colleague.setRequestInterception(true);
			colleague.on('request', (request) => {
				if (request.url().startsWith(fresh)) {
					referrer = request.headers().referer ?? '';
					request.respond({ status: 200, contentType: 'text/plain', body: 'What was said.' });
				} else {
					request.continue();
				}
			});
			await open(colleague, link.slice(base.length));
			holds(colleague.url().startsWith(`${base}/wp-login.php?`), 'a stranger is asked who they are');
			equal(asked, 0, 'and the gateway is not asked');
			await signIn(colleague, 'admin');
			equal([colleague.url(), referrer], [`${fresh}1`, ''], 'at the file, which hears nothing of the site');
			await open(colleague, link.slice(base.length));
			equal(colleague.url(), `${fresh}2`, 'and again, by another link');
			return [editor, colleague];
		} finally {
			desk.closeAllConnections();
			desk.close();
		}
	},

	async 'who may not see jobs sees nothing of them'(browser) {
		gateway('report', [job(1, 'deadletter')]);
		const { post_id } = gateway('callback').json;
		const pages = [];
		for (const login of ['author', 'subscriber']) {
			const page = await browser.as(login);
			page.allowed.add(403);
			equal(await open(page, '/wp-admin/admin.php?page=sluice'), 403, `${login}: screen`);
			equal(await open(page, '/wp-admin/options-general.php?page=sluice-settings'), 403, `${login}: settings`);
			await open(page, '/wp-admin/');
			equal(await page.$('#sluice_jobs, #toplevel_page_sluice'), null, `${login}: widget and menu`);
			equal(await page.evaluate(async () => (await fetch('/?rest_route=/sluice/v1/jobs', { headers: { 'X-WP-Nonce': window.wpApiSettings?.nonce ?? '' } })).status), 403, `${login}: REST`);
			pages.push(page);
		}
		const editor = await browser.as('editor');
		editor.allowed.add(403);
		equal(await open(editor, '/wp-admin/options-general.php?page=sluice-settings'), 403, 'editor: settings');
		const post = (fields) => editor.evaluate(async (fields) => (await fetch('/wp-admin/admin-post.php', { method: 'POST', body: new URLSearchParams({ action: 'sluice', ...fields }) })).status, fields);
		equal(await post({ what: 'retry', id: id(1), _wpnonce: 'forged' }), 403, 'a forged nonce');
		equal(await post({ what: 'self_test', id: '0' }), 403, 'no nonce');
		// A nonce of one job is worth nothing for another.
		await open(editor, '/wp-admin/admin.php?page=sluice');
		const nonce = await editor.$eval(`[data-sluice-job="${id(1)}"] [name="_wpnonce"]`, (field) => field.value);
		equal(await post({ what: 'dismiss', id: id(1), _wpnonce: nonce }), 403, 'a nonce for something else');
		equal(gateway('report').json.requests, [], 'nothing was asked');
		holds(post_id > 0, 'post');
		return [...pages, editor];
	},
};

const browser = await Browser.start();
let failed = 0;
try {
	for (const [name, test] of Object.entries(tests)) {
		gateway('reset');
		const begun = Date.now();
		try {
			const pages = [await test(browser)].flat();
			const troubles = pages.flatMap((page) => page.troubles);
			equal(troubles, [], 'troubles on the page');
			for (const page of pages) {
				await page.browserContext().close();
			}
			console.log(`ok   ${name} (${Date.now() - begun} ms)`);
		} catch (error) {
			failed += 1;
			console.error(`FAIL ${name}\n     ${error.message}`);
		}
	}
} finally {
	await browser.stop();
}
process.exit(failed ? 1 : 0);
