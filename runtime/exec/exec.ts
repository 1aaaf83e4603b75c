import { existsSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { PassThrough, Writable, type Readable } from 'node:stream';
import { sleep, type Clock } from '../../common/clock.js';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { SpawnedProcess, SpawnFd, Spawner } from '../../linux/ports.js';
import type { ContainerPaths } from '../container/paths.js';
import type { ContainerRecord } from '../container/record.js';
import { readInRoot } from '../container/rootfs-path.js';
import { formatOciJson, type OciProcess, type OciRlimit, type OciSpec } from '../core/oci-spec.js';
import { mergeEnv } from '../core/process-plan.js';
import { resolveUser, type ResolvedUser } from '../core/user.js';
import type { ExecOptions, ExecSession } from '../engine.js';
import { mustFd, RUNTIME_ENV, type Crun } from '../oci/crun.js';
import { openReadPipe, openWritePipe } from '../oci/pipes.js';

const SPEC_FD = 3;
const MAX_PASSWD_BYTES = 4 * 1024 * 1024;
/** crun's own exit code for any failure of its own. */
const CRUN_FAILED = 255;
/** A shell's exit code for a command that cannot be found; Docker's too. */
const NOT_FOUND = 127;
/** How long a kill waits to learn the pid of a process that is just starting. */
const PID_LOOKS = 200;
const PID_LOOK_AGAIN_MS = 10;

export interface ExecModules {
  paths: ContainerPaths;
  crun: Crun;
  spawner: Spawner;
  clock: Clock;
}

/** Starts further processes in running containers. */
export class Execs {
  readonly #modules: ExecModules;
  #count = 0;

  constructor(modules: ExecModules) {
    this.#modules = modules;
  }

  /**
   * @param record of a running container
   * @throws {HatobaError} invalid-argument for an empty command or an unknown user
   */
  async start(record: ContainerRecord, options: ExecOptions): Promise<ExecSession> {
    const { id } = record.config;
    const files = this.#modules.paths.of(id);
    const spec = JSON.parse(readFileSync(files.spec, 'utf8')) as OciSpec;
    const process = planExecProcess(spec, options);
    // The engine's pid makes the name its own: an exec of a killed engine may still be running.
    const pidFile = `${files.dir}/exec-${globalThis.process.pid}-${this.#count++}.pid`;
    const fds = toFds(options);
    const child = await this.#modules.crun.exec(id, {
      specFd: SPEC_FD,
      pidFile,
      fds,
      tty: options.tty,
    });
    quiet(openWritePipe(mustFd(child, SPEC_FD))).end(formatOciJson(process));
    const place = { pidFile, cgroupPath: record.cgroupPath };
    return new PipeSession(child, place, options, this.#modules);
  }
}

/** An exec whose streams are pipes. */
class PipeSession implements ExecSession {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exitCode: Promise<number>;
  readonly #child: SpawnedProcess;
  readonly #place: { pidFile: string; cgroupPath: string };
  readonly #modules: Pick<ExecModules, 'spawner' | 'clock'>;
  #hasEnded = false;

  constructor(
    child: SpawnedProcess,
    place: { pidFile: string; cgroupPath: string },
    options: ExecOptions,
    modules: Pick<ExecModules, 'spawner' | 'clock'>,
  ) {
    this.#child = child;
    this.#place = place;
    this.#modules = modules;
    this.stdin = child.pipes.has(0) ? quiet(openWritePipe(mustFd(child, 0))) : closedInput();
    this.stdout = quiet(openReadPipe(mustFd(child, 1)));
    this.stderr = options.tty ? ended() : quiet(openReadPipe(mustFd(child, 2)));
    this.exitCode = this.#collect();
  }

