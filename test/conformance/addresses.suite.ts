import assert from 'node:assert/strict';
import type { Context } from 'mocha';
import { systemClock } from '../../common/adapters/system-clock.js';
import { systemRandom } from '../../common/adapters/system-random.js';
import { isKind } from '../../common/errors.js';
import { silentLogger } from '../../common/logger.js';
import type { Attachment } from '../../common/model/objects.js';
import { isTerminal } from '../../common/model/task-state.js';
import { leadTerm } from '../../manager/controllers/term.js';
import { Attachments } from '../../manager/rpc/attachments.js';
import { LEADER_KEY } from '../../manager/store/keys.js';
import type { Store } from '../../manager/store/store.js';
import { applyPlan } from '../../manager/store/write.js';
import { Reflector } from '../../manager/view/reflector.js';
import { View } from '../../manager/view/view.js';
import { AttachContainerRequest } from '../../proto/gen/hatoba/v1/dispatcher.js';
import { aCluster, aNetwork, aNode, aService } from '../support/builders.js';
import { eventually } from '../support/eventually.js';

const modules = { clock: systemClock, random: systemRandom, logger: silentLogger };

/** A store and what each manager opens it by. */
export interface StoreForManagers extends AsyncDisposable {
  readonly store: Store;
}

/** One manager's view of the store, and what it attaches containers by. */
class Manager implements AsyncDisposable {
  readonly view = new View();
  readonly attachments: Attachments;
  readonly #reflector: Reflector;

  constructor(store: Store) {
    this.#reflector = new Reflector({ ...modules, store, view: this.view });
    this.attachments = new Attachments(
      { store, view: this.view, clock: systemClock },
      systemRandom,
    );
  }

  async start(): Promise<void> {
    await this.#reflector.start(new AbortController().signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reflector[Symbol.asyncDispose]();
  }
}

/** However many ask at once, by whichever manager, an address has one holder. */
export function describeAddresses(
  name: string,
  open: (this: Context) => Promise<StoreForManagers>,
): void {
  describe(`addresses given at the same time, on ${name}`, () => {
    let opened: StoreForManagers;
    let managers: Manager[];
    let end: AbortController;
    let leading: Promise<void>;

    beforeEach(async function () {
      opened = await open.call(this);
      const { store } = opened;
      managers = [new Manager(store), new Manager(store)];
      for (const manager of managers) await manager.start();
      end = new AbortController();
      leading = lead(store, managers[0]?.view ?? new View(), end.signal);
    });
    afterEach(async () => {
      end.abort();
      await leading;
      for (const manager of managers) await manager[Symbol.asyncDispose]();
      await opened[Symbol.asyncDispose]();
    });

    it('are all different: containers by two managers, tasks and a service by the leader', async () => {
      const { store } = opened;
      await setUp(store, { subnet: '10.5.0.0/24', replicas: 60 });
      const asks = Array.from({ length: 40 }, (_, i) => attach(managers[i % 2], i));
      const attached = await Promise.all(asks);
      const view = managers[1]?.view ?? new View();
      await eventually(() => assert.equal(taskAddresses(view).length, 60));
      const all = ['10.5.0.1/24', ...attached.map((a) => a.address), ...taskAddresses(view)];
      for (const { endpoint } of view.services()) {
        all.push(...endpoint.virtualIps.map((v) => v.addr));
      }
      assert.equal(all.length, 102);
      assert.equal(new Set(all).size, 102);
    });

    it('are refused to all but one who want the same, or when there are no more', async () => {
      const { store } = opened;
      await setUp(store, { subnet: '10.5.0.0/28', replicas: 4 });
      const wanted = Array.from({ length: 6 }, (_, i) => attach(managers[i % 2], i, '10.5.0.9'));
      const outcomes = await Promise.allSettled(wanted);
      const refused = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as Error] : []));
      assert.ok(refused.length >= 5, 'a task may have been first');
      assert.ok(refused.every((e) => isKind(e, 'conflict') && /10\.5\.0\.9/.test(e.message)));
      const view = managers[1]?.view ?? new View();
      await eventually(() => assert.equal(taskAddresses(view).length, 4));
      // 14 addresses: the gateway, a virtual one, 4 tasks
      const left = 14 - 6 - (6 - refused.length);
      const many = Array.from({ length: 12 }, (_, i) => attach(managers[i % 2], 100 + i));
      const given = await Promise.allSettled(many);
      const errors = given.flatMap((o) => (o.status === 'rejected' ? [o.reason as Error] : []));
      assert.ok(errors.every((e) => isKind(e, 'resource-exhausted')));
      assert.equal(given.length - errors.length, left);
      await eventually(() =>
        assert.equal([...view.attachments()].filter((a) => a.address === '').length, 0),
      );
    });
  });
}

async function setUp(
  store: Store,
  { subnet, replicas }: { subnet: string; replicas: number },
): Promise<void> {
  const gateway = subnet.replace(/0\/\d+$/, '1');
  const network = aNetwork({ id: 'net', spec: { name: 'net' }, ipam: [{ subnet, gateway }] });
  const service = aService({
    spec: {
      mode: { $case: 'replicated', value: { replicas } },
      taskTemplate: { networks: [{ target: 'net' }] },
    },
  });
  const create = { action: 'create' } as const;
  const { conflicts } = await applyPlan(
    store,
    {
      groups: [
        [
          { ...create, kind: 'cluster', object: aCluster() },
          { ...create, kind: 'network', object: network },
          { ...create, kind: 'node', object: aNode({ id: 'n1' }) },
          { ...create, kind: 'service', object: service },
        ],
      ],
    },
    { clock: systemClock },
  );
  assert.equal(conflicts, 0);
}

async function lead(store: Store, view: View, signal: AbortSignal): Promise<void> {
  const puts = [{ key: LEADER_KEY, value: Buffer.from('m1') }];
  const createRevision = await store.commit({ guards: [], puts, deletes: [] });
  await leadTerm(
    { fence: { key: LEADER_KEY, createRevision }, signal },
    { ...modules, store, view },
  );
}

async function attach(
  manager: Manager | undefined,
  number: number,
  address = '',
): Promise<Attachment> {
  assert.ok(manager);
  await eventually(() => assert.ok(manager.view.network('net')));
  const request = {
    containerId: `c${number}`,
    containerName: `c${number}`,
    network: 'net',
    address,
  };
  const { attachment } = await manager.attachments.attach(
    'n1',
    AttachContainerRequest.fromPartial(request),
    new AbortController().signal,
  );
  assert.ok(attachment);
  return attachment;
}

function taskAddresses(view: View): string[] {
  return [...view.tasks()]
    .filter((t) => !isTerminal(t.status.state))
    .flatMap((t) => t.networksAttachments.flatMap((a) => a.addresses));
}
