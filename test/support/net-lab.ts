import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { HatobaError, type ErrorKind } from '../../common/errors.js';
import type { NetworkState, Sandbox, SandboxConfig } from '../../overlay-net/driver.js';
import { cleanUp } from './clean-up.js';
import type { HostMethod, HostReply } from './net-host.js';

const RUNNER = fileURLToPath(new URL('./net-host.ts', import.meta.url));

/** Answers "<name> <address of the client>" by TCP and UDP, on port 80 and every other one given. */
const ECHO_SERVER = `
const [, name, ...ports] = process.argv;
let missing = 2 * ports.length;
const listening = () => { if (--missing === 0) console.log('ready'); };
for (const port of ports.map(Number)) {
  require('net').createServer((s) => { s.on('error', () => {}); s.end(name + ' ' + s.remoteAddress + '\\n'); })
    .listen(port, '0.0.0.0', listening);
  const u = require('dgram').createSocket('udp4');
  u.on('message', (m, from) => u.send(name + ' ' + from.address, from.port, from.address)).bind(port, listening);
}`;

const UDP_CLIENT = `
const [, host, port] = process.argv;
const u = require('dgram').createSocket('udp4');
u.on('message', (m) => { console.log(String(m)); process.exit(0); });
u.on('error', (e) => { console.log(e.code); process.exit(1); });
u.connect(Number(port), host, () => u.send('hello'));
setTimeout(() => process.exit(1), 8000);`;

/** Sends back what comes, by TCP and UDP. */
const MIRROR_SERVER = `
const [, port] = process.argv;
require('net').createServer((s) => { s.on('error', () => {}); s.pipe(s); })
  .listen(Number(port), '0.0.0.0', () => console.log('ready'));
const u = require('dgram').createSocket('udp4');
u.on('message', (m, from) => u.send(m, from.port, from.address)).bind(Number(port));`;

/** Prints how often each answer came to so many new connections, from each source in turn. */
const MANY_CLIENTS = `
const [, protocol, host, port, count, ...sources] = process.argv;
const counts = {};
let left = Number(count), open = 0, next = 0;
function done(answer) {
  counts[answer] = (counts[answer] ?? 0) + 1;
  if (--open === 0 && left === 0) console.log(JSON.stringify(counts));
  start();
}
function start() {
  while (left > 0 && open < 100) {
    left--; open++;
    const source = sources.length === 0 ? undefined : sources[next++ % sources.length];
    let answer = '', isDone = false;
    const end = (s) => (text) => { if (isDone) return; isDone = true; s(); done((source ? source + ': ' : '') + text); };
    if (protocol === 'tcp') {
      const s = require('net').connect({ host, port: Number(port), ...(source ? { localAddress: source } : {}) });
      const finish = end(() => s.destroy());
      s.setTimeout(5000, () => finish('timeout'));
      s.on('data', (d) => (answer += d)).on('end', () => finish(answer.trim())).on('error', (e) => finish(e.code));
    } else {
      const u = require('dgram').createSocket('udp4');
      const timer = setTimeout(() => finish('timeout'), 5000);
      const finish = end(() => { clearTimeout(timer); u.close(); });
      u.on('message', (m) => finish(String(m))).on('error', (e) => finish(e.code));
      u.bind(0, source, () => u.send('hello', Number(port), host));
    }
  }
}
start();`;

/**
 * Machines as network namespaces on one underlay bridge, which is in a namespace of its own:
 * n1…nN at 192.0.2.1…, and a client outside of the cluster at 192.0.2.50.
 */
export class NetLab {
  readonly folder = mkdtempSync(join(tmpdir(), 'ht-net-'));
  readonly prefix = basename(this.folder);
  readonly hosts: LabHost[] = [];
  readonly client: string;
  readonly #processes: ChildProcess[] = [];

  constructor() {
    this.client = `${this.prefix}-c`;
    const underlay = `${this.prefix}-u`;
    ip('netns', 'add', underlay);
    ip('-n', underlay, 'link', 'add', 'name', 'u0', 'up', 'type', 'bridge');
    this.addNetns(this.client, 50);
  }

  /** A namespace on the underlay, at 192.0.2.<last>. */
  addNetns(name: string, last: number): void {
    const underlay = `${this.prefix}-u`;
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    ip('-n', underlay, 'link', 'add', `p${last}`, 'type', 'veth', 'peer', 'eth0', 'netns', name);
    ip('-n', underlay, 'link', 'set', `p${last}`, 'master', 'u0', 'up');
    ip('-n', name, 'address', 'add', `192.0.2.${last}/24`, 'dev', 'eth0');
    ip('-n', name, 'link', 'set', 'eth0', 'up');
  }

  async addHost(): Promise<LabHost> {
    const index = this.hosts.length + 1;
    const netns = `${this.prefix}-${index}`;
    this.addNetns(netns, index);
    const host = new LabHost(index, netns, join(this.folder, `n${index}`));
    this.hosts.push(host);
    await host.start();
    return host;
  }

  /** An echo server in a namespace, named so in its answers. */
  serve(netnsPath: string, name: string, ports: readonly number[] = [80]): Promise<void> {
    return this.#start(netnsPath, process.execPath, '-e', ECHO_SERVER, name, ...ports.map(String));
  }

  /** A server in a namespace that sends back what it gets. */
  mirror(netnsPath: string, port: number): Promise<void> {
    return this.#start(netnsPath, process.execPath, '-e', MIRROR_SERVER, String(port));
  }

  /** A server in a namespace by a program for Python, which prints a line once it is ready. */
  servePython(netnsPath: string, program: string, ...args: string[]): Promise<void> {
    return this.#start(netnsPath, 'python3', '-c', program, ...args);
  }

