import { HatobaError } from '../../common/errors.js';
import { parseUploadedBytes } from '../core/content-range.js';
import type { Digest } from '../core/digest.js';
import type { Access } from './registry-auth.js';
import type { RegistryClient } from './registry-client.js';
import type { Purpose, RegistryRequest } from './registry-http.js';
import type { HttpAnswer } from './registry-transport.js';

/** A blob that is to be at a registry. */
export interface BlobToUpload {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Its bytes from one on; called again when the upload broke off. */
  open(start: number): AsyncIterable<Uint8Array>;
}

export interface UploadTarget {
  readonly registry: RegistryClient;
  readonly access: Access;
  readonly repository: string;
  /** What errors call it, without the blob: `image "127.0.0.1:5000/web"`. */
  readonly subject: string;
  readonly signal: AbortSignal;
}

/** Where an upload stands: its address changes with each answer. */
interface UploadSession {
  readonly location: string;
  readonly offset: number;
}

const ATTEMPTS = 5;
/** A registry that gets the last byte may have much to write and to read again. */
const COMMIT_IDLE_MS = 300_000;
const SEND_IDLE_MS = 60_000;
const BLOB_HEADERS = { 'Content-Type': 'application/octet-stream' };

/** Sends blobs to one repository (the distribution API's "push"). */
export class BlobUploader {
  readonly #target: UploadTarget;

  constructor(target: UploadTarget) {
    this.#target = target;
  }

