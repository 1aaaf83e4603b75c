import { parseArgs } from 'node:util';
import { scriptOf } from './generate.js';
import { simulate } from './simulation.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});
const first = Number(values.seed ?? values.first);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const startedMs = performance.now();
let [failures, simulatedMs, commits, steps] = [0, 0, 0, 0];
for (let seed = first; seed < first + count; seed++) {
  const outcome = await simulate(scriptOf(seed), { keepTrace: values.trace });
  simulatedMs += outcome.elapsedMs;
  commits += outcome.commits;
  steps += outcome.steps;
  if (values.trace) console.log(outcome.lines.join('\n'));
  if (outcome.failure === undefined) continue;
  failures++;
  console.log(`seed ${seed}: ${outcome.failure.stack ?? outcome.failure.message}`);
}
const tookS = (performance.now() - startedMs) / 1000;
console.log(
  `${count} seeds in ${tookS.toFixed(1)} s (${(count / tookS).toFixed(1)}/s), ${failures} failed; ` +
    `${Math.round(simulatedMs / 1000)} s simulated, ${commits} commits, ${steps} steps`,
);
if (failures > 0) process.exitCode = 1;
