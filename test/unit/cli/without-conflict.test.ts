import assert from 'node:assert/strict';
import { withoutConflict } from '../../../cli/without-conflict.js';
import { HatobaError } from '../../../common/errors.js';

describe('withoutConflict', () => {
  let attempts = 0;
  beforeEach(() => {
    attempts = 0;
  });
  const failing = (times: number, error: Error) => (): Promise<string> =>
    ++attempts <= times ? Promise.reject(error) : Promise.resolve('written');

  it('changes again what others have written meanwhile', async () => {
    const change = failing(2, new HatobaError('conflict', 'changed meanwhile'));
    assert.equal(await withoutConflict(change), 'written');
    assert.equal(attempts, 3);
  });

  it('gives up when others keep coming in between', async () => {
    const change = failing(Infinity, new HatobaError('conflict', 'changed meanwhile'));
    await assert.rejects(withoutConflict(change), { kind: 'conflict' });
    assert.equal(attempts, 5);
  });

  it('does not repeat what is refused for other reasons', async () => {
    const change = failing(1, new HatobaError('invalid-argument', 'no such image'));
    await assert.rejects(withoutConflict(change), { kind: 'invalid-argument' });
    assert.equal(attempts, 1);
  });
});
