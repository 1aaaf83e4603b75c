import assert from 'node:assert/strict';
import { JoinedSync } from '../../../../runtime/content/joined-sync.js';

describe('JoinedSync', () => {
  let begun: { resolve: () => void; reject: (error: Error) => void }[];
  let sync: JoinedSync;
  let ended: string[];

  beforeEach(() => {
    begun = [];
    ended = [];
    sync = new JoinedSync(
      () => new Promise<void>((resolve, reject) => begun.push({ resolve, reject })),
    );
  });

  const ask = async (name: string): Promise<void> => {
    await sync.run();
    ended.push(name);
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('makes all who come during one wait for one more, that begins after them', async () => {
    const first = ask('first');
    const others = [ask('second'), ask('third')];
    assert.equal(begun.length, 1);
    begun[0]?.resolve();
    await first;
    await turn();
    assert.deepEqual(ended, ['first']);
    assert.equal(begun.length, 2);
    const late = ask('late');
    begun[1]?.resolve();
    await Promise.all(others);
    await turn();
    assert.deepEqual(ended, ['first', 'second', 'third']);
    assert.equal(begun.length, 3);
    begun[2]?.resolve();
    await late;
  });

  it('tells a failure to those whose flush it was, and goes on', async () => {
    const first = assert.rejects(sync.run(), /broken/);
    const second = ask('second');
    begun[0]?.reject(new Error('broken'));
    await first;
    await turn();
    begun[1]?.resolve();
    await second;
    const third = ask('third');
    begun[2]?.resolve();
    await third;
    assert.deepEqual(ended, ['second', 'third']);
  });
});
