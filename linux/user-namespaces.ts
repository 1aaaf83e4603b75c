import { close, closeSync, openSync, read, write, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { HatobaError } from '../common/errors.js';
import type { IdMap, IdRange, Spawner } from './ports.js';
import type { CallHandlers } from './protocol.js';
import type { WorkerClient } from './worker-client.js';

const UNSHARE = '/usr/bin/unshare';
const CAT = '/bin/cat';
const STDIN = 0;
const STDOUT = 1;

/**
 * The user namespaces that idmapped mounts are made with, in the worker thread: one for each map,
 * kept as an open descriptor. No process lives in them.
 */
export class UserNamespaces {
  readonly #fds = new Map<string, number>();

  readonly handlers: CallHandlers<'usernamespaces.has' | 'usernamespaces.keep'> = {
    'usernamespaces.has': (idMap) => this.#fds.has(keyOf(idMap)),
    'usernamespaces.keep': (pid, idMap) => {
      if (this.#fds.has(keyOf(idMap))) return;
      writeFileSync(`/proc/${pid}/uid_map`, mapLine(idMap.uids));
      writeFileSync(`/proc/${pid}/gid_map`, mapLine(idMap.gids));
      this.#fds.set(keyOf(idMap), openSync(`/proc/${pid}/ns/user`, 'r'));
    },
  };

  /** @throws {HatobaError} failed-precondition before `keep` */
  fdOf(idMap: IdMap): number {
    const fd = this.#fds.get(keyOf(idMap));
    if (fd !== undefined) return fd;
    throw new HatobaError('failed-precondition', `no user namespace is kept for ${keyOf(idMap)}`);
  }

  close(): void {
    for (const fd of this.#fds.values()) closeSync(fd);
    this.#fds.clear();
  }
}

/**
 * Has the worker keep a user namespace of this map. Node cannot make one itself: a process with
 * threads may not, so a short-lived one does.
 * @throws {HatobaError} failed-precondition where the kernel allows no user namespaces
 */
export async function ensureUserNamespace(
  idMap: IdMap,
  { client, spawner }: { client: WorkerClient; spawner: Spawner },
): Promise<void> {
  if (await client.call('usernamespaces.has', idMap)) return;
  const { pid, pipes, exited } = await spawner.spawn({
    file: UNSHARE,
    args: ['--user', '--', CAT],
    env: {},
    fds: [
      { fd: STDIN, pipe: 'read' },
      { fd: STDOUT, pipe: 'write' },
    ],
  });
  try {
    // cat answers once unshare has made the namespace and become it
    if (!(await echoes(pipes.get(STDIN) ?? -1, pipes.get(STDOUT) ?? -1))) {
      throw new HatobaError(
        'failed-precondition',
        'this machine allows no user namespace; see the sysctl user.max_user_namespaces',
      );
    }
    await client.call('usernamespaces.keep', pid, idMap);
  } finally {
    for (const fd of pipes.values()) await promisify(close)(fd);
    await exited;
  }
}

async function echoes(input: number, output: number): Promise<boolean> {
  try {
    await promisify(write)(input, Buffer.of(1));
    const { bytesRead } = await promisify(read)(output, Buffer.alloc(1), 0, 1, null);
    return bytesRead === 1;
  } catch {
    return false; // it has ended: EPIPE
  }
}

function mapLine({ firstId, count }: IdRange): string {
  return `0 ${firstId} ${count}\n`;
}

function keyOf({ uids, gids }: IdMap): string {
  return `users ${uids.firstId}+${uids.count}, groups ${gids.firstId}+${gids.count}`;
}
