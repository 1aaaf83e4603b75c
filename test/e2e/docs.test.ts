import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { consoleSteps, isAsSaid, type ConsoleStep } from '../support/console-blocks.js';
import { CLI, DevCluster, requiresDevCluster } from './cluster.js';

const PAGE = new URL('../../docs/containers.md', import.meta.url);
const MARK = '@@ended';

interface Outcome extends ConsoleStep {
  output: string;
  exitCode: number;
}

describe('docs/containers.md', function () {
  let cluster: DevCluster;
  let opened: DevCluster | undefined;

  before(async function () {
    requiresDevCluster(this);
    opened = cluster = await DevCluster.up(1);
    await cluster.loadImages();
  });
  after(async () => {
    await opened?.down();
  });

  it('says what its commands print', async () => {
    const steps = consoleSteps(readFileSync(PAGE, 'utf8'));
    assert.ok(steps.length > 30, 'the page has its commands');
    const wrong = (await runAll(steps)).filter(
      ({ exitCode, output, expected }) => exitCode !== 0 || !isAsSaid(output, expected),
    );
    assert.equal(wrong.map(describeOutcome).join('\n'), '');
  });

  /** In one shell, as a reader would. */
  async function runAll(steps: readonly ConsoleStep[]): Promise<Outcome[]> {
    const program = `hatoba() { '${process.execPath}' '${CLI}' "$@"; }\n`;
    const commands = steps
      .map(({ command }) => `${command}\nprintf '\\n${MARK} %d\\n' $?\n`)
      .join('');
    const stdout = await new Promise<string>((resolve) => {
      const env = { ...process.env, HATOBA_CONFIG: cluster.folder, NO_COLOR: '1' };
      const options = { env, maxBuffer: 16 * 1024 * 1024 };
      const shell = execFile('bash', options, (_error, output) => {
        resolve(output);
      });
      shell.stdin?.end(program + commands);
    });
    const outputs = [...stdout.matchAll(new RegExp(`([\\s\\S]*?)\\n?${MARK} (\\d+)\\n`, 'g'))];
    return steps.map((step, i) => ({
      ...step,
      output: outputs[i]?.[1] ?? '',
      exitCode: Number(outputs[i]?.[2] ?? NaN),
    }));
  }
});

function describeOutcome({ command, expected, output, exitCode }: Outcome): string {
  return `$ ${command}\n  ended with ${exitCode} and printed\n${output}\n  not\n${expected.join('\n')}`;
}
