import { MemoryStore } from '../../manager/store/memory-store.js';
import { FakeClock } from '../support/fake-clock.js';
import { describeStore } from './store.suite.js';

describeStore('MemoryStore', () => {
  const clock = new FakeClock();
  const store = new MemoryStore({ clock });
  return Promise.resolve({
    store,
    compact: () => {
      store.compact();
      return Promise.resolve();
    },
    passTime: (ttlMs) => clock.advance(ttlMs),
  });
});
