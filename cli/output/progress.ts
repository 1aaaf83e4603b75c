/**
 * Progress of long work: a block of lines rewritten in place on a terminal, and elsewhere one plain
 * line each time something changed.
 */
export class Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #last = new Map<string, string>();
  #drawn = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Shows `lines`, one for each key, in the order of the map. */
  show(lines: ReadonlyMap<string, string>): void {
    if (this.#out.isTTY) this.#redraw(lines);
    else {
      for (const [key, line] of lines) {
        if (this.#last.get(key) !== line) this.#out.write(`${line}\n`);
        this.#last.set(key, line);
      }
    }
  }

  #redraw(lines: ReadonlyMap<string, string>): void {
    const width = Math.max(20, this.#out.columns);
    const text = [...lines.values()].map((line) => `\x1b[2K${line.slice(0, width - 1)}\n`).join('');
    this.#out.write((this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '') + text);
    this.#drawn = lines.size;
  }
}
