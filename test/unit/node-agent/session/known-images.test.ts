import assert from 'node:assert/strict';
import { KnownImages } from '../../../../node-agent/session/known-images.js';
import { FakeClock } from '../../../support/fake-clock.js';

describe('KnownImages', () => {
  let clock: FakeClock;
  let names: string[];
  let asked: number[];
  let images: KnownImages;

  beforeEach(() => {
    clock = new FakeClock();
    names = ['web:1', 'db:1'];
    asked = [];
    images = new KnownImages({
      clock,
      names: (most) => {
        asked.push(most);
        return Promise.resolve(names);
      },
    });
  });

  it('are asked for every ten seconds at most, a hundred of them', async () => {
    assert.deepEqual(await images.list(), ['web:1', 'db:1']);
    names = ['web:2', 'web:1', 'db:1'];
    await clock.advance(9999);
    assert.deepEqual(await images.list(), ['web:1', 'db:1']);
    await clock.advance(1);
    assert.deepEqual(await images.list(), ['web:2', 'web:1', 'db:1']);
    assert.deepEqual(asked, [100, 100]);
  });

  it('stay in their order while they are the same', async () => {
    await images.list();
    names = ['db:1', 'web:1'];
    await clock.advance(10_000);
    assert.deepEqual(await images.list(), ['web:1', 'db:1']);
    names = ['db:1', 'web:2'];
    await clock.advance(10_000);
    assert.deepEqual(await images.list(), ['db:1', 'web:2']);
  });

  it('are asked for again after somebody set the clock back', async () => {
    await images.list();
    names = [];
    clock.setBack(3_600_000);
    assert.deepEqual(await images.list(), []);
  });
});
