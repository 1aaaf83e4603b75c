import { spawn, type ChildProcess } from 'node:child_process';
import {
  mkdir,
  open,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { describeError, HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import { EtcdStore } from '../store/etcd-store.js';
import { etcdArguments, type EtcdArguments } from './etcd-arguments.js';
import { endOrphan } from './orphan.js';

export interface EtcdOptions extends EtcdArguments {
  /** Path or name of the program; "etcd". */
  binary: string;
  pidFile: string;
  /** etcd's output; moved aside to ".1" when it is large at a start. */
  logFile: string;
  /** How long the first start may take. */
  startTimeoutMs?: number;
}

export interface EtcdModules {
  clock: Clock;
  random: Random;
  logger: Logger;
}

/** A running etcd that is started again whenever it dies. */
export interface Etcd extends AsyncDisposable {
  /** For clients on this machine: ["https://127.0.0.1:4379"]. */
  readonly endpoints: readonly string[];
  /** Of the present process; undefined between a death and the next start. */
  readonly pid: number | undefined;
  /** How often it was started. */
  readonly starts: number;
}

const START_TIMEOUT_MS = 30_000;
const PROBE_MS = 25;
const PROBE_TIMEOUT_MS = 1000;
const BACKOFF = { baseMs: 100, maxMs: 5000 };
/** A process that lived this long died of something new. */
const HEALTHY_MS = 10_000;
const STOP_WAIT_MS = 8000;
const MAX_LOG_BYTES = 10 * 1024 * 1024;
const LOG_LINES_SHOWN = 5;
/** Some builds of etcd for ARM start only when told that this is known. */
const ARCHITECTURE = process.arch === 'arm64' ? { ETCD_UNSUPPORTED_ARCH: 'arm64' } : {};
const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Starts etcd as a child with its own ports, data and log, and resolves once it answers a
 * linearizable read. An etcd that a former manager left behind is ended first. Disposing ends the child.
 * @throws {HatobaError} failed-precondition, with the end of etcd's log, when it does not come up
 */
export async function startEtcd(options: EtcdOptions, modules: EtcdModules): Promise<Etcd> {
  const supervisor = new EtcdSupervisor(options, modules);
  try {
    await supervisor.start();
  } catch (error) {
    await supervisor[Symbol.asyncDispose]();
    throw error;
  }
  return supervisor;
}

interface Child {
  process: ChildProcess;
  /** How it ended: "code 1", "signal SIGKILL", or why it could not be started. */
  exited: Promise<string>;
}

/** At most one child lives: a new one is spawned only after the exit of the one before. */
class EtcdSupervisor implements Etcd {
  readonly #options: EtcdOptions;
  readonly #modules: EtcdModules;
  readonly #stop = new AbortController();
  #child: Child | undefined;
  #starts = 0;
  #supervision: Promise<void> | undefined;

  constructor(options: EtcdOptions, modules: EtcdModules) {
    this.#options = options;
    this.#modules = modules;
  }

  get endpoints(): readonly string[] {
    return [`https://127.0.0.1:${this.#options.clientPort}`];
  }
  get pid(): number | undefined {
    return this.#child?.process.pid;
  }
  get starts(): number {
    return this.#starts;
  }

  async start(): Promise<void> {
    const { dataDir, pidFile, clientPort, startTimeoutMs = START_TIMEOUT_MS } = this.#options;
    const { clock, logger } = this.#modules;
    const orphan = await endOrphan(pidFile, dataDir, clock);
    if (orphan !== undefined) logger.info('Ended an etcd left behind', { pid: orphan });
    if (await canConnect(clientPort)) throw portTaken(clientPort); // its answer would pass for ours
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const { exited } = await this.#spawn();
    const deadline = clock.nowMs() + startTimeoutMs;
    const probe = await this.#openProbe();
    try {
      while (!(await isHealthy(clientPort, probe))) {
        const how = await Promise.race([exited, sleep(clock, PROBE_MS)]);
        if (how !== undefined) throw await this.#startFailed(`it ended with ${how}`);
        if (clock.nowMs() >= deadline) throw await this.#startFailed('it does not answer');
      }
    } finally {
      await probe[Symbol.asyncDispose]();
    }
    this.#supervision = this.#supervise(exited);
  }

  async #openProbe(): Promise<EtcdStore> {
    const { tls } = this.#options;
    const [ca, certificate, key] = await Promise.all(
      [tls.ca, tls.certificate, tls.key].map((path) => readFile(path, 'utf8')),
    );
    const credentials = { ca: ca ?? '', certificate: certificate ?? '', key: key ?? '' };
    return new EtcdStore(
      {
        endpoints: this.endpoints,
        tls: { ...credentials, serverName: tls.allowedName },
        requestTimeoutMs: PROBE_TIMEOUT_MS,
      },
      this.#modules,
    );
  }

  /** SIGTERM, and SIGKILL to one that does not listen. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#endChild();
    await this.#supervision;
    await this.#endChild(); // one whose start was under way
    await rm(this.#options.pidFile, { force: true });
  }

  get #isStopping(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Starts a new child after each death. Never rejects. */
  async #supervise(first: Promise<string>): Promise<void> {
    const { clock, random, logger } = this.#modules;
    let failures = 0;
    let exited = first;
    for (;;) {
      const startedMs = clock.nowMs();
      const how = await exited;
      if (this.#isStopping) return;
      failures = clock.nowMs() - startedMs >= HEALTHY_MS ? 1 : failures + 1;
      logger.error('etcd died, starting it again', { how, failures });
      const delayMs = backoffMs(failures, BACKOFF, random);
      const isTime = await sleep(clock, delayMs, this.#stop.signal).then(
        () => true,
        () => false,
      );
      if (!isTime) return;
      exited = this.#spawn().then((child) => child.exited, describeError);
    }
  }

  async #spawn(): Promise<Child> {
    const { binary, logFile, pidFile } = this.#options;
    const log = await openLog(logFile);
    try {
      const process = spawn(binary, etcdArguments(this.#options), {
        env: { PATH: SEARCH_PATH, LC_ALL: 'C', ...ARCHITECTURE },
        stdio: ['ignore', log.fd, log.fd],
        detached: true, // a Ctrl-C in the manager's terminal must not end the store before it
      });
      const child: Child = { process, exited: exitOf(process) };
      this.#child = child;
      this.#starts++;
      void child.exited.then(() => {
        if (this.#child === child) this.#child = undefined;
      });
      if (process.pid !== undefined) await writeFile(pidFile, `${process.pid}\n`, { mode: 0o600 });
      return child;
    } finally {
      await log.close();
    }
  }

  async #endChild(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.process.kill('SIGTERM');
    const cancel = this.#modules.clock.setTimer(STOP_WAIT_MS, () => child.process.kill('SIGKILL'));
    await child.exited;
    cancel();
  }

  async #startFailed(why: string): Promise<HatobaError> {
    const { binary, logFile } = this.#options;
    const lines = (await readFile(logFile, 'utf8').catch(() => '')).trimEnd().split('\n');
    const end = lines.slice(-LOG_LINES_SHOWN).join('\n');
    return new HatobaError(
      'failed-precondition',
      `etcd (${binary}) did not start: ${why}. The end of ${logFile}:\n${end}`,
    );
  }
}

function exitOf(process: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    process.once('error', (error) => resolve(error.message)); // it never ran
    process.once('exit', (code, signal) =>
      resolve(signal === null ? `code ${code ?? 0}` : `signal ${signal}`),
    );
  });
}

async function openLog(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true });
  const size = await stat(path).then(
    (s) => s.size,
    () => 0,
  );
  if (size > MAX_LOG_BYTES) await rename(path, `${path}.1`);
  return open(path, 'a', 0o600);
}

/** etcd listens before it can answer; the port is asked first as it is the cheaper question. */
async function isHealthy(port: number, probe: EtcdStore): Promise<boolean> {
  if (!(await canConnect(port))) return false;
  return probe.checkHealth().then(
    () => true,
    () => false,
  );
}

function portTaken(port: number): HatobaError {
  return new HatobaError(
    'failed-precondition',
    `etcd's port ${port} is taken by another process: stop it, or set etcdClientPort`,
  );
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const settle = (result: boolean): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}
