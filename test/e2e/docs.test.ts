import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { consoleSteps, isAsSaid, type ConsoleStep } from '../support/console-blocks.js';
import { CLI, DevCluster, requiresDevCluster } from './cluster.js';

/** The guides, and how many commands they have at least. */
const PAGES = [
  ['containers.md', 30],
  ['networks.md', 15],
  ['services.md', 25],
  ['rollouts.md', 20],
  ['nodes.md', 10],
] as const;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MARK = '@@ended';
/** A page that waits for what does not come is not left to wait. */
const MOST_MS = 240_000;

interface Outcome extends ConsoleStep {
  output: string;
  exitCode: number;
}

describe('a guide', function () {
  let cluster: DevCluster;
  let opened: DevCluster | undefined;
  let bin = '';

  before(async function () {
    requiresDevCluster(this);
    opened = cluster = await DevCluster.up(2);
    await cluster.loadImages();
    bin = linkCommand(cluster.folder);
  });
  after(async () => {
    await opened?.down();
  });

  for (const [page, least] of PAGES) {
    it(`docs/${page} says what its commands print`, async () => {
      const steps = consoleSteps(readFileSync(join(ROOT, 'docs', page), 'utf8'));
      assert.ok(steps.length > least, 'the page has its commands');
      const wrong = (await runAll(steps)).filter(
        ({ exitCode, output, expected }) => exitCode !== 0 || !isAsSaid(output, expected),
      );
      assert.equal(wrong.map(describeOutcome).join('\n'), '');
    });
  }

  /** In one shell, as a reader would. */
  async function runAll(steps: readonly ConsoleStep[]): Promise<Outcome[]> {
    const script = steps
      .map(({ command }) => `${command}\nprintf '\\n${MARK} %d\\n' $?\n`)
      .join('');
    const stdout = await new Promise<string>((resolve) => {
      const PATH = `${bin}:${process.env['PATH'] ?? ''}`;
      const env = { ...process.env, PATH, HATOBA_CONFIG: cluster.folder, NO_COLOR: '1' };
      const options = { env, cwd: ROOT, maxBuffer: 16 * 1024 * 1024, timeout: MOST_MS };
      const shell = execFile('bash', options, (_error, output) => {
        resolve(output);
      });
      shell.stdin?.end(script);
    });
    const outputs = [...stdout.matchAll(new RegExp(`([\\s\\S]*?)\\n?${MARK} (\\d+)\\n`, 'g'))];
    return steps.map((step, i) => ({
      ...step,
      output: outputs[i]?.[1] ?? '',
      exitCode: Number(outputs[i]?.[2] ?? NaN),
    }));
  }
});

/** `hatoba` is what is tested here, not what is installed. @returns a folder for PATH */
function linkCommand(folder: string): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  const script = `#!/bin/sh\nexec '${process.execPath}' -- '${CLI}' "$@"\n`;
  writeFileSync(join(bin, 'hatoba'), script, { mode: 0o755 });
  return bin;
}

function describeOutcome({ command, expected, output, exitCode }: Outcome): string {
  return `$ ${command}\n  ended with ${exitCode} and printed\n${output}\n  not\n${expected.join('\n')}`;
}
