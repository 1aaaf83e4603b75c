import assert from 'node:assert/strict';
import { consoleSteps, isAsSaid } from '../../support/console-blocks.js';

describe('the commands of a page', () => {
  it('are found with what they print', () => {
    const page =
      'Text\n```console\n$ one\na\nb\n$ two\n```\n```sh\n$ no\n```\n```console\n$ three\n```\n';
    assert.deepEqual(consoleSteps(page), [
      { command: 'one', expected: ['a', 'b'] },
      { command: 'two', expected: [] },
      { command: 'three', expected: [] },
    ]);
  });

  it('print what the page says, or not', () => {
    assert.equal(isAsSaid('a\nb\n', ['a', 'b']), true);
    assert.equal(isAsSaid('a\nb\n', ['a']), false);
    assert.equal(isAsSaid('', []), true);
    assert.equal(isAsSaid('x\n', []), false);
    assert.equal(isAsSaid('a  12   b\n', ['a … b']), true);
    assert.equal(isAsSaid('first\nmore\nlast\n', ['…', 'last']), true);
    assert.equal(isAsSaid('last\n', ['…', 'last']), true);
    assert.equal(isAsSaid('first\nmore\n', ['…', 'last']), false);
    assert.equal(isAsSaid('a.b\n', ['axb']), false);
  });
});
