import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ContainerState } from '../../../runtime/engine.js';
import { detectCgroups } from '../../../runtime/cgroup/cgroup-fs.js';
import { openContainerRig, type ContainerRig } from '../../support/container-rig.js';
import { eventually } from '../../support/eventually.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { seededRandom } from '../../support/seeded-random.js';

const CHILD = fileURLToPath(new URL('../../support/container-chaos-child.ts', import.meta.url));
const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 5);
const SEED = Number(process.env['CHAOS_SEED'] ?? 1);
const MAX_STEPS = 400;

describe('containers on crun: an engine that is killed anywhere', function () {
  this.timeout(ROUNDS * 60_000);
  const folders = { root: '', cgroupParent: `/hatoba-test-runtime-${process.pid}-chaos` };
  let rig: ContainerRig | undefined;

  before(function () {
    requiresRoot(this);
    requiresCommand(this, 'crun');
    requiresCommand(this, 'conmon');
  });

  afterEach(async () => {
    if (folders.root !== '') rig ??= await openContainerRig(folders);
    await rig?.close();
  });

  it(`tells the truth afterwards, and leaves nothing behind (seed ${SEED})`, async () => {
    folders.root = mkdtempSync('/var/tmp/ht-runtime-');
    const random = seededRandom(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      const steps = 1 + Math.floor(random.next() * MAX_STEPS);
      await killAfter(SEED * 1000 + round, steps);
      rig = await openContainerRig(folders);
      await checkTruth(rig, `round ${round}, ${steps} steps`);
      // What is there must work, and what works must be the same for the next engine.
      for (const { config } of rig.containers.list()) {
        await rig.containers.start(config.id);
        if (round % 2 === 1) await rig.containers.remove(config.id, { force: true });
      }
      await checkTruth(rig, `round ${round}, ${steps} steps, afterwards`);
      if (round === ROUNDS - 1) break;
      await rig.abandon();
      rig = undefined;
    }
  });

  async function killAfter(seed: number, steps: number): Promise<void> {
    const args = [folders.root, folders.cgroupParent, String(seed), String(steps)];
    const child = spawn(process.execPath, ['--import', 'tsx', CHILD, ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    assert.equal(signal, 'SIGKILL', 'it ends by its own hand, not by a mistake');
  }

  /** Holds at once for what the engine says, and soon for what it clears up in the background. */
  async function checkTruth(on: ContainerRig, when: string): Promise<void> {
    await eventually(() => {
      const states = on.containers.list();
      for (const state of states) checkProcess(state, when);
      checkFolders(on, states, when);
    });
  }

  function checkProcess({ config, status, pid, cgroupPath }: ContainerState, when: string): void {
    const what = `${when}: container ${config.id} is ${status}`;
    const inside = processesIn(cgroupPath);
    if (status === 'running' || status === 'paused') {
      assert.ok(inside.includes(pid), `${what}, but process ${pid} is not there`);
    } else if (status === 'created') {
      assert.ok(
        inside.every((p) => p === pid),
        `${what}, with processes ${inside.join()}`,
      );
    } else {
      assert.deepEqual(inside, [], `${what}, with processes`);
    }
  }

  function checkFolders(on: ContainerRig, states: readonly ContainerState[], when: string): void {
    const ids = states.map((s) => s.config.id);
    const alive = states.filter((s) => s.pid > 0).map((s) => s.config.id);
    const expected: [string, readonly string[]][] = [
      [join(on.stateDir, 'containers'), ids],
      [join(on.stateDir, 'snapshots'), ids],
      [join(on.runDir, 'containers'), alive],
      [join(on.runDir, 'crun'), alive],
    ];
    for (const [folder, names] of expected) {
      const found = readdirSync(folder).filter((name) => !name.startsWith('.'));
      assert.deepEqual(found.toSorted(), names.toSorted(), `${when}: ${folder}`);
    }
    const volumes = states.flatMap((s) => s.mounts.map((m) => m.name));
    const kept = readdirSync(join(on.stateDir, 'volumes')).filter((name) => !name.startsWith('.'));
    assert.deepEqual(kept.toSorted(), volumes.toSorted(), `${when}: volumes`);
    assert.equal(new Set(states.map((s) => s.config.name)).size, states.length, 'unique names');
  }

  function processesIn(cgroupPath: string): number[] {
    const { memoryRoot } = detectCgroups();
    const file = `${memoryRoot}${cgroupPath}/cgroup.procs`;
    return existsSync(file)
      ? readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number)
      : [];
  }
});
