import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Clock } from '../../common/clock.js';
import { systemClock } from '../../common/adapters/system-clock.js';
import { distribute, type BuiltImage } from './image-fixtures.js';

/** @returns true when it has dealt with the request itself */
export type Trap = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A registry in memory that reads as it should, where its trap does not interfere. */
export class ScriptedRegistry {
  /** "GET /v2/web/blobs/sha256:… bytes=5-" */
  readonly requests: string[] = [];
  /** Bytes of blobs that went out. */
  sentBytes = 0;
  trap: Trap = () => false;
  readonly #server: Server;
  readonly #documents = new Map<string, { bytes: Buffer; type: string }>();
  #port = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      const { method = '', url = '', headers } = request;
      this.requests.push([method, url, headers.range].filter((s) => s !== undefined).join(' '));
      if (!this.trap(request, response)) this.#answer(request, response);
    });
  }

  static async start(): Promise<ScriptedRegistry> {
    const registry = new ScriptedRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    const address = registry.#server.address();
    registry.#port = typeof address === 'object' && address !== null ? address.port : 0;
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** @returns the blobs: configuration, then layers, compressed */
  hold(image: BuiltImage, repository: string, tag: string): { digest: string; bytes: Buffer }[] {
    const { manifest, mediaType, blobs } = distribute(image);
    for (const name of [tag, manifest.digest]) {
      this.set(`${repository}/manifests/${name}`, manifest.bytes, mediaType);
    }
    for (const { digest, bytes } of blobs) this.set(`${repository}/blobs/${digest}`, bytes);
    return blobs;
  }

  /** @param path below /v2/ */
  set(path: string, bytes: Buffer, type = 'application/octet-stream'): void {
    this.#documents.set(`/v2/${path}`, { bytes, type });
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer({ url = '', headers }: IncomingMessage, response: ServerResponse): void {
    const document = this.#documents.get(url);
    if (document === undefined) {
      response.writeHead(404).end('{"errors":[{"code":"NAME_UNKNOWN"}]}');
      return;
    }
    const { bytes, type } = document;
    const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
    const rest = bytes.subarray(start);
    if (url.includes('/blobs/')) this.sentBytes += rest.length;
    const range = { 'Content-Range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
    response.writeHead(start > 0 ? 206 : 200, {
      'Content-Type': type,
      'Content-Length': rest.length,
      ...(start > 0 ? range : {}),
    });
    response.end(rest);
  }
}

/** As long as anybody waits between two tries; to wait for longer is to wait for the other side. */
const LONGEST_PAUSE_MS = 5000;

/** Real time in which pauses take a fiftieth. */
export const hurriedClock: Clock = {
  nowMs: () => systemClock.nowMs(),
  setTimer: (delayMs, run) =>
    systemClock.setTimer(delayMs > LONGEST_PAUSE_MS ? delayMs : delayMs / 50, run),
};

/** Real time in which nobody waits for long, not even for the other side. */
export const impatientClock: Clock = {
  nowMs: () => systemClock.nowMs(),
  setTimer: (delayMs, run) => systemClock.setTimer(delayMs / 50, run),
};
