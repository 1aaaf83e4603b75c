/**
 * An engine in a process of its own that creates, starts, stops, restarts, pauses and removes three
 * containers, as its seed has it, and kills itself after so many steps.
 */
import { isKind } from '../../common/errors.js';
import type { Containers } from '../../runtime/engine.js';
import { aContainer, openContainerRig } from './container-rig.js';
import { seededRandom } from './seeded-random.js';

const IDS = ['a', 'b', 'c'];

const [root = '', cgroupParent = '', seed = '0', steps = '1'] = process.argv.slice(2);
const random = seededRandom(Number(seed));
let left = Number(steps);
const onStep = (): void => {
  if (--left === 0) process.kill(process.pid, 'SIGKILL');
};

const rig = await openContainerRig({ root, cgroupParent }, onStep);
rig.containers.onEvent(onStep);
rig.hooks.beforeRestart = () => {
  onStep();
  return Promise.resolve();
};
for (;;) await Promise.all(IDS.map((id) => act(id, rig.containers)));

async function act(id: string, containers: Containers): Promise<void> {
  onStep();
  try {
    await pick([
      () => containers.create(aNew(id)),
      () => containers.start(id),
      () => containers.start(id),
      () => containers.stop(id, { graceMs: 0 }),
      () => containers.restart(id, { graceMs: 0 }),
      () => containers.pause(id),
      () => containers.unpause(id),
      () => containers.rename(id, `${id}-${Math.floor(random.next() * 10)}`),
      () => containers.remove(id, { force: true }),
    ])();
  } catch (error) {
    // Most of it is not possible at the time; anything else is a mistake.
    if (!isKind(error, 'not-found', 'already-exists', 'failed-precondition')) throw error;
  }
}

function aNew(id: string): ReturnType<typeof aContainer> {
  const args = pick([['true'], ['sleep', '1000'], ['sleep', '1000']]);
  const restart = { name: pick(['no', 'always', 'on-failure'] as const), maximumRetryCount: 0 };
  return aContainer(id, args, { image: 'box-volume' }, { restart });
}

function pick<T>(from: readonly T[]): T {
  return from[Math.floor(random.next() * from.length)] as T;
}
