import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import {
  distribute,
  makeIndex,
  type Blob,
  type BuiltImage,
  type DistributedImage,
} from './image-fixtures.js';

export const REGISTRY_USER = 'ann';
export const REGISTRY_PASSWORD = 's3cret:word';
/** By bcrypt, the only form that docker-registry reads. */
const HTPASSWD = `ann:$2y$05$abcdefghijklmnopqrstuu2JDQLR7mbHhdpill4/jMLDoVbsBhlUi\n`;

/** A real registry (Debian's docker-registry) on loopback, with its files in a folder of its own. */
export class TestRegistry {
  /** "127.0.0.1:40123" */
  readonly host: string;
  readonly #process: ChildProcess;
  readonly #dir: string;

  private constructor(host: string, process: ChildProcess, dir: string) {
    this.host = host;
    this.#process = process;
    this.#dir = dir;
  }

  /**
   * @param options.host where it listens; a free port of loopback if not said
   * @param options.prefix program and arguments that run it elsewhere, in another namespace
   * @param options.auth the `auth` part of its configuration; HTPASSWD is replaced by a file in
   *   which REGISTRY_USER has REGISTRY_PASSWORD
   * @param options.probe fails until it answers, where it cannot be reached from here
   */
  static async start(
    options: {
      host?: string;
      prefix?: readonly string[];
      auth?: string;
      probe?: () => Promise<unknown>;
    } = {},
  ): Promise<TestRegistry> {
    const dir = mkdtempSync(join(tmpdir(), 'ht-registry-'));
    const host = options.host ?? `127.0.0.1:${await freePort()}`;
    const config = [
      'version: 0.1',
      'log: { level: error }',
      `storage: { filesystem: { rootdirectory: ${dir}/data }, delete: { enabled: true } }`,
      `http: { addr: "${host}" }`,
    ];
    if (options.auth !== undefined) {
      writeFileSync(join(dir, 'htpasswd'), HTPASSWD);
      config.push(`auth: ${options.auth.replace('HTPASSWD', join(dir, 'htpasswd'))}`);
    }
    writeFileSync(join(dir, 'config.yml'), config.join('\n'));
    const words = [...(options.prefix ?? []), 'docker-registry', 'serve', join(dir, 'config.yml')];
    const [file = '', ...args] = words;
    // A group of its own, which ends as a whole also where a program stands before the registry.
    const child = spawn(file, args, { stdio: 'ignore', detached: true });
    const registry = new TestRegistry(host, child, dir);
    const fetchHere = async (): Promise<unknown> =>
      (await fetch(`http://${host}/v2/`)).body?.cancel();
    try {
      await eventually(() => {
        if (registry.#hasEnded) throw new Error('docker-registry has ended');
        return (options.probe ?? fetchHere)();
      });
    } catch (error) {
      await registry.stop();
      throw error;
    }
    return registry;
  }

  /** Ends the process, by its id, and deletes its files. */
  async stop(): Promise<void> {
    if (!this.#hasEnded) {
      const exited = new Promise((resolve) => this.#process.once('exit', resolve));
      process.kill(-(this.#process.pid ?? 0), 'SIGKILL');
      await exited;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Pushes an image and returns its manifest's digest. */
  async push(
    image: BuiltImage,
    repository: string,
    tag: string,
    options: Parameters<typeof distribute>[1] = {},
  ): Promise<string> {
    const parts = distribute(image, options);
    await this.#pushBlobs(repository, parts);
    await this.#putManifest(repository, tag, parts.manifest, parts.mediaType);
    return parts.manifest.digest;
  }

  /** Pushes an index of images and returns its digest. */
  async pushIndex(images: readonly BuiltImage[], repository: string, tag: string): Promise<string> {
    const all = images.map((image) => ({ image, parts: distribute(image) }));
    for (const { parts } of all) {
      await this.#pushBlobs(repository, parts);
      const { manifest, mediaType } = parts;
      await this.#putManifest(repository, manifest.digest, manifest, mediaType);
    }
    const index = makeIndex(all);
    await this.#putManifest(repository, tag, index.manifest, index.mediaType);
    return index.manifest.digest;
  }

  /** Pushes any document as a manifest. */
  async pushManifest(
    repository: string,
    tag: string,
    manifest: Blob,
    mediaType: string,
  ): Promise<void> {
    await this.#putManifest(repository, tag, manifest, mediaType);
  }

  async #pushBlobs(repository: string, parts: DistributedImage): Promise<void> {
    for (const blob of parts.blobs) await this.#putBlob(repository, blob);
  }

  async #putBlob(repository: string, blob: Blob): Promise<void> {
    const url = `http://${this.host}/v2/${repository}/blobs/uploads/`;
    const begun = await expectStatus(fetch(url, { method: 'POST' }), 202);
    const target = new URL(begun.headers.get('location') ?? '', url);
    target.searchParams.set('digest', blob.digest);
    const headers = { 'Content-Type': 'application/octet-stream' };
    await expectStatus(fetch(target, { method: 'PUT', headers, body: blob.bytes }), 201);
  }

  async #putManifest(
    repository: string,
    reference: string,
    manifest: Blob,
    mediaType: string,
  ): Promise<void> {
    const url = `http://${this.host}/v2/${repository}/manifests/${reference}`;
    const headers = { 'Content-Type': mediaType };
    await expectStatus(fetch(url, { method: 'PUT', headers, body: manifest.bytes }), 201);
  }
}

async function expectStatus(request: Promise<Response>, status: number): Promise<Response> {
  const response = await request;
  const body = await response.text();
  if (response.status !== status) throw new Error(`${response.url}: ${response.status} ${body}`);
  return response;
}

/** A port of loopback that nobody listens on at the moment. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
