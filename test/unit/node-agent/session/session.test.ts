import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import type { NodeDescription, TaskStatus } from '../../../../common/model/objects.js';
import { Session } from '../../../../node-agent/session/session.js';
import { StatusReporter } from '../../../../node-agent/session/status-reporter.js';
import { AssignmentsMessage } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { taskStatus } from '../tasks.js';
import { FakeManager } from './fake-dispatcher.js';

const random = { next: () => 0, bytes: (length: number) => new Uint8Array(length) };
const unavailable = new HatobaError('unavailable', 'connection lost');
const described = { hostname: 'n1' } as NodeDescription;

class Rig {
  readonly clock = new FakeClock();
  readonly managers = new Map<string, FakeManager>();
  readonly reporter: StatusReporter;
  readonly session: Session;
  readonly statuses = new Map<string, TaskStatus>();
  readonly learned: string[][] = [];
  readonly received: string[] = [];
  /** The address of each connection, in order. */
  readonly tried: string[] = [];
  addresses: string[];
  appliedRevision = 0;
  description = described;
  expectedSequence = '';
  readonly #stop = new AbortController();
  readonly #run: Promise<void>;

  constructor(addresses = ['m1:4400']) {
    this.addresses = addresses;
    for (const address of addresses) this.managers.set(address, new FakeManager());
    const { clock } = this;
    this.reporter = new StatusReporter({ clock, random, log: silentLogger });
    this.session = new Session({
      connect: (address) => {
        this.tried.push(address);
        return this.manager(address).connect();
      },
      managers: {
        addresses: () => this.addresses,
        learn: (addresses) => {
          this.learned.push([...addresses]);
          return Promise.resolve();
        },
      },
      reporter: this.reporter,
      clock,
      random,
      log: silentLogger,
      describe: () => Promise.resolve(this.description),
      statuses: () => this.statuses,
      appliedNetworkRevision: () => this.appliedRevision,
      onAssignments: (message) => {
        if (message.appliesTo !== this.expectedSequence) return false;
        this.received.push(message.resultsIn);
        this.expectedSequence = message.resultsIn;
        return true;
      },
    });
    this.#run = this.session.run(this.#stop.signal);
  }

  manager(address = 'm1:4400'): FakeManager {
    const manager = this.managers.get(address);
    assert.ok(manager);
    return manager;
  }

  assign(appliesTo: string, resultsIn: string): void {
    const stream = this.manager().assignmentStreams.at(-1);
    assert.ok(stream);
    stream.push(AssignmentsMessage.fromPartial({ appliesTo, resultsIn }));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#run;
  }
}

