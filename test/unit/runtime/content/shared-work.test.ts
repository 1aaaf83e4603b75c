import assert from 'node:assert/strict';
import { Limiter } from '../../../../runtime/content/limiter.js';
import { SharedWork } from '../../../../runtime/content/shared-work.js';

/** Work that ends when it is told to. */
function controlled() {
  const starts: { signal: AbortSignal; tell: (n: number) => void; end: (v: string) => void }[] = [];
  const start = (signal: AbortSignal, tell: (n: number) => void): Promise<string> =>
    new Promise((resolve, reject) => {
      starts.push({ signal, tell, end: resolve });
      signal.addEventListener('abort', () => {
        reject(new Error('work aborted'));
      });
    });
  return { starts, start };
}

describe('shared work', () => {
  it('runs once for all that want it at the same time, and tells all how far it is', async () => {
    const work = new SharedWork<string, number>();
    const { starts, start } = controlled();
    const told: number[] = [];
    const onProgress = (n: number): void => {
      told.push(n);
    };
    const calls = [1, 2, 3].map(() => work.run('k', start, { onProgress: (n) => onProgress(n) }));
    assert.equal(starts.length, 1);
    starts[0]?.tell(7);
    starts[0]?.end('done');
    assert.deepEqual(await Promise.all(calls), ['done', 'done', 'done']);
    assert.deepEqual(told, [7, 7, 7]);
    const again = work.run('k', start);
    starts[1]?.end('anew');
    assert.equal(await again, 'anew');
  });

  it('keeps keys apart', async () => {
    const work = new SharedWork<string, number>();
    const { starts, start } = controlled();
    const calls = [work.run('a', start), work.run('b', start)];
    starts[1]?.end('b');
    starts[0]?.end('a');
    assert.deepEqual(await Promise.all(calls), ['a', 'b']);
  });

  it('goes on while one caller wants it', async () => {
    const work = new SharedWork<string, number>();
    const { starts, start } = controlled();
    const controller = new AbortController();
    const leaving = work.run('k', start, { signal: controller.signal });
    const staying = work.run('k', start);
    const left = assert.rejects(leaving, /leave/);
    controller.abort(new Error('leave'));
    await left;
    assert.equal(starts[0]?.signal.aborted, false);
    starts[0].end('done');
    assert.equal(await staying, 'done');
  });

  it('is aborted with its last caller, who waits for the end; the next one begins anew', async () => {
    const work = new SharedWork<string, number>();
    const order: string[] = [];
    let cleanedUp: () => void = () => undefined;
    const controller = new AbortController();
    const call = work.run(
      'k',
      async (signal) => {
        await new Promise((resolve) => {
          signal.addEventListener('abort', resolve);
        });
        await new Promise<void>((resolve) => (cleanedUp = resolve));
        order.push('cleaned up');
        throw new Error('work aborted');
      },
      { signal: controller.signal },
    );
    const left = assert.rejects(call, /leave/).then(() => order.push('told'));
    controller.abort(new Error('leave'));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await work.run('k', () => Promise.resolve('anew')), 'anew');
    assert.deepEqual(order, []);
    cleanedUp();
    await left;
    assert.deepEqual(order, ['cleaned up', 'told']);
  });

  it('gives its failure to all, and does not begin for a caller that has left', async () => {
    const work = new SharedWork<string, number>();
    const fail = (): Promise<string> => Promise.reject(new Error('broken'));
    const results = await Promise.allSettled([work.run('k', fail), work.run('k', fail)]);
    assert.deepEqual(
      results.map((r) => r.status),
      ['rejected', 'rejected'],
    );
    const signal = AbortSignal.abort(new Error('left'));
    await assert.rejects(work.run('k', fail, { signal }), /left/);
  });
});

describe('the limiter', () => {
  it('runs so many at once, in order, and none that was given up', async () => {
    const limiter = new Limiter(2);
    const log: string[] = [];
    const ends: (() => void)[] = [];
    const begin = (name: string, signal?: AbortSignal): Promise<void> =>
      limiter.run(async () => {
        log.push(name);
        await new Promise<void>((resolve) => ends.push(resolve));
      }, signal);
    const controller = new AbortController();
    const a = begin('a');
    const b = begin('b');
    const c = begin('c', controller.signal);
    const d = begin('d');
    assert.deepEqual(log, ['a', 'b']);
    controller.abort(new Error('no more'));
    await assert.rejects(c, /no more/);
    ends[0]?.();
    await a;
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(log, ['a', 'b', 'd']);
    ends.forEach((end) => end());
    await Promise.all([b, d]);
  });

  it('goes on after a failure', async () => {
    const limiter = new Limiter(1);
    await assert.rejects(limiter.run(() => Promise.reject(new Error('x'))));
    assert.equal(await limiter.run(() => Promise.resolve(1)), 1);
  });
});
