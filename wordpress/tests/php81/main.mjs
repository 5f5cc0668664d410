// node main.mjs MAIN REPOSITORY SODIUM: runs MAIN on PHP 8.1 with copies of what the unit tests need.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { getPHPLoaderModule } from '@php-wasm/node-8-1';
import { PHP, loadPHPRuntime } from '@php-wasm/universal';

const [main, repository, sodium] = process.argv.slice(2);
const php = new PHP(await loadPHPRuntime(await getPHPLoaderModule()));

function copy(from, to) {
	php.mkdirTree(to);
	for (const name of readdirSync(from)) {
		const [source, target] = [join(from, name), `${to}/${name}`];
		if (statSync(source).isDirectory()) {
			copy(source, target);
		} else {
			php.writeFile(target, new Uint8Array(readFileSync(source)));
		}
	}
}
copy(join(repository, 'wordpress'), '/repository/wordpress');
copy(join(repository, 'tests/fixtures/wordpress'), '/repository/tests/fixtures/wordpress');
copy('/usr/share/php', '/usr/share/php');
copy(sodium, '/sodium');

let answer;
try {
	answer = await php.run({ code: readFileSync(main, 'utf8') });
} catch (error) {
	answer = error.response ?? { text: String(error), errors: '' };
}
console.log(answer.text);
// The exit status of such a run is not to be trusted; the last line is.
if (!answer.text.trimEnd().endsWith('result 0')) {
	console.error(answer.errors);
	process.exit(1);
}
process.exit(0);