describe('Session', () => {
  let rig: Rig;
  const start = async (addresses?: string[]): Promise<Rig> => {
    rig = new Rig(addresses);
    await rig.clock.advance(0);
    return rig;
  };
  afterEach(async () => {
    await rig.stop();
    assert.equal(rig.clock.pendingTimers, 0, 'no timer is left');
  });

  it('registers, then beats at the period the manager asks for', async () => {
    const { clock, session } = await start();
    const manager = rig.manager();
    assert.equal(session.isConnected, true);
    assert.equal(manager.sessions[0]?.description?.hostname, 'n1');
    assert.equal(manager.heartbeats.length, 1);
    await clock.advance(3000);
    assert.equal(manager.heartbeats.length, 4);
    manager.periodMs = 100;
    await clock.advance(1000);
    const before = manager.heartbeats.length;
    await clock.advance(1000);
    assert.equal(manager.heartbeats.length - before, 10);
  });

  it('tells at once that newer networks are in force', async () => {
    const { clock, session } = await start();
    await clock.advance(100);
    rig.appliedRevision = 42;
    session.onNetworkApplied();
    await clock.advance(20);
    assert.deepEqual(
      rig.manager().heartbeats.map((h) => h.appliedNetworkRevision),
      [0, 42],
    );
  });

  it('tells once, with a heartbeat, what has changed of the host', async () => {
    const { clock } = await start();
    const told = (): string[][] =>
      rig.manager().heartbeats.flatMap((h) => (h.description ? [h.description.hostSubnets] : []));
    await clock.advance(12_000);
    assert.deepEqual(told(), []);
    rig.description = { ...described, hostSubnets: ['10.9.0.0/16'] };
    await clock.advance(12_000);
    assert.deepEqual(told(), [['10.9.0.0/16']]);
    rig.description = { ...described, hostSubnets: [] };
    rig.manager().heartbeatError = unavailable;
    await clock.advance(4000);
    rig.manager().heartbeatError = undefined;
    await clock.advance(12_000);
    const known = rig.manager().sessions.at(-1)?.description?.hostSubnets ?? told().at(-1);
    assert.deepEqual(known, [], 'told by the heartbeat or by the next session');
  });

  it('beats although reports and assignments hang', async () => {
    const { clock } = await start();
    rig.manager().onReport = () => new Promise(() => undefined);
    rig.reporter.report('t1', taskStatus());
    await clock.advance(5000);
    assert.equal(rig.manager().heartbeats.length, 6);
  });

  it('reports all statuses of the node in a new session', async () => {
    rig = new Rig();
    rig.statuses.set('t1', taskStatus({ state: TaskState.RUNNING }));
    await rig.clock.advance(50);
    assert.deepEqual(
      rig.manager().reports.map((batch) => batch.map((u) => u.taskId)),
      [['t1']],
    );
    rig.manager().sessionStream.end(unavailable);
    await rig.clock.advance(1000);
    assert.equal(rig.manager().reports.length, 2);
    assert.equal(rig.manager().sessions[1]?.sessionId, 'session-1');
  });

  it('hands on assignments in order, and asks for all of them after a gap', async () => {
    const { clock } = await start();
    rig.assign('', '1');
    rig.assign('1', '2');
    await clock.advance(0);
    rig.assign('7', '8');
    await clock.advance(0);
    assert.deepEqual(rig.received, ['1', '2']);
    assert.equal(rig.manager().assignmentStreams.length, 2);
    assert.equal(rig.manager().sessions.length, 1, 'the session goes on');
    rig.expectedSequence = '';
    rig.assign('', '1');
    await clock.advance(0);
    assert.deepEqual(rig.received, ['1', '2', '1']);
  });

  for (const [name, breakIt] of [
    ['its stream ends', (m: FakeManager) => m.sessionStream.end()],
    ['its stream fails', (m: FakeManager) => m.sessionStream.end(unavailable)],
    ['assignments fail', (m: FakeManager) => m.assignmentStreams.at(-1)?.end(unavailable)],
  ] as const) {
    it(`opens a new session when ${name}`, async () => {
      const { clock, session } = await start();
      breakIt(rig.manager());
      await clock.advance(0);
      assert.equal(session.isConnected, false);
      assert.equal(rig.manager().closed, 1);
      await clock.advance(200);
      assert.equal(session.isConnected, true);
    });
  }

  it('survives one lost heartbeat, and leaves at the second', async () => {
    const { clock } = await start();
    rig.manager().heartbeatError = unavailable;
    await clock.advance(1000);
    rig.manager().heartbeatError = undefined;
    await clock.advance(1000);
    assert.equal(rig.manager().sessions.length, 1);
    rig.manager().heartbeatError = unavailable;
    await clock.advance(2500);
    assert.ok(rig.manager().sessions.length > 1);
  });

  it('leaves at once when the manager does not know the session', async () => {
    const { clock } = await start();
    rig.manager().heartbeatError = new HatobaError('failed-precondition', 'unknown session');
    await clock.advance(1000);
    assert.equal(rig.manager().closed, 1);
  });

  it('goes from manager to manager until one answers', async () => {
    rig = new Rig(['m1:4400', 'm2:4400', 'm3:4400']);
    rig.manager('m1:4400').isReachable = false;
    rig.manager('m2:4400').answersSession = false;
    await rig.clock.advance(10_000);
    assert.deepEqual(rig.tried, ['m1:4400', 'm2:4400', 'm3:4400']);
    assert.equal(rig.session.isConnected, true);
  });

  it('does not wait long for a host that answers nothing', async () => {
    rig = new Rig(['m1:4400', 'm2:4400']);
    rig.manager('m1:4400').answersSession = false;
    const connecting = Promise.reject(new HatobaError('deadline', 'no connection'));
    connecting.catch(() => undefined);
    rig.manager('m1:4400').connecting = connecting;
    await rig.clock.advance(200);
    assert.deepEqual(rig.tried, ['m1:4400', 'm2:4400']);
    assert.equal(rig.session.isConnected, true);
  });

  it('gives a host that is busy more time, and backs off from one attempt to the next', async () => {
    rig = new Rig();
    const manager = rig.manager();
    manager.answersSession = false;
    await rig.clock.advance(60_000);
    const neverCame = manager.connectTimeoutsMs.slice(0, 4);
    assert.deepEqual(neverCame, [2000, 4000, 5000, 5000]);
    const before = rig.tried.length;
    await rig.clock.advance(50_500);
    assert.equal(
      rig.tried.length - before,
      10,
      'the time that an attempt took is not waited again',
    );
  });

  it('backs off although each session lives for a moment', async () => {
    rig = new Rig();
    rig.manager().heartbeatError = new HatobaError('failed-precondition', 'unknown session');
    await rig.clock.advance(60_000);
    const before = rig.tried.length;
    await rig.clock.advance(20_000);
    assert.equal(rig.tried.length - before, 20);
  });

  it('backs off to two seconds, no further', async () => {
    rig = new Rig();
    rig.manager().isReachable = false;
    await rig.clock.advance(60_000);
    const before = rig.tried.length;
    await rig.clock.advance(20_000);
    assert.equal(rig.tried.length - before, 20, 'half of two seconds each, as the jitter is 0');
  });

  it('says so when it leaves, and does not take it back', async () => {
    const { clock, session } = await start();
    await session.leave();
    session.onNetworkApplied();
    await clock.advance(2000);
    const leaving = rig.manager().heartbeats.map((h) => h.leaving ?? false);
    assert.deepEqual(leaving.slice(0, 2), [false, true]);
    assert.ok(leaving.slice(1).every(Boolean));
    rig.manager().heartbeatError = unavailable;
    await session.leave();
  });

  it('leaves without a word when no manager is there', async () => {
    rig = new Rig();
    rig.manager().isReachable = false;
    await rig.clock.advance(0);
    await rig.session.leave();
    assert.equal(rig.manager().heartbeats.length, 0);
  });

  it('learns where the managers are', async () => {
    rig = new Rig();
    rig.manager().managerAddresses = ['m1:4400', 'm2:4400'];
    await rig.clock.advance(0);
    assert.deepEqual(rig.learned, [['m1:4400', 'm2:4400']]);
  });

  it('makes calls within the present session, and none without one', async () => {
    const request = { containerId: 'c1', containerName: 'web', network: 'front', aliases: [], address: '', active: true }; // prettier-ignore
    const attach = (): Promise<unknown> =>
      rig.session.call((dispatcher, sessionId, options) =>
        dispatcher.attachContainer({ ...request, sessionId }, options),
      );
    await start();
    await attach();
    const manager = rig.manager();
    assert.deepEqual(manager.attached, [{ ...request, sessionId: 'session-1' }]);
    manager.isReachable = false;
    manager.answersAttach = false;
    const lost = assert.rejects(attach(), { kind: 'unavailable', message: /ended meanwhile/ });
    manager.sessionStream.end(unavailable);
    await rig.clock.advance(100);
    await lost;
    await assert.rejects(attach(), { kind: 'unavailable', message: /no connection/ });
  });

  it('tries on without any manager', async () => {
    rig = new Rig([]);
    await rig.clock.advance(5000);
    rig.managers.set('m1:4400', new FakeManager());
    rig.addresses = ['m1:4400'];
    await rig.clock.advance(2000);
    assert.equal(rig.session.isConnected, true);
  });
});