  async #start(netnsPath: string, ...command: string[]): Promise<void> {
    const child = spawn('nsenter', [`--net=${netnsPath}`, ...command], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#processes.push(child);
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`a server ended with ${code}`)));
    });
  }

  /** Ends the servers; a namespace lives on while a process is in it. */
  async stopServers(): Promise<void> {
    for (const child of this.#processes.splice(0)) await end(child);
  }

  async close(): Promise<void> {
    const namespaces = [...this.hosts.map((h) => h.netns), this.client, `${this.prefix}-u`];
    await cleanUp(
      ...this.hosts.map((host) => () => host.stop()),
      () => this.stopServers(),
      ...this.hosts.map((host) => () => host.unmountNetns()),
      ...namespaces.map((netns) => () => ip('netns', 'delete', netns)),
      () => rmSync(this.folder, { recursive: true, force: true }),
    );
  }
}

/** One machine: its namespace, and the process that runs the network driver there. */
export class LabHost {
  readonly id: string;
  readonly index: number;
  readonly netns: string;
  readonly folder: string;
  #process: ChildProcess | undefined;
  #lastId = 0;
  readonly #waiting = new Map<number, (reply: HostReply) => void>();
  /** How long the last call took in the host's process. */
  lastMs = 0;

  constructor(index: number, netns: string, folder: string) {
    this.id = `n${index}`;
    this.index = index;
    this.netns = netns;
    this.folder = folder;
  }

  get address(): string {
    return `192.0.2.${this.index}`;
  }

  get netnsPath(): string {
    return `/run/netns/${this.netns}`;
  }

  async start(): Promise<void> {
    const options = {
      stateDir: join(this.folder, 'state'),
      runDir: join(this.folder, 'run'),
      upstreams: ['192.0.2.50'],
    };
    const args = ['--import', 'tsx', RUNNER, JSON.stringify(options)];
    const child = spawn('nsenter', [`--net=${this.netnsPath}`, process.execPath, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#process = child;
    const ready = new Promise<void>((resolve, reject) => {
      this.#waiting.set(0, () => resolve());
      child.once('exit', (code) => reject(new Error(`host ${this.id} ended with ${code}`)));
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const reply = JSON.parse(line) as HostReply;
      this.#waiting.get(reply.id)?.(reply);
      this.#waiting.delete(reply.id);
    });
    await ready;
  }

  /** For a test that failed before its teardown. */
  unmountNetns(): void {
    const folder = join(this.folder, 'run/netns');
    if (!existsSync(folder)) return;
    for (const file of readdirSync(folder)) execFileSync('umount', ['-l', join(folder, file)]);
  }

  /** Ends the process as a crash would: what it made stays. */
  async stop(): Promise<void> {
    if (this.#process !== undefined) await end(this.#process);
    this.#process = undefined;
  }

  async apply(state: Omit<NetworkState, 'nodeId'>): Promise<void> {
    await this.#call('apply', { ...state, nodeId: this.id });
  }
  async attach(config: SandboxConfig): Promise<Sandbox> {
    return (await this.#call('attach', config)) as Sandbox;
  }
  async detach(id: string): Promise<void> {
    await this.#call('detach', id);
  }
  async list(): Promise<Sandbox[]> {
    return (await this.#call('list')) as Sandbox[];
  }
  async openConnections(...addresses: readonly string[]): Promise<number> {
    return (await this.#call('openConnections', addresses)) as number;
  }
  async endStaleConnections(): Promise<void> {
    await this.#call('endStaleConnections');
  }
  /** Has the driver compare the kernel with what it applied. @returns what it repaired */
  async checkDrift(): Promise<string[]> {
    return (await this.#call('checkDrift')) as string[];
  }
  async teardown(): Promise<void> {
    await this.#call('teardown');
  }

  async #call(method: HostMethod, ...args: unknown[]): Promise<unknown> {
    const id = ++this.#lastId;
    const reply = await new Promise<HostReply>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#process?.stdin?.write(`${JSON.stringify({ id, method, args })}\n`);
    });
    if ('error' in reply) throw new HatobaError(reply.kind as ErrorKind, reply.error);
    this.lastMs = reply.ms;
    return reply.result;
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.removeAllListeners('exit');
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Output of a command in a namespace, and of its errors; never throws. */
export function runIn(netnsPath: string, ...command: string[]): Promise<string> {
  return new Promise((resolve) => {
    const args = [`--net=${netnsPath}`, ...command];
    execFile('nsenter', args, { timeout: 60_000 }, (_error, stdout, stderr) => {
      resolve(`${stdout}${stderr}`.trim());
    });
  });
}

/** What an echo server answers by TCP: "<name> <client address>", or the error of the attempt. */
export function askTcp(netnsPath: string, host: string, port = 80): Promise<string> {
  return runIn(netnsPath, 'busybox', 'nc', '-w', '8', host, String(port));
}

/** The same by UDP, or the code of the error; empty when nothing comes back within 8 s. */
export function askUdp(netnsPath: string, host: string, port = 80): Promise<string> {
  return runIn(netnsPath, process.execPath, '-e', UDP_CLIENT, host, String(port));
}

/**
 * How often each answer of an echo server came to `count` new connections ("timeout" and error codes
 * are answers too), a hundred at a time.
 * @param sources own addresses to come from in turn; answers are then "<source>: <answer>"
 */
export async function askMany(
  netnsPath: string,
  protocol: 'tcp' | 'udp',
  target: { host: string; port: number; count: number; sources?: readonly string[] },
): Promise<Map<string, number>> {
  const { host, port, count, sources = [] } = target;
  const args = [protocol, host, String(port), String(count), ...sources];
  const output = await runIn(netnsPath, process.execPath, '-e', MANY_CLIENTS, ...args);
  return new Map(Object.entries(JSON.parse(output) as Record<string, number>));
}
