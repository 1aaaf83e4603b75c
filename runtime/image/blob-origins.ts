import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HatobaError, errnoOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { ContentStore, ExpectedBlob } from '../content/content-store.js';
import { replaceDurably } from '../content/durable-file.js';
import { isDigest, toDigest, type Digest } from '../core/digest.js';
import type { ImageReference } from '../core/image-ref.js';
import { asCount, asObject, asString, optionalStrings, parseJson } from '../core/json-fields.js';

const FILE = 'distribution.json';
/** Of one blob; the latest stay. */
const MAX_REPOSITORIES = 5;
/** All of it is in memory, and written whole at each change; the oldest go first. */
const MAX_BLOBS = 10_000;

/**
 * Where at registries the blobs of this machine are, and what plain layers are called there: so that
 * a push sends only what is missing. `distribution.json` is
 * `{"repositories": {"sha256:…": ["127.0.0.1:5000/web"]}, "gzipped": {"sha256:<plain>": {"digest":
 * "sha256:…", "sizeBytes": 1}}}`. All of it is a hint: what is lost costs time, what is wrong is found
 * out by asking.
 */
export class BlobOrigins {
  readonly #root: string;
  readonly #logger: Logger;
  readonly #repositories = new Map<Digest, readonly string[]>();
  readonly #gzipped = new Map<Digest, ExpectedBlob>();
  #writing: Promise<void> = Promise.resolve();

  private constructor(root: string, logger: Logger) {
    this.#root = root;
    this.#logger = logger;
  }

  /** Reads what is below `root`, and forgets what is of blobs that are gone. */
  static async open(
    root: string,
    { content, logger }: { content: ContentStore; logger: Logger },
  ): Promise<BlobOrigins> {
    const origins = new BlobOrigins(root, logger);
    try {
      await origins.#read(content);
    } catch (error) {
      if (!(error instanceof HatobaError)) throw error;
      logger.warn('Forgot where blobs came from: the file is damaged', { file: FILE }, error);
    }
    return origins;
  }

  /** Repositories of a registry that have a blob, the latest first. */
  repositoriesOf(registry: string, digest: Digest): string[] {
    const own = (this.#repositories.get(digest) ?? []).filter((name) =>
      name.startsWith(`${registry}/`),
    );
    return own.map((name) => name.slice(registry.length + 1));
  }

  /** What a plain layer is when compressed, if it was before. */
  gzipOf(plain: Digest): ExpectedBlob | undefined {
    return this.#gzipped.get(plain);
  }

  /** Notes that a repository has these blobs. */
  async add(reference: ImageReference, blobs: readonly ExpectedBlob[]): Promise<void> {
    const name = `${reference.registry}/${reference.repository}`;
    for (const { digest } of blobs) {
      const others = (this.#repositories.get(digest) ?? []).filter((other) => other !== name);
      this.#repositories.delete(digest); // so that it is the latest
      this.#repositories.set(digest, [name, ...others].slice(0, MAX_REPOSITORIES));
    }
    for (const oldest of this.#repositories.keys()) {
      if (this.#repositories.size <= MAX_BLOBS) break;
      this.#repositories.delete(oldest);
    }
    await this.#write();
  }

  async addGzip(plain: Digest, { digest, sizeBytes }: ExpectedBlob): Promise<void> {
    this.#gzipped.set(plain, { digest, sizeBytes });
    await this.#write();
  }

  async #read(content: ContentStore): Promise<void> {
    const bytes = await readIfThere(join(this.#root, FILE));
    if (bytes === undefined) return;
    const file = asObject(parseJson(bytes, FILE), FILE);
    const known = new Set<string>();
    for (const [plain, value] of Object.entries(asObject(file['gzipped'], `${FILE}: gzipped`))) {
      if (!isDigest(plain) || !(await content.has(plain))) continue;
      const entry = asObject(value, `${FILE}: ${plain}`);
      const digest = toDigest(asString(entry['digest'], `${FILE}: digest`));
      const sizeBytes = asCount(entry['sizeBytes'], `${FILE}: sizeBytes`);
      this.#gzipped.set(plain, { digest, sizeBytes });
      known.add(digest);
    }
    const repositories = asObject(file['repositories'], `${FILE}: repositories`);
    for (const [digest, names] of Object.entries(repositories)) {
      if (!isDigest(digest) || !(known.has(digest) || (await content.has(digest)))) continue;
      this.#repositories.set(digest, optionalStrings(names, `${FILE}: ${digest}`));
    }
  }

  /** One after the other; a failure is no reason to fail what was done. */
  async #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const text = JSON.stringify({
        repositories: Object.fromEntries(this.#repositories),
        gzipped: Object.fromEntries(this.#gzipped),
      });
      try {
        await replaceDurably(this.#root, FILE, text);
      } catch (error) {
        this.#logger.warn('Could not note where blobs came from', { file: FILE }, error);
      }
    });
    await this.#writing;
  }
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
