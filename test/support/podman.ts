import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { join } from 'node:path';
import { removeTree } from '../../runtime/content/remove-tree.js';

const run = promisify(execFile);

/**
 * crun refuses hosts that have both versions of cgroups: the second is hidden from it. Nor shall
 * anything of podman stay on this machine.
 */
const IN_ITS_OWN_PLACE = [
  'for dir in /run /dev/shm /var/lib/containers; do',
  '[ ! -d $dir ] || mount -t tmpfs none $dir',
  'done',
  'while read -r _ at type _; do',
  '[ "$type" = cgroup2 ] && [ "$at" != /sys/fs/cgroup ] && mount -t tmpfs none "$at"',
  'done </proc/self/mounts; exec podman "$@"',
].join('\n');

/** Debian's podman, with its files in a folder of a test and its mounts in a namespace of its own. */
export class Podman {
  readonly #folder: string;
  readonly #flags: readonly string[];

  /** @param folder is made, and deleted at the end */
  constructor(folder: string) {
    this.#folder = folder;
    this.#flags = [
      ...['--root', join(folder, 'root'), '--runroot', join(folder, 'run')],
      ...['--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs'],
      ...['--events-backend', 'none', '--runtime', '/usr/bin/crun'],
    ];
  }

  /** `podman ARGS`; its output without the line end. @throws with what it says on stderr */
  async call(...args: readonly string[]): Promise<string> {
    const words = ['--mount', '--propagation', 'private', 'sh', '-c', IN_ITS_OWN_PLACE, 'podman'];
    const { stdout } = await run('unshare', [...words, ...this.#flags, ...args]);
    return stdout.trimEnd();
  }

  /** Runs a command in a container of an image that is here; limits are those of this process. */
  async run(image: string, ...command: readonly string[]): Promise<string> {
    const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'];
    return await this.call(
      ...['run', '--rm', '--pull=never', '--network=none', '--cgroups=disabled'],
      ...[...limits, image, ...command],
    );
  }

  async close(): Promise<void> {
    await this.call('rmi', '--all', '--force');
    await removeTree(this.#folder);
  }
}
