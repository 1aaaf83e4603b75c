import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Channel } from '../../../../manager/rpc/channel.js';
import { Pulse } from '../../../../manager/rpc/pulse.js';

describe('Channel', () => {
  async function collect<T>(channel: Channel<T>): Promise<T[]> {
    const items: T[] = [];
    for await (const item of channel.read()) items.push(item);
    return items;
  }

  it('brings everything, each producer’s items in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.nat(), { maxLength: 20 }), { maxLength: 5 }),
        fc.integer({ min: 1, max: 4 }),
        async (lists, limit) => {
          const channel = new Channel<{ from: number; value: number }>(limit);
          const producers = lists.map(async (list, from) => {
            for (const value of list) assert.ok(await channel.push({ from, value }));
          });
          void Promise.all(producers).then(() => channel.close());
          const items = await collect(channel);
          const read = lists.map((_, from) =>
            items.filter((i) => i.from === from).map((i) => i.value),
          );
          assert.deepEqual(read, lists);
        },
      ),
    );
  });

  it('holds no more than its limit', async () => {
    const channel = new Channel<number>(2);
    let pushed = 0;
    const producing = (async () => {
      for (let i = 0; i < 5; i++) if (await channel.push(i)) pushed++;
    })();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(pushed, 2);
    channel.abandon();
    await producing;
    assert.equal(pushed, 2, 'nobody reads: what waited is refused');
  });

  it('ends with the error it is given', async () => {
    const channel = new Channel<number>();
    await channel.push(1);
    channel.fail(new Error('broken'));
    await assert.rejects(collect(channel), /broken/);
  });
});

describe('Pulse', () => {
  it('remembers what came while nobody waited, once', async () => {
    const pulse = new Pulse();
    const end = new AbortController();
    pulse.fire();
    pulse.fire();
    await pulse.wait(end.signal);
    const second = pulse.wait(end.signal);
    end.abort(new Error('end'));
    await assert.rejects(second, /end/);
  });
});
