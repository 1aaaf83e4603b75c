import { existsSync, readFileSync, rmSync } from 'node:fs';
import { Writable, type Duplex, type Readable } from 'node:stream';
import { sleep, type Clock } from '../../common/clock.js';
import { errnoOf } from '../../common/errors.js';
import type { SpawnedProcess, Terminal } from '../../linux/ports.js';
import { execFailure } from '../core/exec-plan.js';
import type { ExecSession, TerminalSize } from '../engine.js';
import { parseCrunLog } from '../oci/crun.js';
import { withDeadline } from '../oci/pipes.js';
import { PacedOutput } from './paced-output.js';
import { sendSignal } from '../oci/send-signal.js';

/** How long a kill waits to learn the pid of a process that is just starting. */
const PID_LOOKS = 200;
const PID_LOOK_AGAIN_MS = 10;
/** What a command has left running may keep its output open: it ends when it is quiet so long. */
const QUIET_MS = 2000;
const CTRL_D = '\x04';

export interface ExecParts {
  child: SpawnedProcess;
  command: readonly string[];
  pidFile: string;
  cgroupPath: string;
  /** What crun says, to its end. */
  log: Promise<string>;
  stdin?: Writable;
  stdout?: Readable;
  stderr?: Readable;
  /** In place of the three. */
  terminal?: Terminal;
  clock: Clock;
}

/** A further process of a container, by the crun that waits for it. */
export class CrunExec implements ExecSession {
  readonly stdin: Writable;
  readonly stdout = new PacedOutput();
  readonly stderr = new PacedOutput();
  readonly exitCode: Promise<number>;
  /** Why it did not run, once that is known. */
  failure: string | undefined;
  readonly #parts: ExecParts;
  #hasEnded = false;

  constructor(parts: ExecParts) {
    const { terminal, stdin, stdout, stderr } = parts;
    this.#parts = parts;
    this.stdin = terminal === undefined ? (stdin ?? closedInput()) : typing(terminal.stream);
    const relays = [
      relay(terminal?.stream ?? stdout, this.stdout, true),
      // crun's complaint may be added to it at the end.
      relay(stderr, this.stderr, false),
    ];
    this.exitCode = this.#collect(relays);
    this.exitCode.catch(() => undefined); // for whoever waits
  }

  async resize(size: TerminalSize): Promise<void> {
    if (!this.#hasEnded) await this.#parts.terminal?.resize(size);
  }

  async kill(): Promise<void> {
    // Its output may be here before crun has written its pid; crun alone must not be killed then.
    await this.started();
    if (this.#hasEnded) return;
    const { pidFile, cgroupPath, child } = this.#parts;
    const pid = readExecPid(pidFile, cgroupPath);
    if (pid !== undefined) sendSignal(pid, 'SIGKILL');
    sendSignal(child.pid, 'SIGKILL');
  }

  /** Resolves when it runs, or has ended. */
  async started(): Promise<void> {
    const { pidFile, clock } = this.#parts;
    for (let look = 1; look < PID_LOOKS; look++) {
      if (hasText(pidFile)) return;
      if (this.#hasEnded) {
        await this.exitCode;
        return;
      }
      await sleep(clock, PID_LOOK_AGAIN_MS);
    }
  }

  async #collect(relays: readonly Relay[]): Promise<number> {
    const { child, pidFile, log, command } = this.#parts;
    let exitCode = await child.exited;
    this.#hasEnded = true;
    const didRun = existsSync(pidFile);
    rmSync(pidFile, { force: true });
    // crun's own exit code is 1 or 255, which the command's may be too; so what it says decides.
    const complaint = didRun ? '' : parseCrunLog(await log);
    if (complaint !== '') {
      const failure = execFailure(complaint, command);
      this.failure = failure.text;
      this.stderr.give(Buffer.from(`${failure.text}\n`));
      ({ exitCode } = failure);
    }
    // Not awaited: the exit code is known now.
    for (const one of relays) void this.#finish(one);
    return exitCode;
  }

  /** Ends an output once all of it is there. */
  async #finish({ source, output, ended }: Relay): Promise<void> {
    for (;;) {
      const seen = output.givenBytes;
      const result = await withDeadline(this.#parts.clock, QUIET_MS, ended, () => undefined);
      if (result !== 'timeout') break;
      if (seen === output.givenBytes && output.behindBytes === 0) break;
    }
    source?.destroy();
    output.end();
  }
}

interface Relay {
  source: Readable | undefined;
  output: PacedOutput;
  ended: Promise<void>;
}

/** Passes on what comes, no faster than it is read. */
function relay(source: Readable | undefined, output: PacedOutput, passesEnd: boolean): Relay {
  const ended = new Promise<void>((resolve) => {
    if (source === undefined) {
      resolve();
      return;
    }
    source.on('data', (chunk: Buffer) => {
      if (output.give(chunk)) return;
      source.pause();
      void output.caughtUp().then(() => source.resume());
    });
    for (const event of ['end', 'close']) {
      source.once(event, () => {
        if (passesEnd) output.end();
        resolve();
      });
    }
  });
  output.on('error', () => undefined);
  // A reader that is gone: the process learns of it when it writes.
  output.once('close', () => source?.destroy());
  return { source, output, ended };
}

/** What is typed into a terminal, and Ctrl-D for its end; in the midst of a line that takes two. */
function typing(terminal: Duplex): Writable {
  let isLineBegun = false;
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      isLineBegun = chunk.at(-1) !== 0x0a;
      terminal.write(chunk, () => done());
    },
    final(done) {
      terminal.write(isLineBegun ? CTRL_D + CTRL_D : CTRL_D, () => done());
    },
  });
}

function closedInput(): Writable {
  const input = new Writable({
    write: (_chunk, _encoding, done) => done(),
  });
  input.end();
  return input;
}

/**
 * The process of an exec as this machine sees it, while it is the container's: its number may be
 * another's by now.
 */
export function readExecPid(pidFile: string, cgroupPath: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile, 'utf8').trim());
    if (!(pid > 0)) return undefined;
    const cgroups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
    return cgroups.some((line) => line.endsWith(cgroupPath)) ? pid : undefined;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

function hasText(file: string): boolean {
  try {
    return readFileSync(file, 'utf8').trim() !== '';
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
