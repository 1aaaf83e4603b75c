import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { basename, join } from 'node:path';
import { stringify } from 'yaml';
import { NodeRole } from '../../../proto/gen/hatoba/v1/types.js';
import { AgentClient } from '../../../proto/gen/hatoba/v1/agent.js';
import { EngineClient } from '../../../proto/gen/hatoba/v1/engine.js';
import { localTarget, openClient, sendStream, unary } from '../../../proto/wire/client.js';
import { cleanUp, killIfThere } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { emptyCgroups, removeCgroup } from '../../support/power-cut.js';
import type { TestManager } from './test-manager.js';

/** Carries TCP connections of a namespace to a unix socket, which knows no namespaces. */
const RELAY = `
const [, port, path] = process.argv;
const net = require('net');
net.createServer((inside) => {
  const outside = net.connect(path);
  for (const s of [inside, outside]) s.on('error', () => {}).on('close', () => { inside.destroy(); outside.destroy(); });
  inside.pipe(outside).pipe(inside);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));`;

const MANAGER_PORT = 4400;

/**
 * A machine with a real agent: a network namespace with one address, folders and a cgroup parent of
 * its own. The manager is in the test's process; the agent reaches it at 127.0.0.1:4400.
 */
export class AgentHost {
  readonly folder = mkdtempSync('/var/tmp/ht-agent-');
  readonly runDir = join(this.folder, 'run');
  readonly netns = basename(this.folder);
  readonly cgroupParent = `/hatoba-test-${this.netns}`;
  readonly client: AgentClient;
  /** The engine of the node, as local users have it. */
  readonly engine: EngineClient;
  readonly #manager: TestManager;
  readonly #door: Server;
  #relay: ChildProcess | undefined;
  #agent: ChildProcess | undefined;
  #log = '';

  constructor(manager: TestManager) {
    this.#manager = manager;
    manager.advertised = `127.0.0.1:${MANAGER_PORT}`;
    const socket = localTarget(join(this.runDir, 'agent.sock'));
    this.client = openClient(AgentClient, socket);
    this.engine = openClient(EngineClient, socket, { isPatient: true });
    // Looks the port up for each connection, as the manager may have been started again.
    this.#door = createServer((outside) => {
      const inside = connect(Number(this.#manager.address.split(':')[1]), '127.0.0.1');
      for (const socket of [inside, outside]) {
        socket.on('error', () => undefined);
        socket.on('close', () => {
          inside.destroy();
          outside.destroy();
        });
      }
      inside.pipe(outside).pipe(inside);
    });
  }

  /** Everything the agent has logged. */
  get log(): string {
    return this.#log;
  }

  get pid(): number {
    return this.#agent?.pid ?? 0;
  }

  async setUp(): Promise<void> {
    ip('netns', 'add', this.netns);
    ip('-n', this.netns, 'link', 'set', 'lo', 'up');
    ip('-n', this.netns, 'link', 'add', 'name', 'eth0', 'up', 'type', 'bridge');
    ip('-n', this.netns, 'address', 'add', '192.0.2.1/24', 'dev', 'eth0');
    mkdirSync(join(this.folder, 'pki'), { recursive: true });
    mkdirSync(this.runDir);
    const identity = await this.#manager.issue(NodeRole.WORKER, 'n1');
    writeFileSync(join(this.folder, 'pki/ca.crt'), identity.caPem);
    writeFileSync(join(this.folder, 'pki/node.key'), identity.keyPem);
    writeFileSync(join(this.folder, 'pki/node.crt'), identity.certPem);
    writeFileSync(
      join(this.folder, 'agent.yaml'),
      stringify({
        root: this.folder,
        runDir: this.runDir,
        managers: [`127.0.0.1:${MANAGER_PORT}`],
        advertiseAddr: '192.0.2.1',
        cgroupParent: this.cgroupParent,
        hostname: 'n1',
      }),
    );
    const path = join(this.folder, 'door.sock');
    await new Promise<void>((resolve) => this.#door.listen(path, resolve));
    this.#relay = this.#spawn(['-e', RELAY, String(MANAGER_PORT), path]);
    await eventually(() => {
      if (!this.#log.includes('ready')) throw new Error('the relay is not ready');
    });
  }

  /** Starts an agent process and waits until it answers local users. */
  async start(): Promise<void> {
    this.#agent = this.#spawn([
      '--import',
      'tsx',
      'node-agent/main.ts',
      '--config',
      join(this.folder, 'agent.yaml'),
    ]);
    await eventually(async () => {
      if (this.#agent?.exitCode !== null) throw new Error(`the agent ended:\n${this.#log}`);
      await unary(this.client.imageList.bind(this.client), {}, { timeoutMs: 5000 });
    });
  }

  /** Ends the agent process, and nothing else. */
  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const agent = this.#agent;
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
    const exited = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill(signal);
    await exited;
  }

