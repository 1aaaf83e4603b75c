import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MAIN = new URL('../../../cli/main.ts', import.meta.url);

describe('the first line of cli/main.ts', () => {
  it('keeps flags that Node knows for the command', () => {
    const [firstLine] = readFileSync(MAIN, 'utf8').split('\n');
    const folder = mkdtempSync(join(tmpdir(), 'ht-shebang-'));
    try {
      const script = join(folder, 'hatoba');
      const text = `${firstLine}\nconsole.log(process.argv.slice(2).join(' '));\n`;
      writeFileSync(script, text, { mode: 0o755 });
      const args = ['run', '--env-file', '/no/such', '--env-file=/no/such', 'web:1'];
      assert.equal(execFileSync(script, args, { encoding: 'utf8' }).trim(), args.join(' '));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
