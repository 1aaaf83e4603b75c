import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context } from 'mocha';
import type { NodeRow, ServiceRow, TaskRow } from '../../cli/output/rows.js';
import { cleanUp } from '../support/clean-up.js';
import { requiresCommand, requiresRoot } from '../support/requires.js';

/** The addresses of the hosts that `hatoba dev up` makes. */
export const ADDRESS = { n1: '10.77.0.1', n2: '10.77.0.2', n3: '10.77.0.3' } as const;
export type HostName = keyof typeof ADDRESS;

/** The command line, as built. */
export const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const EXAMPLES = fileURLToPath(new URL('../../deploy/examples', import.meta.url));
/** The compose file of the example stack. */
export const HELLO = join(EXAMPLES, 'hello', 'compose.yaml');

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * A `dev` cluster driven through the command line only, as a user would. Its own HATOBA_CONFIG
 * keeps the user's contexts untouched.
 */
export class DevCluster {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** @param options further arguments of `dev up` */
  static async up(nodes = 3, ...options: readonly string[]): Promise<DevCluster> {
    const cluster = new DevCluster(await mkdtemp(join(tmpdir(), 'ht-e2e-')));
    try {
      await cluster.hatoba('dev', 'down');
      await cluster.hatoba('dev', 'up', '--nodes', String(nodes), ...options);
      return cluster;
    } catch (error) {
      await cleanUp(() => cluster.down());
      throw error;
    }
  }

  async down(): Promise<void> {
    await cleanUp(
      () => this.hatoba('dev', 'down'),
      () => rm(this.folder, { recursive: true, force: true }),
    );
  }

  /** Runs `hatoba ARGS`, whatever it answers. */
  run(...args: string[]): Promise<Result> {
    const env = { ...process.env, HATOBA_CONFIG: this.folder, NO_COLOR: '1' };
    return new Promise((resolve) => {
      const options = { env, maxBuffer: 64 * 1024 * 1024, timeout: 280_000 };
      execFile(process.execPath, [CLI, ...args], options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Runs `hatoba ARGS`, which must succeed. @returns its stdout */
  async hatoba(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0)
      throw new Error(`hatoba ${args.join(' ')} ended with ${code}:\n${stderr}${stdout}`);
    return stdout;
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.hatoba(...args, '-o', 'json')) as T;
  }

  nodes(): Promise<NodeRow[]> {
    return this.json('node', 'ls');
  }
  async service(name: string): Promise<ServiceRow> {
    const found = (await this.json<ServiceRow[]>('service', 'ls')).find((s) => s.name === name);
    if (found === undefined) throw new Error(`no service ${name}`);
    return found;
  }
  /** All tasks of a service, dead ones too. */
  tasks(service: string): Promise<TaskRow[]> {
    return this.json('service', 'ps', service, '--all');
  }
  async runningTasks(service: string): Promise<TaskRow[]> {
    const tasks = await this.tasks(service);
    return tasks.filter((t) => t.state === 'running' && t.desiredState === 'running');
  }
  /** Runs a command in a task's container. @returns its stdout */
  exec(task: string, ...command: string[]): Promise<string> {
    return this.hatoba('task', 'exec', task, '--', ...command);
  }

  /** Writes a compose file and returns its path. */
  async compose(name: string, text: string): Promise<string> {
    const file = join(this.folder, name);
    await writeFile(file, text);
    return file;
  }

  /** Makes the example images and loads them on every node. */
  async loadImages(): Promise<void> {
    await run(join(EXAMPLES, 'images', 'make'), [this.folder]);
    for (const image of ['hello-web-1', 'hello-web-2', 'hello-api-1']) {
      await this.hatoba('image', 'load', join(this.folder, `${image}.tar`));
    }
  }

  pidOf(host: HostName, daemon: 'agent' | 'manager'): number {
    return Number(readFileSync(`/run/hatoba/dev/${host}/${daemon}.pid`, 'utf8'));
  }
}

/** Skips a suite that cannot run here. */
export function requiresDevCluster(test: Context): void {
  requiresRoot(test);
  for (const command of ['crun', 'conmon', 'etcd', 'nft', 'ip']) requiresCommand(test, command);
  if (!existsSync(CLI)) throw new Error('build first: npm run build');
}

export function run(file: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${file} ${args.join(' ')}: ${stderr}`, { cause: error }));
    });
  });
}

/** One HTTP request over its own connection. @throws when there is no 200 within 10 s */
export function fetchText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, timeout: 10_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${url} answered ${response.statusCode ?? 0}: ${text}`));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`${url}: no answer within 10 s`)));
    request.on('error', reject);
  });
}

/** How often each value occurs. */
export function countBy<T>(items: readonly T[], key: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}

/** Pids (as the machine sees them) of the first processes of all containers of a host. */
export function containersOn(host: HostName): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    const inHost = readProc(pid, 'cgroup').includes(`:/hatoba-dev/${host}/`);
    return inHost && /^NSpid:\t.+\t1$/m.test(readProc(pid, 'status'));
  });
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}
