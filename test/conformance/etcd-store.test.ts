import type { Context } from 'mocha';
import { eventually } from '../support/eventually.js';
import { startTestEtcd } from '../support/etcd.js';
import { requiresCommand } from '../support/requires.js';
import { describeStore } from './store.suite.js';

describeStore('EtcdStore', async function (this: Context) {
  requiresCommand(this, 'etcd');
  const test = await startTestEtcd();
  const store = test.openStore();
  const end = store[Symbol.asyncDispose].bind(store);
  store[Symbol.asyncDispose] = async () => {
    await end();
    await test[Symbol.asyncDispose]();
  };
  return {
    store,
    compact: async () => {
      const { revision } = await store.list('/none/');
      await store.compact(revision);
    },
    // real time: the suite waits by itself
    passTime: () => eventually(() => undefined),
  };
});
