import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HatobaError } from '../../common/errors.js';

export type DaemonKind = 'manager' | 'agent';

/** The folders of one node. */
export interface NodeFolders {
  /** Survives a reboot; default /var/lib/hatoba. */
  root: string;
  /** Does not; default /run/hatoba. */
  runDir: string;
}

const MAIN = { manager: 'manager/main', agent: 'node-agent/main' } as const;

/** How long a daemon gets after SIGTERM. */
const STOP_MS = 10_000;

/** The configuration file that a daemon is started with. */
export function configFile(kind: DaemonKind, { root }: NodeFolders): string {
  return join(root, `${kind}.yaml`);
}

/** The pid of a running daemon, from its pid file; undefined when it does not run. */
export function daemonPid(kind: DaemonKind, folders: NodeFolders): number | undefined {
  try {
    const pid = Number(readFileSync(join(folders.runDir, `${kind}.pid`), 'utf8'));
    // process.title replaces the command line, so the pid's owner is known by it
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return command.includes(`hatoba-${kind}`) || command.includes(MAIN[kind]) ? pid : undefined;
  } catch {
    return undefined; // no file, or no such process: either way it does not run
  }
}

/**
 * Starts a daemon in the background, its log appended to root/log/KIND.log, and waits until
 * `isReady` says so. One that runs already is left alone.
 * @param launcher argv in front of the daemon's own, for example to enter a namespace
 * @throws {HatobaError} failed-precondition with the last lines of the log when it ends early
 */
export async function startDaemon(
  kind: DaemonKind,
  folders: NodeFolders,
  options: { launcher?: readonly string[]; isReady: () => Promise<boolean>; timeoutMs?: number },
): Promise<void> {
  const { launcher = [], isReady, timeoutMs = 30_000 } = options;
  if (daemonPid(kind, folders) !== undefined && (await isReady())) return;
  const logFile = join(folders.root, 'log', `${kind}.log`);
  const started = { exited: false };
  if (daemonPid(kind, folders) === undefined) {
    await mkdir(join(folders.root, 'log'), { recursive: true });
    await mkdir(folders.runDir, { recursive: true });
    await rm(join(folders.runDir, `${kind}.pid`), { force: true });
    const log = openSync(logFile, 'a');
    const [file, ...args] = [
      ...launcher,
      ...commandOf(kind),
      '--config',
      configFile(kind, folders),
    ];
    const child = spawn(file, args, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
    closeSync(log);
    child.on('exit', () => (started.exited = true));
    child.on('error', () => (started.exited = true));
    child.unref();
  }
  const deadline = Date.now() + timeoutMs;
  while (!(await isReady())) {
    if (started.exited) throw startFailed(kind, 'ended at once', logFile);
    if (Date.now() > deadline)
      throw startFailed(kind, `is not ready after ${timeoutMs / 1000} s`, logFile);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Ends a daemon, containers untouched; success when none runs. */
export async function stopDaemon(kind: DaemonKind, folders: NodeFolders): Promise<void> {
  const pid = daemonPid(kind, folders);
  if (pid === undefined) return;
  process.kill(pid, 'SIGTERM');
  const deadline = Date.now() + STOP_MS;
  while (existsSync(`/proc/${pid}`)) {
    if (Date.now() > deadline) {
      process.kill(pid, 'SIGKILL');
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** node and the daemon's main file: compiled, or from source where this command runs from source. */
function commandOf(kind: DaemonKind): [string, ...string[]] {
  const fromSource = import.meta.url.endsWith('.ts');
  const main = fileURLToPath(
    new URL(`../../${MAIN[kind]}${fromSource ? '.ts' : '.js'}`, import.meta.url),
  );
  // A young generation that may grow to 16 MB does: 25 MB of memory, against some more collections.
  const flags = ['--max-semi-space-size=2'];
  // Registries with certificates of one's own are trusted where the machine trusts them.
  if (kind === 'agent') flags.push('--use-openssl-ca');
  flags.push(...(fromSource ? ['--import', import.meta.resolve('tsx')] : ['--enable-source-maps']));
  return [process.execPath, ...flags, main];
}

function startFailed(kind: DaemonKind, what: string, logFile: string): HatobaError {
  let tail = '';
  try {
    tail = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-8).join('\n');
  } catch {
    tail = '(no log)';
  }
  return new HatobaError(
    'failed-precondition',
    `hatoba-${kind} ${what}; ${logFile} ends with:\n${tail}`,
  );
}
