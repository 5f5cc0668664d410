// render.mjs ADMIN NAME: how long the lanes page takes from a press to its rows, for `scripts/bench console`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

const [admin, name] = process.argv.slice(2);
const PASSWORD = 'correct horse battery staple';
const profile = mkdtempSync(join(tmpdir(), 'sluice-chromium-'));
const chromium = await puppeteer.launch({
	executablePath: '/usr/bin/chromium',
	pipe: true,
	timeout: 120_000,
	userDataDir: profile,
	args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
	const page = await chromium.newPage();
	await page.goto(admin);
	await page.waitForSelector('#password');
	await page.type('#name', name);
	await page.type('#password', PASSWORD);
	await page.keyboard.press('Enter');
	await page.waitForSelector('tbody tr');
	const shown = (place, title) =>
		page.evaluate(
			(place, title) =>
				new Promise((done) => {
					const began = performance.now();
					location.hash = place;
					const look = () => {
						const there = document.querySelector('main h1')?.textContent === title && document.querySelector('main tbody tr') && !document.querySelector('[aria-busy="true"]');
						// After the frame in which it is drawn.
						if (there) {
							requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
						} else {
							setTimeout(look, 4);
						}
					};
					look();
				}),
			place,
			title,
		);
	const lanes = [];
	const held = [];
	for (let turn = 0; turn < 10; turn += 1) {
		await shown('#/sources', 'Sources');
		lanes.push(await shown('#/lanes', 'Lanes'));
		await shown('#/sources', 'Sources');
		held.push(await shown('#/lanes?state=held', 'Lanes'));
	}
	const of = (times) => {
		times.sort((a, b) => a - b);
		return { median: times[times.length >> 1], most: times.at(-1) };
	};
	console.log(JSON.stringify({ 'lanes, from the press to the rows': of(lanes), 'lanes that are held': of(held) }));
} finally {
	await chromium.close();
	rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}
