import { mkdir, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HatobaError, errnoOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import type { ContentStore } from '../content/content-store.js';
import { DRAFT_SUFFIX, replaceDurably, syncDirectory } from '../content/durable-file.js';
import type { LayerStore } from '../content/layer-store.js';
import { hexOf, isDigest, type Digest } from '../core/digest.js';
import { asObject, asString, parseJson } from '../core/json-fields.js';
import {
  keyOf,
  parseImageRecord,
  readKnownImage,
  toImage,
  type ImageRecord,
  type KnownImage,
} from './image-record.js';

const REFERENCES = 'references.json';
const RECORD_NAME = /^[0-9a-f]{64}\.json$/;
const ID_PREFIX = /^(?:sha256:)?([0-9a-f]{1,64})$/;

/**
 * The images of this machine and their names.
 * 1. An image is listed only while its configuration and all its layers are here.
 * 2. `images/references.json` is `{"docker.io/library/web:2": "sha256:…", …}`: a name moves from one
 *    image to another by one replacement of this file, after the new image's own file is written.
 * 3. Changes are written one after the other; what is in memory is on disk.
 */
export class ImageIndex {
  readonly #dir: string;
  readonly #images = new Map<Digest, KnownImage>();
  #references = new Map<string, Digest>();
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Reads what is below `root`; files that are damaged or miss their layers are left aside. */
  static async open(
    root: string,
    modules: { content: ContentStore; layers: LayerStore; logger: Logger },
  ): Promise<ImageIndex> {
    const index = new ImageIndex(join(root, 'images'));
    await mkdir(index.#dir, { recursive: true, mode: 0o700 });
    for (const name of (await readdir(index.#dir)).sort()) {
      if (name.endsWith(DRAFT_SUFFIX)) await rm(join(index.#dir, name));
      if (!RECORD_NAME.test(name)) continue;
      try {
        await index.#read(name, modules);
      } catch (error) {
        if (!(error instanceof HatobaError)) throw error;
        modules.logger.warn('Ignored an image that is not whole', { file: name }, error);
      }
    }
    await index.#readReferences(modules.logger);
    return index;
  }

  /** The folder of the images' files. */
  get dir(): string {
    return this.#dir;
  }

  /**
   * Finds by name, by "name@digest", by id or by a prefix of one, in this order.
   * @throws {HatobaError} invalid-argument when a prefix fits several images, or when the text is
   *   neither a reference nor an id
   */
  find(text: string): KnownImage | undefined {
    if (text.startsWith('sha256:')) return this.#findById(text);
    const isId = /^[0-9a-f]{64}$/.test(text); // which is no valid reference
    const named = isId ? undefined : this.#references.get(keyOf(text));
    return named === undefined ? this.#findById(text) : this.#images.get(named);
  }

  get(id: Digest): KnownImage | undefined {
    return this.#images.get(id);
  }

  /** Every image, in no order. */
  all(): KnownImage[] {
    return [...this.#images.values()];
  }

  /** Keys of all references, with the image each names. */
  references(): [string, Digest][] {
    return [...this.#references];
  }

  /** Keys of the references that name an image, sorted. */
  referencesOf(id: Digest): string[] {
    return [...this.#references].flatMap(([key, named]) => (named === id ? [key] : [])).sort();
  }

  /** Newest first, those of the same time by id. */
  list(): Image[] {
    const images = [...this.#images.values()].map((known) => this.describe(known));
    return images.sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? -1 : 1));
  }

  describe(known: KnownImage): Image {
    return toImage(known, this.referencesOf(known.record.id));
  }

  /**
   * Adds an image, or adds to what is known of it, and lets references name it.
   * @param references keys (see keyOf); each is taken from the image that had it
   */
  async add(known: KnownImage, references: readonly string[]): Promise<Image> {
    await this.#inTurn(() => this.#add(known, references));
    return this.describe(known);
  }

  /**
   * Lets one more reference name an image; it is taken from the image that had it.
   * @throws {HatobaError} not-found when the image has gone meanwhile
   */
  async tag(id: Digest, reference: string): Promise<void> {
    await this.#inTurn(async () => {
      if (!this.#images.has(id)) throw new HatobaError('not-found', `image ${id} has been removed`);
      await this.#writeReferences(new Map(this.#references).set(reference, id));
    });
  }

  /** Takes references away, then the image, if one is given: it must not have others. */
  async remove(references: readonly string[], image?: Digest): Promise<void> {
    await this.#inTurn(async () => {
      const names = new Map(this.#references);
      for (const key of references) names.delete(key);
      if (references.length > 0) await this.#writeReferences(names);
      if (image === undefined) return;
      await rm(join(this.#dir, fileOf(image)), { force: true });
      await syncDirectory(this.#dir);
      this.#images.delete(image);
    });
  }

  async #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#writing.then(change);
    this.#writing = done.catch(() => undefined); // its caller is told
    await done;
  }

  async #add({ record, blob }: KnownImage, references: readonly string[]): Promise<void> {
    const before = this.#images.get(record.id)?.record;
    const merged: ImageRecord = {
      ...record,
      // those its manifest names: what comes without one does not take that from it
      layers: record.manifests.length > 0 ? record.layers : (before?.layers ?? record.layers),
      manifests: [...new Set([...(before?.manifests ?? []), ...record.manifests])].sort(),
      addedAtMs: before?.addedAtMs ?? record.addedAtMs,
    };
    const names = new Map(this.#references);
    for (const key of references) names.set(key, record.id);
    await replaceDurably(this.#dir, fileOf(record.id), JSON.stringify(merged));
    // an image without names is listed too: it is there whatever becomes of them
    this.#images.set(record.id, { record: merged, blob });
    if (references.length > 0) await this.#writeReferences(names);
  }

  async #writeReferences(names: Map<string, Digest>): Promise<void> {
    const sorted = [...names].sort(([a], [b]) => (a < b ? -1 : 1));
    await replaceDurably(this.#dir, REFERENCES, JSON.stringify(Object.fromEntries(sorted)));
    this.#references = names;
  }

  #findById(text: string): KnownImage | undefined {
    const prefix = ID_PREFIX.exec(text)?.[1];
    if (prefix === undefined) return undefined;
    const fits = [...this.#images.values()].filter((i) => hexOf(i.record.id).startsWith(prefix));
    if (fits.length > 1) {
      const ids = fits.map((i) => hexOf(i.record.id).slice(0, 12)).sort();
      const message = `"${text}" begins the ids of ${fits.length} images (${ids.join(', ')}): write more of it`;
      throw new HatobaError('invalid-argument', message);
    }
    return fits[0];
  }

  async #read(
    name: string,
    { content, layers }: { content: ContentStore; layers: LayerStore },
  ): Promise<void> {
    const record = parseImageRecord(await readFile(join(this.#dir, name)), name);
    const known = await readKnownImage(record, content);
    const missing = known.blob.diffIds.find((diffId) => !layers.has(diffId));
    if (missing !== undefined) throw new HatobaError('not-found', `layer ${missing} is missing`);
    if (fileOf(record.id) !== name) throw new HatobaError('invalid-argument', 'its name is wrong');
    this.#images.set(record.id, known);
  }

  async #readReferences(logger: Logger): Promise<void> {
    try {
      const bytes = await readFile(join(this.#dir, REFERENCES));
      for (const [key, value] of Object.entries(
        asObject(parseJson(bytes, REFERENCES), REFERENCES),
      )) {
        const id = asString(value, `${REFERENCES}: ${key}`);
        if (isDigest(id) && this.#images.has(id)) this.#references.set(key, id);
      }
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      if (!(error instanceof HatobaError)) throw error;
      logger.warn('Ignored the damaged names of images', { file: REFERENCES }, error);
    }
  }
}

function fileOf(id: Digest): string {
  return `${hexOf(id)}.json`;
}
