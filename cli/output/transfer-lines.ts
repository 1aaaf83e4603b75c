import { formatBytes } from '../../common/bytes.js';
import type { ImageProgress } from '../../proto/gen/hatoba/v1/agent.js';
import { Progress } from './progress.js';

/** A line for each layer that is pulled or pushed, on stderr. */
export class TransferLines {
  readonly #progress = new Progress(process.stderr);
  readonly #lines = new Map<string, string>();

  /** Messages about an image as a whole have no line. */
  show(p: ImageProgress): void {
    if (p.layer === '') return;
    const layer = p.layer.replace('sha256:', '').slice(0, 12);
    const key = p.hostname === '' ? layer : `${p.hostname} ${layer}`;
    const isMoving = ['downloading', 'pushing'].includes(p.status) && process.stderr.isTTY;
    const done = isMoving ? ` ${formatBytes(p.currentBytes)}` : '';
    const size = p.totalBytes > 0 ? ` of ${formatBytes(p.totalBytes)}` : '';
    this.#lines.set(key, `${key} ${p.status}${done}${size}`);
    this.#progress.show(this.#lines);
  }
}
