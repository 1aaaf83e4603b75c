import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { folder, makeImage, type BuiltImage, type TarFile } from './image-fixtures.js';

const PERL = '/usr/bin/perl';
const SERVER = fileURLToPath(new URL('./answer-server.pl', import.meta.url));

/**
 * An image of answer-server.pl with this machine's Perl (essential to Debian) and the libraries that
 * it is linked with: 6 MB, nothing downloaded. `VERSION` in its environment tells images apart.
 */
export async function answerImage(tag: string): Promise<BuiltImage> {
  const libraries = librariesOf(PERL);
  const folders = new Set([...libraries, '/usr/bin/perl', '/proc/x'].flatMap(parents));
  const base: TarFile[] = [
    ...[...folders].sort().map((path) => folder(path)),
    ...libraries.map((path) => fileOf(path, path)),
    fileOf(PERL, PERL),
  ];
  const app: TarFile[] = [folder('bin'), fileOf(SERVER, '/bin/answer')];
  return await makeImage({
    tags: [tag],
    layers: [base, app],
    config: { Cmd: ['/bin/answer', 'serve'], Env: ['PATH=/bin', `VERSION=${tag}`] },
  });
}

/** The loader and libraries of a program, by the paths that it asks for. */
function librariesOf(program: string): string[] {
  const lines = execFileSync('ldd', [program], { encoding: 'utf8' }).split('\n');
  return lines.flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

function fileOf(source: string, path: string): TarFile {
  return { name: path.slice(1), mode: 0o755, content: readFileSync(realpathSync(source)) };
}

/** "/usr/lib/x" → "usr", "usr/lib". */
function parents(path: string): string[] {
  const parts = path.split('/').slice(1, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}
