import { systemClock } from '../../common/adapters/system-clock.js';
import { MemoryStore } from '../../manager/store/memory-store.js';
import { startTestEtcd } from '../support/etcd.js';
import { requiresCommand } from '../support/requires.js';
import { seededRandom } from '../support/seeded-random.js';
import { describeAddresses } from './addresses.suite.js';

describeAddresses('MemoryStore', () => {
  const random = seededRandom(1);
  const store = new MemoryStore(
    { clock: systemClock },
    { watchDelayMs: () => Math.floor(random.next() * 5) }, // views that are behind
  );
  return Promise.resolve({ store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() });
});

describeAddresses('EtcdStore', async function () {
  requiresCommand(this, 'etcd');
  const etcd = await startTestEtcd();
  const store = etcd.openStore();
  return {
    store,
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      await etcd[Symbol.asyncDispose]();
    },
  };
});
