import { parseArgs } from 'node:util';
import { scriptOf } from './generate.js';
import { describeFailure, shrink } from './shrink.js';
import { simulate } from './simulation.js';

const USAGE = `npm run sim -- [options]
  --seeds N   how many scripts to run (100)
  --first N   the seed of the first (1)
  --seed N    this one alone
  --trace     print all that happens
  --no-shrink do not look for the smallest script that fails`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    'no-shrink': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(USAGE);
else await run();

async function run(): Promise<void> {
  const first = Number(values.seed ?? values.first);
  const count = values.seed === undefined ? Number(values.seeds) : 1;
  const startedMs = performance.now();
  const total = { failed: 0, simulatedMs: 0, commits: 0, faults: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const script = scriptOf(seed);
    const outcome = await simulate(script, { keepTrace: values.trace });
    total.simulatedMs += outcome.elapsedMs;
    total.commits += outcome.commits;
    total.faults += outcome.faults;
    if (values.trace) console.log(outcome.lines.join('\n'));
    if (seed % 1000 === 0) console.error(`seed ${seed}, ${total.failed} failed so far`);
    if (outcome.failure === undefined) continue;
    total.failed++;
    console.log(await explain(seed, outcome.failure));
  }
  const tookS = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage();
  const perCpuSecond = (count / ((user + system) / 1e6)).toFixed(1);
  const rate = `${tookS.toFixed(1)} s, ${perCpuSecond} per second of one processor`;
  const hours = (total.simulatedMs / 3_600_000).toFixed(2);
  console.log(
    `${count} seeds from ${first} (${rate}): ${total.failed} failed; ` +
      `${hours} h simulated, ${total.commits} commits, ${total.faults} faults`,
  );
  if (total.failed > 0) process.exitCode = 1;
}

async function explain(seed: number, failure: Error): Promise<string> {
  if (values['no-shrink']) return `seed ${seed}: ${failure.message}`;
  const { script, outcome } = await shrink(scriptOf(seed), failure);
  return describeFailure(script, outcome, seed);
}
