import { closeSync, constants, existsSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { SpawnedProcess, SpawnFd, Spawner } from '../../linux/ports.js';
import { openReadPipe, readPipe } from './pipes.js';

const CRUN = '/usr/bin/crun';
const NSENTER = '/usr/bin/nsenter';
const MAX_ERROR_BYTES = 4096;

/** Environment of every program started for a container: nothing of the engine's own. */
export const RUNTIME_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
};

export interface CrunOptions {
  /** Where crun keeps what it knows of each container; must not survive a reboot. */
  root: string;
  /** Mount namespace to run `create` in (hybrid cgroups), if any. */
  mountNamespace: string | undefined;
}

/** crun, the OCI runtime: how to call it, and what Hatoba does faster in its place. */
export class Crun {
  readonly #options: CrunOptions;
  readonly #spawner: Spawner;

  constructor(options: CrunOptions, spawner: Spawner) {
    this.#options = options;
    this.#spawner = spawner;
  }

  /** Program and arguments that conmon puts before "create --bundle …". */
  get createCommand(): { path: string; args: readonly string[] } {
    const { mountNamespace } = this.#options;
    if (mountNamespace === undefined) return { path: CRUN, args: this.#globalArgs };
    return {
      path: NSENTER,
      args: [`--mount=${mountNamespace}`, '--', CRUN, ...this.#globalArgs],
    };
  }

  /** Whether crun knows a container; it forgets all with a reboot. */
  isKnown(id: string): boolean {
    return existsSync(`${this.#options.root}/${id}/status`);
  }

  /** Whether a container that was created still waits for its start. */
  isWaiting(id: string): boolean {
    return existsSync(this.#fifo(id));
  }

  /**
   * Lets a created container run: what `crun start` does, without a process and at once (8 ms).
   * The container's init waits at the reading end of a fifo. That is an internal of crun.
   * @returns false for a crun that does it in another way; then call `start`
   * @throws {HatobaError} failed-precondition when the container's process is gone
   */
  startByFifo(id: string): boolean {
    const fifo = this.#fifo(id);
    let fd: number;
    try {
      fd = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      if (errnoOf(error) !== 'ENXIO') throw error;
      throw new HatobaError(
        'failed-precondition',
        `container ${id} cannot start: its process has ended; remove it and create it again`,
        { cause: error },
      );
    }
    try {
      // Gone before the byte is there, as crun has it: its absence means "running" to `crun exec`.
      unlinkSync(fifo);
      writeSync(fd, '1');
    } finally {
      closeSync(fd);
    }
    return true;
  }

  /** @throws {HatobaError} internal with what crun said */
  async start(id: string): Promise<void> {
    const child = await this.#spawner.spawn({
      file: CRUN,
      args: [...this.#globalArgs, 'start', id],
      env: RUNTIME_ENV,
      fds: [{ fd: 2, pipe: 'write' }],
    });
    const said = await readPipe(openReadPipe(mustFd(child, 2)), MAX_ERROR_BYTES);
    const exitCode = await child.exited;
    if (exitCode === 0) return;
    throw new HatobaError('internal', `starting container ${id}: crun: ${said.trim()}`);
  }

  /**
   * Runs a further process in a running container, and ends with it and its exit code.
   * @param options.specFd child descriptor from which crun reads the process as JSON
   * @param options.logFd child descriptor to which crun writes its own complaints; see parseCrunLog
   * @param options.pidFile written once the process runs
   * @param options.consoleSocket to which the process's terminal is sent, if it has one
   */
  exec(
    id: string,
    options: {
      specFd: number;
      logFd: number;
      pidFile: string;
      consoleSocket: string | undefined;
      fds: readonly SpawnFd[];
    },
  ): Promise<SpawnedProcess> {
    const { specFd, logFd, pidFile, consoleSocket, fds } = options;
    const args = [
      ...this.#globalArgs,
      `--log=/proc/self/fd/${logFd}`,
      '--log-format=json',
      'exec',
      `--process=/proc/self/fd/${specFd}`,
      `--pid-file=${pidFile}`,
      ...(consoleSocket === undefined ? [] : [`--console-socket=${consoleSocket}`]),
      id,
    ];
    return this.#spawner.spawn({ file: CRUN, args, env: RUNTIME_ENV, fds });
  }

  get #globalArgs(): readonly string[] {
    return [`--root=${this.#options.root}`, '--cgroup-manager=cgroupfs'];
  }

  #fifo(id: string): string {
    return `${this.#options.root}/${id}/exec.fifo`;
  }
}

/** The parent's end of a pipe that was asked for. */
export function mustFd(child: SpawnedProcess, fd: number): number {
  const end = child.pipes.get(fd);
  if (end === undefined) throw new HatobaError('internal', `no pipe for descriptor ${fd}`);
  return end;
}

/** What crun says in its log, one message a line; lines that are no JSON are as they are. */
export function parseCrunLog(text: string): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(messageOf)
    .join('; ');
}

function messageOf(line: string): string {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== 'object' || value === null || !('msg' in value)) return line;
    return typeof value.msg === 'string' ? value.msg.trim() : line;
  } catch {
    return line;
  }
}
