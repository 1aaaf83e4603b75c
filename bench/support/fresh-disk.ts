import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A new ext4 with a journal in a file: unpacking on a disk where much was deleted a moment ago
 * measures that disk's past.
 */
export class FreshDisk implements Disposable {
  readonly path: string;
  readonly #folder: string;

  constructor(sizeBytes: number) {
    this.#folder = mkdtempSync('/var/tmp/ht-bench-');
    const image = join(this.#folder, 'disk');
    this.path = join(this.#folder, 'mnt');
    mkdirSync(this.path);
    writeFileSync(image, '');
    truncateSync(image, sizeBytes);
    execFileSync('/usr/sbin/mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0', image]);
    execFileSync('/usr/bin/mount', ['-o', 'loop', image, this.path]);
  }

  [Symbol.dispose](): void {
    execFileSync('/usr/bin/umount', [this.path]);
    rmSync(this.#folder, { recursive: true });
  }
}
