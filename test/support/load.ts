import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { LoadOptions, LoadReport } from './load-report.js';

const PROCESS = fileURLToPath(new URL('./load-process.ts', import.meta.url));

/** A load generator that runs, in a network namespace given by its path, or in this process's. */
export class Load implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #report: Promise<LoadReport>;

  private constructor(child: ChildProcess, report: Promise<LoadReport>) {
    this.#child = child;
    this.#report = report;
  }

  /** @param netnsPath "/run/netns/NAME" or "/proc/PID/ns/net"; empty: where this process is */
  static async start(netnsPath: string, options: LoadOptions): Promise<Load> {
    const node = [process.execPath, '--import', 'tsx', PROCESS, JSON.stringify(options)];
    const [file = '', ...args] =
      netnsPath === '' ? node : ['nsenter', `--net=${netnsPath}`, '--', ...node];
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    let onReady: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => (onReady = resolve));
    const report = new Promise<LoadReport>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line === 'ready') onReady();
        else resolve(JSON.parse(line) as LoadReport);
      });
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`the load generator ended with ${code}`)));
    });
    report.catch(() => undefined); // told to whoever asks for it
    await Promise.race([ready, report]);
    return new Load(child, report);
  }

  /** Runs to its end by itself: `requests` must be given. */
  static async run(netnsPath: string, options: LoadOptions & { requests: number }) {
    const load = await Load.start(netnsPath, options);
    return await load.finished();
  }

  /** What it tells when all its requests are done. */
  finished(): Promise<LoadReport> {
    return this.#report;
  }

  /** Ends it after the requests that are under way. */
  async stop(): Promise<LoadReport> {
    this.#child.stdin?.end();
    return await this.#report;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await exited;
  }
}
