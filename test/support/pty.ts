import { spawn, type ChildProcess } from 'node:child_process';
import { text } from 'node:stream/consumers';
import type { Readable, Writable } from 'node:stream';
import { eventually } from './eventually.js';

/** Runs a program in a terminal of its own, between this process's pipes. */
const DRIVER = `
import fcntl, json, os, pty, select, signal, struct, sys, termios
master, slave = pty.openpty()
def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
resize(int(sys.argv[1]), int(sys.argv[2]))
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.login_tty(slave)
    os.execvp(sys.argv[3], sys.argv[3:])
ended = os.pidfd_open(child)
inputs = [0, 3, master, ended]
while True:
    ready = select.select(inputs, [], [])[0]
    if master in ready:
        os.write(1, os.read(master, 65536))
    elif ended in ready:
        break
    if 0 in ready:
        typed = os.read(0, 65536)
        if typed: os.write(master, typed)
        else: inputs.remove(0)
    if 3 in ready:
        orders = os.read(3, 4096).decode()
        if not orders: inputs.remove(3)
        for line in orders.split('\\n'):
            words = line.split()
            if words[:1] == ['resize']: resize(int(words[1]), int(words[2]))
            if words[:1] == ['kill']: os.kill(child, getattr(signal, words[1]))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os.write(4, json.dumps({'exitCode': code, 'isRestored': termios.tcgetattr(slave) == before}).encode())
`;

export interface PtyEnd {
  /** Negative: the number of the signal that ended it. */
  exitCode: number;
  /** Whether the terminal's modes are as they were before. */
  isRestored: boolean;
}

/** A program in a terminal (package python3), as a user sits in front of it. */
export class PtyProcess {
  /** All that was shown so far. */
  screen = '';
  readonly ended: Promise<PtyEnd>;
  readonly #driver: ChildProcess;

  constructor(
    words: readonly string[],
    options: { rows: number; columns: number; env?: Readonly<Record<string, string>> },
  ) {
    const size = [options.rows, options.columns].map(String);
    this.#driver = spawn('python3', ['-c', DRIVER, ...size, ...words], {
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'inherit', 'pipe', 'pipe'],
    });
    this.#driver.stdout?.on('data', (chunk: Buffer) => (this.screen += chunk.toString()));
    this.ended = text(this.#driver.stdio[4] as Readable).then((said) => JSON.parse(said) as PtyEnd);
    this.ended.catch(() => undefined);
  }

  type(keys: string): void {
    this.#driver.stdin?.write(keys);
  }

  resize(rows: number, columns: number): void {
    (this.#driver.stdio[3] as Writable).write(`resize ${rows} ${columns}\n`);
  }

  kill(signal: NodeJS.Signals): void {
    (this.#driver.stdio[3] as Writable).write(`kill ${signal}\n`);
  }

  /** Waits until it shows that, after what `shows` has found before. */
  async shows(pattern: RegExp, timeoutMs?: number): Promise<void> {
    const end = await eventually(
      () => {
        const found = pattern.exec(this.screen);
        if (found === null) throw new Error(`${pattern} is not on ${JSON.stringify(this.screen)}`);
        return found.index + found[0].length;
      },
      timeoutMs === undefined ? {} : { timeoutMs },
    );
    this.screen = this.screen.slice(end);
  }

  /** Types keys again and again until it shows that: it may not listen yet. */
  async answers(keys: string, pattern: RegExp): Promise<void> {
    await eventually(async () => {
      this.type(keys);
      await this.shows(pattern, 500);
    });
  }

  /** Ends it, if it has not ended yet. */
  close(): void {
    this.#driver.kill('SIGKILL');
  }
}
