import { randomUUID } from 'node:crypto';
import { appendFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../../common/errors.js';
import { Event } from '../../proto/gen/hatoba/v1/types.js';

/** Events on disk, a line of JSON each; a later line of an event takes the place of former ones. */
export class EventFile {
  readonly #path: string;
  #bytes = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Size as far as it was written here, for when to begin anew. */
  get bytes(): number {
    return this.#bytes;
  }

  /** In order of writing. A line that was cut off by a crash, or is not understood, is left out. */
  async read(): Promise<Event[]> {
    return (await this.#text()).split('\n').flatMap((line) => parse(line) ?? []);
  }

  async append(events: readonly Event[]): Promise<void> {
    const text = linesOf(events);
    await appendFile(this.#path, text, { mode: 0o600 });
    this.#bytes += Buffer.byteLength(text);
  }

  /** Begins anew, in one step. */
  async replace(events: readonly Event[]): Promise<void> {
    const text = linesOf(events);
    const draft = `${this.#path}.${randomUUID()}.new`;
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    try {
      await writeFile(draft, text, { mode: 0o600 });
      await rename(draft, this.#path);
    } finally {
      await rm(draft, { force: true });
    }
    this.#bytes = Buffer.byteLength(text);
  }

  async #text(): Promise<string> {
    try {
      return await readFile(this.#path, 'utf8');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return '';
      throw error;
    }
  }
}

function linesOf(events: readonly Event[]): string {
  // The line end comes first: what follows a line that was cut off is still whole.
  return events.map((event) => `\n${JSON.stringify(Event.toJSON(event))}`).join('');
}

function parse(line: string): Event | undefined {
  if (line === '') return undefined;
  try {
    const event = Event.fromJSON(JSON.parse(line));
    return event.kind === '' || event.count === 0 ? undefined : event;
  } catch {
    return undefined;
  }
}
