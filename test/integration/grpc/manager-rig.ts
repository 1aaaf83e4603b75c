import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { ControlClient, type SystemInfo } from '../../../proto/gen/hatoba/v1/control.js';
import { localTarget, openClient, unary } from '../../../proto/wire/client.js';
import { eventually } from '../../support/eventually.js';

const MAIN = fileURLToPath(new URL('../../../manager/main.ts', import.meta.url));

/** A manager as a process of its own, in a folder of its own, on free ports of 127.0.0.1. */
export class ManagerProcess implements AsyncDisposable {
  readonly folder: string;
  readonly control: ControlClient;
  /** What all its processes wrote to stderr. */
  log = '';
  #running: ChildProcess | undefined;

  private constructor(folder: string) {
    this.folder = folder;
    this.control = openClient(ControlClient, localTarget(join(folder, 'run', 'manager.sock')));
  }

  /** @param settings more than folders and ports, or others */
  static async create(settings: Record<string, unknown> = {}): Promise<ManagerProcess> {
    const folder = await mkdtemp('/tmp/ht-manager-');
    const [api, client, peer] = await freePorts(3);
    const config = {
      root: join(folder, 'root'),
      runDir: join(folder, 'run'),
      advertiseAddr: '127.0.0.1',
      listenAddr: `127.0.0.1:${api}`,
      etcdClientPort: client,
      etcdPeerPort: peer,
      ...settings,
    };
    await writeFile(join(folder, 'manager.yaml'), stringify(config));
    return new ManagerProcess(folder);
  }

  /** Starts one that is to stay. */
  start(...flags: string[]): void {
    assert.equal(this.#running, undefined);
    this.#running = this.#spawn(flags);
  }

  /** Runs one that is to end by itself. */
  async attempt(...flags: string[]): Promise<{ code: number | null; output: string }> {
    const child = this.#spawn(flags);
    let output = '';
    child.stderr?.on('data', (chunk) => (output += String(chunk)));
    return { code: await exitOf(child), output };
  }

  #spawn(flags: readonly string[]): ChildProcess {
    const config = join(this.folder, 'manager.yaml');
    const args = ['--import', 'tsx', MAIN, '--config', config, ...flags];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (chunk) => (this.log += String(chunk)));
    return child;
  }

  async stop(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#running;
    this.#running = undefined;
    assert.ok(child !== undefined);
    child.kill(signal);
    return exitOf(child);
  }

  leading(): Promise<SystemInfo> {
    return eventually(async () => {
      const call = this.control.getSystemInfo.bind(this.control);
      const info = await unary(call, {}, { timeoutMs: 1000 });
      assert.equal(info.leaderNodeId, info.nodeId);
      return info;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.control.close();
    if (this.#running !== undefined) await this.stop('SIGTERM');
    await rm(this.folder, { recursive: true });
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(
    servers.map((s) => new Promise<void>((resolve) => s.listen(0, '127.0.0.1', resolve))),
  );
  const ports = servers.map((s) => (s.address() as AddressInfo).port);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}

function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}
