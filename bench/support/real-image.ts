import { execFile } from 'node:child_process';
import { readdir, lstat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeImage, type BuiltImage } from '../../test/support/image-fixtures.js';

/** What images are made of, and how much of each: many small files, and libraries. */
const SOURCES: readonly { folder: string; share: number }[] = [
  { folder: '/usr/share', share: 0.35 },
  { folder: '/usr/bin', share: 0.15 },
  { folder: '/usr/lib', share: 0.5 },
];
const LAYERS = 4;
/** Few images have larger files. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * An image of files of this machine, which compress as the files of images do: so many bytes in four
 * layers, with their directories, packed by GNU tar.
 */
export async function makeRealImage(
  sizeBytes: number,
  tag: string,
  workDir: string,
): Promise<BuiltImage> {
  const paths: { path: string; bytes: number }[] = [];
  for (const { folder, share } of SOURCES)
    paths.push(...(await collect(folder, sizeBytes * share)));
  const perLayer = sizeBytes / LAYERS;
  const lists: string[][] = [[]];
  let filled = 0;
  for (const { path, bytes } of paths) {
    if (filled > perLayer && lists.length < LAYERS) {
      lists.push([]);
      filled = 0;
    }
    lists.at(-1)?.push(path);
    filled += bytes;
  }
  const layers: Buffer[] = [];
  for (const [i, list] of lists.entries()) layers.push(await packList(list, join(workDir, `${i}`)));
  return await makeImage({ tags: [tag], layers, config: { Cmd: ['/bin/true'] } });
}

async function packList(paths: readonly string[], listFile: string): Promise<Buffer> {
  await writeFile(listFile, paths.map((path) => path.slice(1)).join('\0'));
  const args = ['-C', '/', '--null', '--no-recursion', '-T', listFile, '-cf', '-'];
  const options = { encoding: 'buffer', maxBuffer: 4 * 1024 ** 3 } as const;
  return (await promisify(execFile)('tar', args, options)).stdout;
}

/** Files, links and folders of a folder up to that many bytes, folders before what is in them. */
async function collect(top: string, sizeBytes: number): Promise<{ path: string; bytes: number }[]> {
  const found: { path: string; bytes: number }[] = [];
  const left = [top];
  let total = 0;
  for (let path = left.pop(); path !== undefined && total < sizeBytes; path = left.pop()) {
    const stat = await lstat(path).catch(() => undefined);
    if (stat === undefined || stat.isSocket() || stat.size > MAX_FILE_BYTES) continue;
    const bytes = stat.isFile() ? stat.size : 0;
    found.push({ path, bytes });
    total += bytes;
    if (stat.isDirectory()) {
      const folder = path;
      left.push(...(await readdir(folder)).map((name) => join(folder, name)));
    }
  }
  return found;
}