  async has(blob: { digest: Digest }): Promise<boolean> {
    const path = `${this.#target.repository}/blobs/${blob.digest}`;
    const status = await this.#target.registry.retry(this.#target.signal, async () => {
      const answer = await this.#send({ method: 'HEAD', path, accepts: [404] }, blob.digest);
      await answer.close();
      return answer.status;
    });
    return status !== 404;
  }

  /**
   * Lets the repository have a blob that others of the same registry have.
   * @returns whether one of them gave it; a registry that cannot is no failure: the blob is sent
   */
  async mount(digest: Digest, sources: readonly string[]): Promise<boolean> {
    for (const source of sources) {
      if (source === this.#target.repository) continue;
      try {
        if (await this.#mountFrom(source, digest)) return true;
      } catch (error) {
        this.#target.signal.throwIfAborted();
        if (!(error instanceof HatobaError)) throw error;
      }
    }
    return false;
  }

  /** Sends a blob; one that breaks off goes on where the registry says it is. */
  async upload(blob: BlobToUpload, tell: (bytes: number) => void): Promise<void> {
    const { registry, signal } = this.#target;
    let session: UploadSession | undefined;
    for (let attempt = 1; ; attempt++) {
      try {
        session =
          session === undefined ? await this.#begin(blob) : await this.#status(session, blob);
        session ??= await this.#begin(blob);
        const sent: UploadSession = await this.#sendRest(session, blob, tell);
        await this.#commit(sent, blob);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof LostSession) session = undefined;
        if (attempt >= ATTEMPTS || !registry.mayPass(error)) throw error;
        await registry.pause(error, attempt, signal);
      }
    }
  }

  async #mountFrom(source: string, digest: Digest): Promise<boolean> {
    const query = new URLSearchParams({ mount: digest, from: source });
    const path = `${this.#target.repository}/blobs/uploads/?${query.toString()}`;
    const answer = await this.#send({ method: 'POST', path }, digest);
    await answer.close();
    // a registry that does not give it begins an upload instead, which is not wanted from here
    if (answer.status === 202) await this.#cancel(answer, digest);
    return answer.status === 201;
  }

  async #begin(blob: BlobToUpload): Promise<UploadSession> {
    const path = `${this.#target.repository}/blobs/uploads/`;
    const answer = await this.#send({ method: 'POST', path }, blob.digest);
    await answer.close();
    return { location: this.#locationOf(answer, path), offset: 0 };
  }

  /** Asks how far an upload that broke off has come. @returns undefined when it is lost */
  async #status(session: UploadSession, blob: BlobToUpload): Promise<UploadSession | undefined> {
    const request = {
      method: 'GET',
      path: session.location,
      accepts: [400, 404, 405, 416],
    } as const;
    const answer = await this.#send(request, blob.digest);
    await answer.close();
    const offset = parseUploadedBytes(answer.headers.get('range') ?? '');
    if (!answer.ok || offset === undefined || offset > blob.sizeBytes) return undefined;
    const location = answer.headers.has('location')
      ? this.#locationOf(answer, session.location)
      : session.location;
    return { location, offset };
  }

  async #sendRest(
    { location, offset }: UploadSession,
    blob: BlobToUpload,
    tell: (bytes: number) => void,
  ): Promise<UploadSession> {
    if (offset === blob.sizeBytes) return { location, offset };
    const answer = await this.#send(
      {
        method: 'PATCH',
        path: location,
        headers: { ...BLOB_HEADERS, 'Content-Range': `${offset}-${blob.sizeBytes - 1}` },
        body: {
          sizeBytes: blob.sizeBytes - offset,
          open: () => counted(blob, offset, tell),
        },
        idleMs: SEND_IDLE_MS,
        accepts: [404, 416],
      },
      blob.digest,
    );
    await answer.close();
    this.#requireSession(answer, blob);
    return { location: this.#locationOf(answer, location), offset: blob.sizeBytes };
  }

  async #commit({ location }: UploadSession, blob: BlobToUpload): Promise<void> {
    const url = new URL(this.#absolute(location));
    url.searchParams.set('digest', blob.digest);
    const request = {
      method: 'PUT',
      path: url.href,
      headers: BLOB_HEADERS,
      body: '',
      idleMs: COMMIT_IDLE_MS,
      // 400: the digest of what has come is another, so something went wrong on the way
      accepts: [400, 404, 416],
    } as const;
    const answer = await this.#send(request, blob.digest);
    await answer.close();
    this.#requireSession(answer, blob);
  }

  #requireSession(answer: HttpAnswer, { digest }: BlobToUpload): void {
    if (answer.ok) return;
    const { subject } = this.#target;
    const text = `${subject}: blob ${digest} not pushed: the registry answered ${answer.status} in the middle of it`;
    throw new LostSession('unavailable', text);
  }

  async #cancel(answer: HttpAnswer, digest: Digest): Promise<void> {
    if (!answer.headers.has('location')) return;
    const path = this.#locationOf(answer, '');
    const cancelled = await this.#send({ method: 'DELETE', path }, digest);
    await cancelled.close();
  }

  async #send(request: RegistryRequest, digest: Digest): Promise<HttpAnswer> {
    const { registry, access, subject, signal } = this.#target;
    const purpose: Purpose = { subject: `${subject}: blob ${digest}`, deed: 'pushed' };
    return await registry.http.send(access, request, purpose, signal);
  }

  /** @throws {HatobaError} failed-precondition when it is none, or leads from HTTPS to HTTP */
  #locationOf(answer: HttpAnswer, asked: string): string {
    const { subject, access } = this.#target;
    const base = this.#absolute(asked);
    const text = answer.headers.get('location') ?? '';
    const url = text !== '' && URL.canParse(text, base) ? new URL(text, base) : undefined;
    const isSafe =
      url?.protocol === 'https:' || (url?.protocol === 'http:' && base.startsWith('http:'));
    if (url !== undefined && isSafe) return url.href;
    const what = `registry ${access.endpoint.baseUrl} sends the upload to "${text}"`;
    const message = `${subject} not pushed: ${what}, which is no safe address`;
    throw new HatobaError('failed-precondition', message);
  }

  #absolute(path: string): string {
    return /^https?:/.test(path) ? path : `${this.#target.access.endpoint.baseUrl}/v2/${path}`;
  }
}

/** The registry knows nothing of the upload any more, or has other bytes: it must begin anew. */
class LostSession extends HatobaError {}

const TELL_EVERY_BYTES = 1024 * 1024;

async function* counted(
  blob: BlobToUpload,
  start: number,
  tell: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let [passed, told] = [start, start];
  tell(start);
  for await (const chunk of blob.open(start)) {
    passed += chunk.length;
    if (passed - told >= TELL_EVERY_BYTES) tell((told = passed));
    yield chunk;
  }
  tell(passed);
}
