import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type {
  SpawnedProcess,
  SpawnFd,
  Sockets,
  Terminal,
  TerminalListener,
} from '../../linux/ports.js';
import type { ContainerPaths } from '../container/paths.js';
import type { ContainerRecord } from '../container/record.js';
import { readInRoot } from '../container/rootfs-path.js';
import { planExecProcess } from '../core/exec-plan.js';
import { formatOciJson, type OciSpec } from '../core/oci-spec.js';
import { resolveUser, type ResolvedUser } from '../core/user.js';
import type { ExecOptions, ExecSession } from '../engine.js';
import { mustFd, type Crun } from '../oci/crun.js';
import { openReadPipe, openWritePipe, readPipe } from '../oci/pipes.js';
import { CrunExec, readExecPid } from './exec-session.js';
import { sendSignal } from '../oci/send-signal.js';

const SPEC_FD = 3;
const LOG_FD = 4;
const MAX_LOG_BYTES = 16 * 1024;
const MAX_PASSWD_BYTES = 4 * 1024 * 1024;

export interface ExecModules {
  paths: ContainerPaths;
  crun: Crun;
  sockets: Sockets;
  clock: Clock;
  host: { capabilities: ReadonlySet<string> };
}

/**
 * Starts further processes in running containers.
 * 1. Each has a file with its pid in the container's bundle, which goes with the container's run.
 * 2. A new engine ends those that an earlier one has left behind: nobody could hear them any more.
 *    Only those that were started to be left alone run on.
 */
export class Execs {
  readonly #modules: ExecModules;
  #count = 0;

  constructor(modules: ExecModules) {
    this.#modules = modules;
  }

  /** Ends what an earlier engine has started in a container and was still there for. */
  recover({ config, cgroupPath }: ContainerRecord): void {
    const { bundle } = this.#modules.paths.of(config.id);
    if (!existsSync(bundle)) return;
    for (const name of readdirSync(bundle)) {
      const file = `${bundle}/${name}`;
      const pid = name.startsWith(ATTENDED) ? readExecPid(file, cgroupPath) : undefined;
      if (pid !== undefined) sendSignal(pid, 'SIGKILL');
      if (name.startsWith(ATTENDED) || name.startsWith(DETACHED)) rmSync(file, { force: true });
    }
  }

  /**
   * @param record of a running container
   * @throws {HatobaError} invalid-argument for an empty command or an unknown user
   */
  async start(record: ContainerRecord, options: ExecOptions): Promise<ExecSession> {
    const { paths, sockets } = this.#modules;
    const spec = this.#plan(record, options);
    const { bundle } = paths.of(record.config.id);
    // The engine's pid makes the name its own: an exec of a killed engine may still be running.
    const name = `${options.detach === true ? DETACHED : ATTENDED}${process.pid}-${this.#count++}`;
    if (!options.tty) return this.#spawn(record, options, spec, { pidFile: `${bundle}/${name}` });
    const consoleSocket = `${bundle}/${name}.tty`;
    const listener = await sockets.listenForTerminal(consoleSocket);
    try {
      const place = { pidFile: `${bundle}/${name}`, consoleSocket, listener };
      return await this.#spawn(record, options, spec, place);
    } finally {
      await listener.close();
    }
  }

  #plan(record: ContainerRecord, options: ExecOptions): string {
    const { paths, host } = this.#modules;
    const text = readFileSync(paths.of(record.config.id).spec, 'utf8');
    const { process, root } = JSON.parse(text) as OciSpec;
    const user = options.user === '' ? undefined : findUser(root.path, options.user);
    return formatOciJson(planExecProcess(process, options, user, host.capabilities));
  }

  async #spawn(
    { config, cgroupPath }: ContainerRecord,
    options: ExecOptions,
    spec: string,
    place: { pidFile: string; consoleSocket?: string; listener?: TerminalListener },
  ): Promise<CrunExec> {
    const { crun, clock } = this.#modules;
    const { pidFile, consoleSocket } = place;
    const fds = toFds(options);
    const files = { specFd: SPEC_FD, logFd: LOG_FD, pidFile, consoleSocket, fds };
    const child = await crun.exec(config.id, files);
    quiet(openWritePipe(mustFd(child, SPEC_FD))).end(spec);
    const log = readPipe(openReadPipe(mustFd(child, LOG_FD)), MAX_LOG_BYTES);
    const terminal = place.listener && (await takeTerminal(place.listener, child));
    const { command } = options;
    const session = new CrunExec({
      ...{ child, command, pidFile, cgroupPath, log, clock },
      ...(terminal === undefined ? openPipes(child) : { terminal }),
    });
    if (options.detach === true) await leaveAlone(session, config.name);
    return session;
  }
}

/**
 * The terminal of what crun runs. One that crun cannot run has none; a short command may be over
 * before its terminal has come, which crun has sent before.
 */
async function takeTerminal(
  listener: TerminalListener,
  child: SpawnedProcess,
): Promise<Terminal | undefined> {
  const ended = child.exited.then(() => listener.close());
  const first = await Promise.race([listener.terminal, ended]);
  if (first !== undefined) return first;
  return await listener.terminal.catch(() => undefined);
}

/** @throws {HatobaError} failed-precondition when it does not run */
async function leaveAlone(session: CrunExec, container: string): Promise<void> {
  session.stdout.resume();
  session.stderr.resume();
  await session.started();
  if (session.failure === undefined) return;
  throw new HatobaError('failed-precondition', `container ${container}: ${session.failure}`);
}

const ATTENDED = 'exec-';
const DETACHED = 'detached-exec-';

/**
 * By the files as the container has them now. It could swap them while they are read; what is read
 * decides only which user it is inside of that container.
 */
function findUser(rootDir: string, user: string): ResolvedUser {
  return resolveUser(
    { user, groups: [] },
    readInRoot(rootDir, '/etc/passwd', MAX_PASSWD_BYTES),
    readInRoot(rootDir, '/etc/group', MAX_PASSWD_BYTES),
  );
}

/** What is not named here is /dev/null. */
function toFds({ tty, detach, stdin }: ExecOptions): readonly SpawnFd[] {
  const hasPipes = !tty && detach !== true;
  return [
    { fd: SPEC_FD, pipe: 'read' },
    { fd: LOG_FD, pipe: 'write' },
    ...(hasPipes && stdin ? [{ fd: 0, pipe: 'read' } as const] : []),
    ...(hasPipes ? [1, 2].map((fd) => ({ fd, pipe: 'write' }) as const) : []),
  ];
}

function openPipes(child: SpawnedProcess): { stdin?: Writable; stdout?: Socket; stderr?: Socket } {
  const open = (fd: number, openPipe: (fd: number) => Socket): Socket | undefined => {
    const end = child.pipes.get(fd);
    return end === undefined ? undefined : quiet(openPipe(end));
  };
  const [stdin, stdout, stderr] = [
    open(0, openWritePipe),
    open(1, openReadPipe),
    open(2, openReadPipe),
  ];
  return { ...(stdin && { stdin }), ...(stdout && { stdout }), ...(stderr && { stderr }) };
}

/** A process that ends before it has read all is nobody's error. */
function quiet(pipe: Socket): Socket {
  pipe.on('error', () => pipe.destroy());
  return pipe;
}
