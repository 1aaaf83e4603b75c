import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, type Logger } from '../../../../common/logger.js';
import { ManagerList } from '../../../../node-agent/session/manager-list.js';
import { NetworkFile } from '../../../../node-agent/state/network-file.js';
import { TaskDb } from '../../../../node-agent/state/task-db.js';
import { NetworkConfig, NetworkPeer } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { assignedTask } from '../tasks.js';

describe('what the agent keeps on disk', () => {
  let folder: string;
  let complaints: string[];
  let log: Logger;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ht-agent-state-'));
    complaints = [];
    const note = (message: string): void => void complaints.push(message);
    log = { ...silentLogger, error: note, warn: note };
  });
  afterEach(() => rm(folder, { recursive: true }));

  describe('TaskDb', () => {
    it('brings back every task with its newest status', async () => {
      const db = new TaskDb(folder, { log });
      const [one, two] = [assignedTask({ id: 'a1' }), assignedTask({ id: 'b2' })];
      await db.load();
      await db.put(two);
      await db.put(one);
      const status = {
        ...one.status,
        state: TaskState.RUNNING,
        containerStatus: { containerId: 'a1', pid: 7, exitCode: undefined, oomKilled: false },
      };
      await db.put({ ...one, status });
      assert.deepEqual(await new TaskDb(folder, { log }).load(), [{ ...one, status }, two]);
      await db.delete('a1');
      await db.delete('a1');
      assert.deepEqual(await db.load(), [two]);
      assert.deepEqual(complaints, []);
    });

    it('keeps files that only root reads, and no drafts', async () => {
      const db = new TaskDb(join(folder, 'tasks'), { log });
      await db.load();
      await Promise.all([1, 2, 3].map(() => db.put(assignedTask())));
      assert.deepEqual(await readdir(join(folder, 'tasks')), ['t1.task']);
      assert.equal((await stat(join(folder, 'tasks/t1.task'))).mode & 0o777, 0o600);
    });

    it('leaves out what it cannot read, saying so, and cleans up drafts', async () => {
      const db = new TaskDb(folder, { log });
      await db.put(assignedTask());
      await db.put(assignedTask({ id: 'other' }));
      await writeFile(join(folder, 'broken.task'), Buffer.from([0xff, 0xff, 0xff]));
      await writeFile(join(folder, 'empty.task'), '');
      await rm(join(folder, 'other.task'));
      await writeFile(join(folder, 't1.task.123.new'), 'half');
      assert.deepEqual(
        (await db.load()).map((t) => t.id),
        ['t1'],
      );
      assert.equal(complaints.length, 2);
      assert.equal(
        (await readdir(folder)).some((name) => name.endsWith('.new')),
        false,
      );
    });

    for (const id of ['../x', '', 'a/b', '.hidden', 'a'.repeat(65)]) {
      it(`refuses the id ${JSON.stringify(id).slice(0, 12)}`, async () => {
        await assert.rejects(
          new TaskDb(folder, { log }).put(assignedTask({ id })),
          /is not a task id/,
        );
      });
    }
  });

  describe('NetworkFile', () => {
    it('brings back networks and their revision', async () => {
      const clock = new FakeClock();
      const options = { path: join(folder, 'agent/networks'), nodeId: 'n1' };
      const file = new NetworkFile(options, { clock, log });
      const reopened = (): ReturnType<NetworkFile['load']> =>
        new NetworkFile(options, { clock, log }).load();
      assert.equal(await file.load(), undefined);
      const state = {
        nodeId: 'n1',
        networks: [
          NetworkConfig.fromPartial({ networkId: 'a', subnets: [{ subnet: '10.0.0.0/24' }] }),
        ],
        endpoints: [],
        services: [],
        peers: [NetworkPeer.fromPartial({ nodeId: 'n1', index: 1 })],
      };
      await file.keep({ revision: 7, state });
      assert.deepEqual(await reopened(), { revision: 7, state });
      const peers = [...state.peers, NetworkPeer.fromPartial({ nodeId: 'n2', index: 2 })];
      await file.keep({ revision: 8, state: { ...state, peers } });
      assert.equal((await reopened())?.revision, 7, 'peers are not urgent');
      await file[Symbol.asyncDispose]();
      assert.deepEqual(await reopened(), { revision: 8, state: { ...state, peers } });
      assert.equal(clock.pendingTimers, 0);
      assert.deepEqual(complaints, []);
    });

    it('does without what it cannot read', async () => {
      const path = join(folder, 'networks');
      await writeFile(path, Buffer.from([0xff, 0xff]));
      const clock = new FakeClock();
      assert.equal(await new NetworkFile({ path, nodeId: 'n1' }, { clock, log }).load(), undefined);
      assert.equal(complaints.length, 1);
    });
  });

  describe('ManagerList', () => {
    it('remembers where the managers went, and falls back on the configuration', async () => {
      const options = { path: join(folder, 'managers.json'), configured: ['m1:4400'] };
      const list = new ManagerList(options, { log });
      await list.load();
      assert.deepEqual(list.addresses(), ['m1:4400']);
      await list.learn(['m2:4400', 'nonsense', 'm1:4400']);
      await list.learn([]);
      const next = new ManagerList({ ...options, configured: ['m9:4400'] }, { log });
      await next.load();
      assert.deepEqual(next.addresses(), ['m2:4400', 'm1:4400', 'm9:4400']);
      assert.deepEqual(complaints, []);
    });
  });
});
