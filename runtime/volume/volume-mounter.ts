import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Mounts, Spawner } from '../../linux/ports.js';
import type { VolumeMountPlan } from '../core/volume-options.js';
import { mustFd, RUNTIME_ENV } from '../oci/crun.js';
import { openReadPipe, readPipe, withDeadline } from '../oci/pipes.js';

const MOUNT = '/usr/bin/mount';
const MAX_ERROR_BYTES = 4096;
/** A server that does not answer keeps mount(8) for minutes. */
const MOUNT_TIMEOUT_MS = 60_000;

/**
 * Mounts volumes that are more than a folder, by mount(8): it knows the helpers of network file
 * systems, and one that hangs holds up nobody else.
 */
export class VolumeMounter {
  readonly #spawner: Spawner;
  readonly #mounts: Pick<Mounts, 'unmount' | 'list'>;
  readonly #clock: Clock;

  constructor(modules: {
    spawner: Spawner;
    mounts: Pick<Mounts, 'unmount' | 'list'>;
    clock: Clock;
  }) {
    this.#spawner = modules.spawner;
    this.#mounts = modules.mounts;
    this.#clock = modules.clock;
  }

  /** Mounted already: success. @throws {HatobaError} failed-precondition in mount's own words */
  async mount(name: string, plan: VolumeMountPlan, target: string): Promise<void> {
    if (await this.#isMounted(target)) return;
    const child = await this.#spawner.spawn({
      file: MOUNT,
      args: [
        '--types',
        plan.type,
        ...(plan.options.length > 0 ? ['--options', plan.options.join(',')] : []),
        '--source',
        plan.device,
        '--target',
        target,
      ],
      env: RUNTIME_ENV,
      fds: [{ fd: 2, pipe: 'write' }],
    });
    const said = readPipe(openReadPipe(mustFd(child, 2)), MAX_ERROR_BYTES);
    const exited = await withDeadline(this.#clock, MOUNT_TIMEOUT_MS, child.exited, () => {
      process.kill(child.pid, 'SIGKILL');
    });
    if (exited !== 'timeout' && exited.value === 0) return;
    const reason = exited === 'timeout' ? 'it takes too long' : oneLine(await said);
    const what = `mounting volume ${name} (type ${plan.type}, device ${plan.device})`;
    throw new HatobaError('failed-precondition', `${what}: ${reason}${hint(plan, reason)}`);
  }

  async unmount(target: string): Promise<void> {
    if (await this.#isMounted(target)) await this.#mounts.unmount(target);
  }

  async #isMounted(target: string): Promise<boolean> {
    return (await this.#mounts.list(target)).includes(target);
  }
}

function oneLine(text: string): string {
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim())
    .join('; ');
}

function hint(plan: VolumeMountPlan, reason: string): string {
  return /helper program/.test(reason)
    ? `; install what mounts ${plan.type} (for nfs the package nfs-common)`
    : '';
}
