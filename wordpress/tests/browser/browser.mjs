// A Chromium, people who log in, and what a page must not do.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

export const base = process.env.SLUICE_TEST_URL;

/** Asks the stand-in gateway, or runs PHP inside WordPress with `wp`. */
export function gateway(method, ...parameters) {
	const driver = join(process.env.SLUICE_TEST_TOOLS, 'driver.php');
	return JSON.parse(execFileSync('php', [driver, method, JSON.stringify(parameters)], { encoding: 'utf8' }));
}

export function equal(actual, expected, what) {
	if (JSON.stringify(actual) !== JSON.stringify(expected)) {
		throw new Error(`${what}: got ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
	}
}

export function holds(condition, what) {
	if (!condition) {
		throw new Error(what);
	}
}

export class Browser {
	static async start() {
		const browser = new Browser();
		browser.profile = mkdtempSync(join(tmpdir(), 'sluice-chromium-'));
		browser.chromium = await puppeteer.launch({
			executablePath: '/usr/bin/chromium',
			pipe: true,
			userDataDir: browser.profile,
			args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
		});
		return browser;
	}

	/** A page of somebody who has logged in. */
	async as(login) {
		const page = await this.page();
		await page.goto(`${base}/wp-login.php`);
		await signIn(page, login);
		return page;
	}

	/** A page of a stranger. It remembers what went wrong on it. */
	async page() {
		const context = await this.chromium.createBrowserContext();
		const page = await context.newPage();
		// A machine that does other things as well is slow, not broken.
		page.setDefaultTimeout(90000);
		page.troubles = [];
		page.allowed = new Set();
		// WordPress's own scripts fail on some of its pages; ours and a stranger's must not run into anything.
		page.on('pageerror', (error) => {
			const theirs = /\/wp-(admin|includes)\//.test(error.stack) && !error.stack.includes('/plugins/');
			if (!theirs) {
				page.troubles.push(`script on ${page.url()}: ${error.message}`);
			}
		});
		page.on('console', (message) => {
			if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) {
				page.troubles.push(`console: ${message.text()}`);
			}
		});
		page.on('dialog', (dialog) => {
			// The editor asks before it is left; anything else was written by somebody hostile.
			if (dialog.type() !== 'beforeunload') {
				page.troubles.push(`dialog: ${dialog.message()}`);
			}
			dialog.accept().catch(() => {});
		});
		page.on('response', (answer) => {
			// WordPress 6.1 asks for templates on behalf of people who may not see them.
			const theirs = answer.url().includes('/wp/v2/templates/');
			if (answer.status() >= 400 && !page.allowed.has(answer.status()) && !theirs) {
				page.troubles.push(`${answer.status()} ${answer.url()}`);
			}
		});
		await page.setViewport({ width: 1280, height: 900 });
		return page;
	}

	async stop() {
		await this.chromium.close();
		rmSync(this.profile, { recursive: true, force: true });
	}
}

/** Fills in the login page that is shown. */
export async function signIn(page, login) {
	await page.$eval('#user_login', (field, value) => { field.value = value; }, login);
	await page.$eval('#user_pass', (field) => { field.value = 'password'; });
	await Promise.all([page.waitForNavigation(), page.$eval('#loginform', (form) => form.submit())]);
}

export async function open(page, path) {
	const answer = await page.goto(`${base}${path}`, { waitUntil: 'networkidle2' });
	return answer.status();
}

/** Presses something that leads to another page. */
export async function press(page, selector) {
	await Promise.all([page.waitForNavigation({ waitUntil: 'networkidle2' }), page.click(selector)]);
}

export const text = (page, selector) => page.$eval(selector, (element) => element.textContent.trim());

export async function picture(page, name, selector) {
	if (!process.env.SLUICE_SCREENSHOTS) {
		return;
	}
	const path = join(process.env.SLUICE_SCREENSHOTS, `${name}.png`);
	const place = selector ? await page.$(selector) : page;
	await place.screenshot({ path });
}