  async loadImage(archive: Buffer): Promise<void> {
    const { results } = await sendStream(this.client.imageLoad.bind(this.client), [
      { input: { $case: 'start' as const, value: { nodes: [] } } },
      { input: { $case: 'chunk' as const, value: archive } },
    ]);
    const err = results.map((r) => r.err).join();
    if (err !== '') throw new Error(err);
  }

  get netnsPath(): string {
    return `/run/netns/${this.netns}`;
  }

  /** Names of what the machine still holds of tasks and containers. */
  leftovers(): string[] {
    const containers = namesIn(join(this.folder, 'agent/engine/containers'));
    const sandboxes = namesIn(join(this.runDir, 'netns'));
    const tasks = namesIn(join(this.folder, 'agent/tasks'));
    return [
      ...tasks.map((name) => `task ${name.split('.')[0] ?? ''}`),
      ...containers.map((name) => `container ${name}`),
      ...sandboxes.map((name) => `sandbox ${name}`),
    ];
  }

  /** Removes everything, also after a failed test. */
  async tearDown(): Promise<void> {
    this.client.close();
    this.engine.close();
    await cleanUp(
      () => this.stop('SIGKILL'),
      () => this.#relay?.kill('SIGKILL'),
      () => new Promise((resolve) => this.#door.close(resolve)),
      () => this.#endConmons(), // first: nobody is to note the exits
      () => emptyCgroups(this.#cgroups()),
      () => this.#unmountAll(),
      () => eventually(() => this.#cgroups().forEach(removeCgroup)),
      () => ip('netns', 'delete', this.netns),
      () => rmSync(this.folder, { recursive: true, force: true }),
    );
  }

  async #endConmons(): Promise<void> {
    await eventually(() => {
      const pids = this.#conmons();
      for (const pid of pids) killIfThere(pid);
      if (pids.length > 0) throw new Error(`conmon is still there: ${pids.join(', ')}`);
    });
  }

  #unmountAll(): void {
    const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
    for (const line of mounts.reverse()) {
      const target = line.split(' ')[1] ?? '';
      if (target.startsWith(`${this.folder}/`)) execFileSync('umount', ['-l', target]);
    }
  }

  #spawn(args: readonly string[]): ChildProcess {
    const child = spawn('nsenter', [`--net=/run/netns/${this.netns}`, process.execPath, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    }
    return child;
  }

  #cgroups(): string[] {
    return namesIn('/sys/fs/cgroup')
      .map((controller) => `/sys/fs/cgroup/${controller}${this.cgroupParent}`)
      .concat(`/sys/fs/cgroup${this.cgroupParent}`)
      .filter((path) => existsSync(path));
  }

  #conmons(): number[] {
    return namesIn('/proc')
      .filter((pid) => /^\d+$/.test(pid))
      .filter((pid) => {
        try {
          const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          return command.includes('conmon') && command.includes(this.folder);
        } catch {
          return false; // it has ended
        }
      })
      .map(Number);
  }
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
