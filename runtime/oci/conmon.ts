import { readFileSync } from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { Clock } from '../../common/clock.js';
import type { Spawner } from '../../linux/ports.js';
import { mustFd, RUNTIME_ENV, type Crun } from './crun.js';
import { openReadPipe, readPipe, withDeadline } from './pipes.js';

const CONMON = '/usr/bin/conmon';
const SYNC_FD = 3;
const CREATE_TIMEOUT_MS = 60_000;
const MAX_MESSAGE_BYTES = 16 * 1024;

export interface ConmonOptions {
  id: string;
  name: string;
  bundle: string;
  /** Undefined: its output is not kept. */
  log: string | undefined;
  exitDir: string;
  pidFile: string;
  conmonPidFile: string;
  terminal: boolean;
  stdin: boolean;
  /** The container's stdin ends with that of any attached client, or with its connection. */
  stdinOnce: boolean;
}

/** conmon's socket for attaching; packets of stdout and stderr, each with a byte before that says which. */
export function attachSocketOf(bundle: string): string {
  return `${bundle}/attach`;
}
export const STDERR_MARK = 3;
/** conmon would cut a longer packet. */
export const MAX_STDIN_PACKET_BYTES = 8192;

/**
 * Creates a container under conmon, the monitor that holds its output and waits for its exit when
 * the engine is gone.
 * @returns pids of the container's waiting process and of conmon
 * @throws {HatobaError} failed-precondition with what crun said; deadline
 */
export async function createUnderConmon(
  options: ConmonOptions,
  modules: { spawner: Spawner; clock: Clock; crun: Crun },
): Promise<{ pid: number; conmonPid: number }> {
  const child = await modules.spawner.spawn({
    file: CONMON,
    args: toArgs(options, modules.crun),
    env: { ...RUNTIME_ENV, _OCI_SYNCPIPE: String(SYNC_FD) },
    // conmon leaves a file "oom" where it stands.
    cwd: options.bundle,
    fds: [
      { fd: SYNC_FD, pipe: 'write' },
      { fd: 2, pipe: 'write' },
    ],
  });
  // conmon leaves this process behind at once; its answer comes by the pipe, not by an exit code.
  child.exited.catch(() => undefined);
  const sync = openReadPipe(mustFd(child, SYNC_FD));
  const errors = openReadPipe(mustFd(child, 2));
  const complaint = readPipe(errors, MAX_MESSAGE_BYTES);
  const answer = readPipe(sync, MAX_MESSAGE_BYTES, (text) => text.includes('\n'));
  const result = await withDeadline(modules.clock, CREATE_TIMEOUT_MS, answer, () => {
    sync.destroy();
  });
  if (result === 'timeout') {
    errors.destroy();
    throw new HatobaError(
      'deadline',
      `creating container ${options.id}: crun did not answer within ${CREATE_TIMEOUT_MS} ms`,
    );
  }
  const pid = parsePid(result.value);
  if (pid !== undefined) {
    errors.destroy();
    return { pid, conmonPid: readPid(options.conmonPidFile) };
  }
  const said = parseMessage(result.value) ?? (await complaint);
  throw new HatobaError(
    'failed-precondition',
    `creating container ${options.id}: ${said.trim() === '' ? 'conmon ended without a word' : said.trim()}`,
  );
}

function toArgs(options: ConmonOptions, crun: Crun): readonly string[] {
  const runtime = crun.createCommand;
  return [
    '--api-version=1',
    `--cid=${options.id}`,
    `--cuuid=${options.id}`,
    `--name=${options.name}`,
    `--bundle=${options.bundle}`,
    `--container-pidfile=${options.pidFile}`,
    `--conmon-pidfile=${options.conmonPidFile}`,
    `--log-path=${options.log === undefined ? 'none' : `k8s-file:${options.log}`}`,
    `--exit-dir=${options.exitDir}`,
    // Its socket in the bundle, by a short name; and no fsync of the log before the exit is told.
    '--full-attach',
    '--no-sync-log',
    ...(options.terminal ? ['--terminal'] : []),
    ...(options.stdin ? ['--stdin'] : []),
    ...(options.stdin && !options.stdinOnce ? ['--leave-stdin-open'] : []),
    `--runtime=${runtime.path}`,
    ...runtime.args.map((arg) => `--runtime-arg=${arg}`),
  ];
}

/** conmon answers {"data": 1234}, or {"data": -1, "message": "…"}. */
function parsePid(answer: string): number | undefined {
  const pid = Number(/"data":\s*(-?\d+)/.exec(answer)?.[1] ?? -1);
  return pid > 0 ? pid : undefined;
}

function parseMessage(answer: string): string | undefined {
  try {
    const value: unknown = JSON.parse(answer);
    if (typeof value !== 'object' || value === null || !('message' in value)) return undefined;
    return typeof value.message === 'string' ? value.message : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return answer === '' ? undefined : answer;
    throw error;
  }
}

/** Pid in a file; 0 without one. */
export function readPid(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8').trim());
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw error;
  }
}