  async resize(size: { rows: number; columns: number }): Promise<void> {
    const pid = this.#processPid();
    if (pid === undefined || this.#hasEnded) return;
    // crun passes no later sizes on; the terminal can be told directly, through the process's own.
    const stty = await this.#modules.spawner.spawn({
      file: '/usr/bin/stty',
      args: ['-F', `/proc/${pid}/fd/0`, 'rows', String(size.rows), 'cols', String(size.columns)],
      env: RUNTIME_ENV,
    });
    await stty.exited;
  }

  async kill(): Promise<void> {
    // Its output may be here before crun has written its pid; crun alone must not be killed then.
    let pid = this.#processPid();
    for (let look = 1; pid === undefined && !this.#hasEnded && look < PID_LOOKS; look++) {
      await sleep(this.#modules.clock, PID_LOOK_AGAIN_MS);
      pid = this.#processPid();
    }
    if (this.#hasEnded) return;
    if (pid !== undefined) kill(pid);
    kill(this.#child.pid);
  }

  async #collect(): Promise<number> {
    const exitCode = await this.#child.exited;
    this.#hasEnded = true;
    const didRun = existsSync(this.#place.pidFile);
    rmSync(this.#place.pidFile, { force: true });
    return exitCode === CRUN_FAILED && !didRun ? NOT_FOUND : exitCode;
  }

  /** As this machine sees it, while it is the container's: its number may be another's by now. */
  #processPid(): number | undefined {
    try {
      const pid = Number(readFileSync(this.#place.pidFile, 'utf8').trim());
      if (!(pid > 0)) return undefined;
      const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
      return cgroups.some((line) => line.endsWith(this.#place.cgroupPath)) ? pid : undefined;
    } catch (error) {
      if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
  }
}

/** The container's own process, with what the caller wants otherwise. */
function planExecProcess(spec: OciSpec, options: ExecOptions): OciProcess {
  const base = spec.process;
  if (options.command.length === 0) {
    throw new HatobaError('invalid-argument', 'nothing to execute: the command is empty');
  }
  const user = options.user === '' ? undefined : findUser(spec.root.path, options.user);
  return {
    ...base,
    terminal: options.tty,
    ...(options.tty &&
      options.size && {
        consoleSize: { height: options.size.rows, width: options.size.columns },
      }),
    args: options.command,
    env: mergeEnv(
      base.env,
      user === undefined ? [] : [`HOME=${user.home}`],
      options.tty ? ['TERM=xterm'] : [],
      options.env,
    ),
    cwd: options.dir === '' ? base.cwd : options.dir,
    user:
      user === undefined
        ? base.user
        : { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    rlimits: base.rlimits.map(restoreUnlimited),
  };
}

/** By the files as the container has them now. */
function findUser(rootDir: string, user: string): ResolvedUser {
  return resolveUser(
    { user, groups: [] },
    readInRoot(rootDir, '/etc/passwd', MAX_PASSWD_BYTES),
    readInRoot(rootDir, '/etc/group', MAX_PASSWD_BYTES),
  );
}

/** 2^64-1 comes back from JSON as the nearest number there is. */
function restoreUnlimited(limit: OciRlimit): OciRlimit {
  const restore = (value: OciRlimit['soft']): OciRlimit['soft'] =>
    typeof value === 'number' && value >= 2 ** 64 ? 'unlimited' : value;
  return { ...limit, soft: restore(limit.soft), hard: restore(limit.hard) };
}

function toFds(options: ExecOptions): readonly SpawnFd[] {
  return [
    { fd: SPEC_FD, pipe: 'read' },
    ...(options.stdin || options.tty ? [{ fd: 0, pipe: 'read' } as const] : []),
    { fd: 1, pipe: 'write' },
    ...(options.tty ? [] : [{ fd: 2, pipe: 'write' } as const]),
  ];
}

/** A process that ends before it has read all is nobody's error. */
function quiet(pipe: Socket): Socket {
  pipe.on('error', () => pipe.destroy());
  return pipe;
}

function closedInput(): Writable {
  const input = new Writable({
    write: (_chunk, _encoding, done) => done(),
  });
  input.end();
  return input;
}

function ended(): Readable {
  const stream = new PassThrough();
  stream.end();
  return stream;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}
