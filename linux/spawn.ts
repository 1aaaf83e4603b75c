import { constants } from 'node:os';
import { HatobaError } from '../common/errors.js';
import { errnoError } from './errno.js';
import {
  F_DUPFD_CLOEXEC,
  O_CLOEXEC,
  O_RDWR,
  check,
  checkUnless,
  libc,
  spawnActionsCloseFrom,
} from './libc.js';
import type { SpawnFd, SpawnOptions } from './ports.js';
import type { CallHandlers } from './protocol.js';

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
const WNOHANG = 1;

/** Larger than glibc's posix_spawnattr_t (336), posix_spawn_file_actions_t (80), sigset_t (128). */
const OPAQUE_BYTES = 512;

/** Starts processes and collects them; see Spawner in ports.ts. */
export class ProcessSpawner implements CallHandlers<'spawner.spawn' | 'spawner.reap'> {
  readonly #children = new Set<number>();
  readonly #onExit: (pid: number, exitCode: number) => void;

  /** @param onExit called once for each process spawned, from within reap */
  constructor(onExit: (pid: number, exitCode: number) => void) {
    this.#onExit = onExit;
  }

  'spawner.spawn'(options: SpawnOptions): { pid: number; pipes: ReadonlyMap<number, number> } {
    if (!options.file.startsWith('/')) {
      throw new HatobaError(
        'invalid-argument',
        `spawning "${options.file}": give the program's absolute path`,
      );
    }
    const plumbing = new Plumbing(options);
    try {
      const pid = posixSpawn(options, plumbing.childEnds);
      this.#children.add(pid);
      return { pid, pipes: plumbing.release() };
    } finally {
      plumbing.close();
    }
  }

  /** Linear in the children that live, which are few: monitors detach at once. */
  'spawner.reap'(): void {
    const status = Buffer.alloc(4);
    for (const pid of this.#children) {
      // ECHILD: somebody else of this process collected it; its exit code is lost, not its exit.
      const waited = libc.waitpid(pid, status, WNOHANG);
      if (waited === 0) continue;
      const isCollected = checkUnless(waited, ['ECHILD'], `waiting for process ${pid}`);
      this.#children.delete(pid);
      this.#onExit(pid, isCollected ? toExitCode(status.readInt32LE()) : 255);
    }
  }
}

/** Exit code of a wait status (wait(2)): 0–255, or 128 + signal. */
export function toExitCode(waitStatus: number): number {
  const signal = waitStatus & 0x7f;
  return signal === 0 ? (waitStatus >> 8) & 0xff : 128 + signal;
}

/**
 * The descriptors of one spawn.
 * 1. Every descriptor made here is close-on-exec, so that no other child inherits it.
 * 2. The child's ends are numbered above all the numbers they take in the child, so that the order
 *    in which they are put in place does not matter.
 */
class Plumbing {
  /** Number in the child → the descriptor here that it becomes. */
  readonly childEnds = new Map<number, number>();
  readonly #parentEnds = new Map<number, number>();
  readonly #action: string;
  readonly #firstFree: number;

  constructor(options: SpawnOptions) {
    this.#action = `spawning ${options.file}`;
    const wanted = options.fds ?? [];
    this.#firstFree = Math.max(2, ...wanted.map((w) => w.fd)) + 1;
    try {
      for (const want of wanted) this.#add(want);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The parent's ends, which from now on belong to the caller. */
  release(): ReadonlyMap<number, number> {
    const ends = new Map(this.#parentEnds);
    this.#parentEnds.clear();
    return ends;
  }

  close(): void {
    for (const fd of [...this.childEnds.values(), ...this.#parentEnds.values()]) libc.close(fd);
    this.childEnds.clear();
    this.#parentEnds.clear();
  }

  #add(want: SpawnFd): void {
    if ('inherit' in want) {
      this.childEnds.set(want.fd, this.#duplicate(want.inherit));
      return;
    }
    const ends = Buffer.alloc(8);
    check(libc.pipe2(ends, O_CLOEXEC), this.#action);
    const [readEnd, writeEnd] = [ends.readInt32LE(0), ends.readInt32LE(4)];
    const [childEnd, parentEnd] = want.pipe === 'read' ? [readEnd, writeEnd] : [writeEnd, readEnd];
    this.#parentEnds.set(want.fd, parentEnd);
    try {
      this.childEnds.set(want.fd, this.#duplicate(childEnd));
    } finally {
      libc.close(childEnd);
    }
  }

  #duplicate(fd: number): number {
    const copy = libc.fcntl(fd, F_DUPFD_CLOEXEC, this.#firstFree);
    return check(copy, `${this.#action}: passing descriptor ${fd}`);
  }
}

function posixSpawn(options: SpawnOptions, childEnds: ReadonlyMap<number, number>): number {
  const action = `spawning ${options.file}`;
  const actions = Buffer.alloc(OPAQUE_BYTES);
  const attributes = Buffer.alloc(OPAQUE_BYTES);
  const pid = Buffer.alloc(4);
  libc.spawnActionsInit(actions);
  libc.spawnAttributesInit(attributes);
  try {
    addFileActions(actions, options, childEnds, action);
    addAttributes(attributes, options.newSession === true, action);
    const argv = [options.file, ...options.args, null];
    const envp = [...Object.entries(options.env).map(([k, v]) => `${k}=${v}`), null];
    const errno = libc.posixSpawn(pid, options.file, actions, attributes, argv, envp);
    checkReturned(errno, action);
  } finally {
    libc.spawnActionsDestroy(actions);
    libc.spawnAttributesDestroy(attributes);
  }
  return pid.readInt32LE();
}

function addFileActions(
  actions: Uint8Array,
  options: SpawnOptions,
  childEnds: ReadonlyMap<number, number>,
  action: string,
): void {
  for (const fd of [0, 1, 2]) {
    if (childEnds.has(fd)) continue;
    checkReturned(libc.spawnActionsOpen(actions, fd, '/dev/null', O_RDWR, 0), action);
  }
  for (const [fd, from] of childEnds) {
    checkReturned(libc.spawnActionsDup2(actions, from, fd), action);
  }
  // What this process itself was started with (a log pipe of its starter) must not live on in
  // monitors that outlive it.
  const firstUnused = Math.max(2, ...childEnds.keys()) + 1;
  for (let fd = 3; fd < firstUnused; fd++) {
    if (!childEnds.has(fd)) checkReturned(libc.spawnActionsClose(actions, fd), action);
  }
  if (spawnActionsCloseFrom !== undefined) {
    checkReturned(spawnActionsCloseFrom(actions, firstUnused), action);
  }
  if (options.cwd !== undefined) {
    checkReturned(libc.spawnActionsChdir(actions, options.cwd), action);
  }
}

/** Node ignores SIGPIPE and may block signals: the child starts as if from a shell. */
function addAttributes(attributes: Uint8Array, newSession: boolean, action: string): void {
  const flags =
    POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (newSession ? POSIX_SPAWN_SETSID : 0);
  const none = Buffer.alloc(OPAQUE_BYTES);
  const all = Buffer.alloc(OPAQUE_BYTES, 0xff);
  checkReturned(libc.spawnAttributesFlags(attributes, flags), action);
  checkReturned(libc.spawnAttributesMask(attributes, none), action);
  checkReturned(libc.spawnAttributesDefault(attributes, all), action);
}

/** These functions return the errno itself. */
function checkReturned(errno: number, action: string): void {
  if (errno === 0) return;
  if (errno === constants.errno.ENOENT) {
    throw errnoError(action, errno, 'no such program, or its working directory is missing');
  }
  throw errnoError(action, errno);
}
