import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseCopySide, parseCopyWords, planUnpack, splitPath } from '../../../cli/copy/words.js';
import { topNameOf } from '../../../runtime/files/top-name.js';

describe('the words of cp', () => {
  const sides: [string, string, string][] = [
    ['c1:/etc', 'c1', '/etc'],
    ['c1:etc/x:y', 'c1', 'etc/x:y'],
    ['c1:', 'c1', ''],
    ['/a:b', '', '/a:b'],
    ['./a:b', '', './a:b'],
    ['.:b', '', '.:b'],
    ['plain', '', 'plain'],
    [':x', '', ':x'],
    ['-', '', '-'],
  ];
  for (const [word, container, path] of sides) {
    it(`reads "${word}"`, () => {
      assert.deepEqual(parseCopySide(word), { container, path });
    });
  }

  it('wants a container on one side only', () => {
    assert.equal(parseCopyWords('c:/x', '-').direction, 'from');
    assert.equal(parseCopyWords('-', 'c:/x').direction, 'to');
    assert.throws(() => parseCopyWords('a:/x', 'b:/y'), /between containers/);
    assert.throws(() => parseCopyWords('./a', './b'), /must be a container/);
    assert.throws(() => parseCopyWords('', 'c:/x'), /cannot be empty/);
    assert.throws(() => parseCopyWords('c:/x', ''), /cannot be empty/);
  });

  // docker cp's own table of cases: source, target → where it is unpacked and as what
  const file = { path: 'src/f', exists: true, isDirectory: false };
  const dir = { path: 'src/d', exists: true, isDirectory: true };
  const target = (path: string, exists: boolean, isDirectory = false) => ({
    path,
    exists,
    isDirectory,
  });
  const plans = [
    { name: 'a file to nothing', from: file, to: target('/t/new', false), is: ['/t', 'new'] },
    { name: 'a file to a file', from: file, to: target('/t/old', true), is: ['/t', 'old'] },
    {
      name: 'a file into a directory',
      from: file,
      to: target('/t', true, true),
      is: ['/t', undefined],
    },
    { name: 'a directory to nothing', from: dir, to: target('/t/new', false), is: ['/t', 'new'] },
    { name: 'a directory to nothing/', from: dir, to: target('/t/new/', false), is: ['/t', 'new'] },
    {
      name: 'a directory into one',
      from: dir,
      to: target('/t/', true, true),
      is: ['/t/', undefined],
    },
  ];
  for (const { name, from, to, is } of plans) {
    it(`copies ${name}`, () => {
      const { directory, rename } = planUnpack(from, to);
      assert.deepEqual([directory, rename], is);
    });
  }

  it('refuses what docker refuses', () => {
    assert.throws(() => planUnpack(dir, target('/t/old', true)), /is a file/);
    assert.throws(() => planUnpack(file, target('/t/new/', false)), /make the directory first/);
    assert.throws(() => planUnpack(file, target('/t/new/.', false)), /make the directory first/);
  });

  it('takes a path apart so that it can be put together again', () => {
    const part = fc.stringMatching(/^[a-z.-]{1,4}$/).filter((p) => p !== '.' && p !== '..');
    const path = fc
      .array(part, { minLength: 1, maxLength: 4 })
      .map((parts) => `/${parts.join('/')}`);
    fc.assert(
      fc.property(path, fc.constantFrom('', '/', '//', '/.', '/./'), (clean, end) => {
        const { directory, base } = splitPath(clean + end);
        assert.equal(directory === '/' ? `/${base}` : `${directory}/${base}`, clean);
      }),
    );
  });

  it('names the first entry as the last part, or as the contents', () => {
    const cases = {
      '/a/b': 'b',
      '/a/b/': 'b',
      '/a/b/.': '.',
      '/': '.',
      '.': '.',
      '..': '.',
      b: 'b',
    };
    for (const [path, name] of Object.entries(cases)) assert.equal(topNameOf(path), name, path);
  });
});
