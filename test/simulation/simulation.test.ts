import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { commitsOf, crashAt, CRASHES, SITUATIONS } from './crashes.js';
import { scriptOf } from './generate.js';
import { MUTATIONS } from './mutations.js';
import { describeFailure, ruleOf, shrink } from './shrink.js';
import { simulate } from './simulation.js';
import type { Mutation } from './world/cluster.js';

const FIXED_SEEDS = 80;
const NEW_SEEDS = 30;
/** Within so many seeds each mistake is found. */
const SEEDS_TO_FIND = 60;

async function check(seed: number): Promise<void> {
  const { failure } = await simulate(scriptOf(seed));
  if (failure === undefined) return;
  const { script, outcome } = await shrink(scriptOf(seed), failure);
  assert.fail(describeFailure(script, outcome, seed));
}

describe('the control plane in a simulation', () => {
  it(`keeps its invariants and settles, by ${FIXED_SEEDS} fixed seeds`, async () => {
    for (let seed = 1; seed <= FIXED_SEEDS; seed++) await check(seed);
  });

  it(`keeps its invariants and settles, by ${NEW_SEEDS} new seeds`, async () => {
    const first = randomInt(1_000_000, 2 ** 31);
    for (let seed = first; seed < first + NEW_SEEDS; seed++) await check(seed);
  });

  it('does the same by the same seed', async () => {
    for (const seed of [3, 7, 11]) {
      const once = await simulate(scriptOf(seed), { keepTrace: true });
      const again = await simulate(scriptOf(seed));
      assert.equal(once.hash, again.hash, `seed ${seed}`);
      assert.notEqual(once.hash, (await simulate(scriptOf(seed + 1))).hash);
    }
  });
});

describe('a leader that dies at any of its commits', () => {
  for (const [name, steps] of Object.entries(SITUATIONS)) {
    it(`during ${name}`, async () => {
      const commits = await commitsOf(steps);
      assert.ok(commits > 2, `only ${commits} commits`);
      for (let nth = 1; nth <= commits; nth++) {
        for (const crash of CRASHES) {
          const { failure } = await crashAt(steps, { nth, crash });
          if (failure === undefined) continue;
          const { lines } = await crashAt(steps, { nth, crash }, true);
          const told = lines.slice(-40).join('\n');
          assert.fail(`at commit ${nth} of ${commits} it ${crash}: ${failure.message}\n${told}`);
        }
      }
    });
  }
});

describe('a mistake in the control plane is found', () => {
  for (const [name, mutation] of Object.entries(MUTATIONS)) {
    it(name, async () => {
      const found = await firstToFind(mutation);
      assert.ok(found !== undefined, `not within ${SEEDS_TO_FIND} seeds`);
    });
  }

  it('by a script of few steps', async () => {
    const mutation = MUTATIONS['the scheduler ignores what is reserved'] ?? {};
    const found = await firstToFind(mutation);
    assert.ok(found !== undefined);
    const before = scriptOf(found.seed);
    const { script, outcome } = await shrink(before, found.failure, { mutation });
    assert.ok(script.steps.length < before.steps.length);
    assert.ok(outcome.failure !== undefined);
    assert.equal(ruleOf(outcome.failure), ruleOf(found.failure));
    assert.match(describeFailure(script, outcome, found.seed), /npm run sim -- --seed \d+/);
  });
});

/** The first seed that fails with the mistake, and not in this way without it. */
async function firstToFind(
  mutation: Mutation,
): Promise<{ seed: number; failure: Error } | undefined> {
  const patience = { ms: 30_000, commits: 800 }; // what does not settle is slow to run
  for (let seed = 1; seed <= SEEDS_TO_FIND; seed++) {
    const { failure } = await simulate(scriptOf(seed), { mutation, patience });
    if (failure === undefined) continue;
    const right = await simulate(scriptOf(seed), { patience });
    const isSame = right.failure !== undefined && ruleOf(right.failure) === ruleOf(failure);
    if (!isSame) return { seed, failure };
  }
  return undefined;
}
