import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import type { TaskStatus } from '../../../common/model/objects.js';
import { ExecStart, type ExecInput } from '../../../proto/gen/hatoba/v1/agent.js';
import {
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import {
  Task,
  TaskState,
  type DeepPartial,
  type TaskSpec,
} from '../../../proto/gen/hatoba/v1/types.js';
import { readStream, sendAll } from '../../../proto/wire/client.js';
import { cleanUp } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { Talks } from '../../support/talks.js';
import { AgentHost } from './agent-host.js';
import { TestManager } from './test-manager.js';

const NETWORK = NetworkConfig.fromPartial({
  networkId: 'net1',
  name: 'front',
  driver: 'overlay',
  subnets: [{ subnet: '10.129.7.0/24', gateway: '10.129.7.1' }],
  vni: 5001,
});
const FOREVER = ['sh', '-c', 'echo up; trap "exit 0" TERM; while :; do sleep 0.1; done'];

function aTask(id: string, args: string[], spec: DeepPartial<TaskSpec> = {}): Task {
  return Task.fromPartial({
    id,
    serviceId: 'svc1',
    serviceName: 'web',
    slot: 1,
    generation: 1,
    nodeId: 'n1',
    desiredState: TaskState.RUNNING,
    status: { state: TaskState.ASSIGNED, timestampMs: 1 },
    ...spec,
    spec: {
      ...spec,
      containerSpec: { image: 'box:1', args, ...spec.containerSpec },
    },
  });
}

describe('agent on a real machine', function () {
  let manager: TestManager;
  let host: AgentHost;

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip', 'busybox'])
      requiresCommand(this, command);
    manager = await TestManager.start();
    host = new AgentHost(manager);
    await host.setUp();
    manager.assign(
      { $case: 'network', value: NETWORK },
      {
        $case: 'peer',
        value: NetworkPeer.fromPartial({ nodeId: 'n1', index: 1, dataPathAddress: '192.0.2.1' }),
      },
    );
    await host.start();
    await host.loadImage(
      await dockerArchive(await busyboxImage({ tag: 'box:1', applets: ['hostname', 'nslookup'] })),
    );
  });
  after(async () => {
    await cleanUp(
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
    );
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') process.stderr.write(host.log.slice(-4000));
    const ids = [...manager.statuses.keys()];
    manager.unassign(
      ...ids.map((id) => ({ $case: 'task' as const, value: Task.fromPartial({ id }) })),
      ...ids.map((taskId) => ({
        $case: 'endpoint' as const,
        value: NetworkEndpoint.fromPartial({ networkId: 'net1', taskId }),
      })),
    );
    await eventually(() => assert.deepEqual(host.leftovers(), []));
    manager.statuses.clear();
    manager.history.length = 0;
  });

  const reaches = (id: string, state: TaskState): Promise<TaskStatus> =>
    eventually(() => {
      const status = manager.statuses.get(id);
      assert.equal(status?.state, state, JSON.stringify(status));
      assert.ok(status);
      return status;
    });
  const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);
  const onNetwork = (task: Task, address: string): Task => {
    manager.assign({
      $case: 'endpoint',
      value: NetworkEndpoint.fromPartial({
        networkId: 'net1',
        taskId: task.id,
        serviceId: 'svc1',
        nodeId: 'n1',
        address,
        slot: 1,
        ready: true,
      }),
    });
    return {
      ...task,
      networksAttachments: [
        { networkId: 'net1', networkName: 'front', addresses: [`${address}/24`], aliases: [] },
      ],
    };
  };
  const exec = async (
    taskId: string,
    command: string[],
  ): Promise<{ out: string; code: number }> => {
    const call = host.client.taskExec();
    const input: ExecInput = {
      input: { $case: 'start', value: ExecStart.fromPartial({ taskId, command }) },
    };
    void sendAll(call, [input]);
    let [out, code] = ['', -1];
    for await (const { output } of readStream(call as never) as AsyncIterable<{
      output?: { $case: string; value: unknown };
    }>) {
      if (output?.$case === 'exitCode') code = output.value as number;
      else out += String(output?.value);
    }
    return { out, code };
  };

  it('runs an assigned task, and tells each state', async () => {
    manager.assignTask(onNetwork(aTask('t1', FOREVER), '10.129.7.5'));
    const { containerStatus } = await reaches('t1', TaskState.RUNNING);
    assert.ok(isAlive(containerStatus.pid));
    assert.equal(manager.history.at(-1), 't1 RUNNING');
    const namespaces = (pid: number | string): string[] =>
      ['pid', 'net', 'mnt', 'uts', 'ipc'].map((ns) => `/proc/${pid}/ns/${ns}`).filter(existsSync);
    assert.equal(namespaces(containerStatus.pid).length, 5);
    const hostname = await exec('t1', ['hostname']);
    assert.deepEqual(hostname, { out: 't1\n', code: 0 });
    const { out } = await exec('t1', ['cat', '/etc/hosts', '/etc/resolv.conf']);
    assert.match(out, /^10\.129\.7\.5\tt1$/m);
    assert.match(out, /^nameserver 10\.129\.7\.1$/m);
    const lines: string[] = [];
    for await (const m of readStream(host.client.taskLogs({ taskId: 't1', options: undefined }))) {
      lines.push(`${m.taskName} ${m.nodeHostname} ${m.line.toString()}`);
    }
    assert.deepEqual(lines, ['web.1 n1 up']);
  });

  it('reports the networks that are in force', async () => {
    manager.assign({
      $case: 'peer',
      value: NetworkPeer.fromPartial({ nodeId: 'n2', index: 2, dataPathAddress: '192.0.2.2' }),
    });
    const { revision } = manager;
    await eventually(() =>
      assert.ok((manager.heartbeats.at(-1)?.appliedNetworkRevision ?? 0) >= revision),
    );
    manager.unassign({ $case: 'peer', value: NetworkPeer.fromPartial({ nodeId: 'n2' }) });
  });

  it('tells how a task ended', async () => {
    manager.assignTask(aTask('t1', ['sh', '-c', 'exit 0']));
    manager.assignTask(aTask('t2', ['sh', '-c', 'exit 3']));
    manager.assignTask(aTask('t3', ['no-such-program']));
    assert.equal((await reaches('t1', TaskState.COMPLETE)).containerStatus.exitCode, 0);
    const failed = await reaches('t2', TaskState.FAILED);
    assert.equal(failed.err, 'task: non-zero exit (3)');
    assert.equal(failed.containerStatus.exitCode, 3);
    const rejected = await reaches('t3', TaskState.REJECTED);
    assert.match(rejected.err, /no-such-program/);
  });

  it('stops a task that is not wanted, and keeps it until it is unassigned', async () => {
    const task = onNetwork(aTask('t1', FOREVER), '10.129.7.5');
    manager.assignTask(task);
    const { containerStatus } = await reaches('t1', TaskState.RUNNING);
    manager.assignTask({ ...task, desiredState: TaskState.SHUTDOWN });
    const status = await reaches('t1', TaskState.SHUTDOWN);
    assert.equal(status.containerStatus.exitCode, 0);
    assert.equal(isAlive(containerStatus.pid), false);
    const left = ['task t1', 'container t1'];
    assert.deepEqual(host.leftovers(), left, 'its logs stay, its address is free');
  });

  it('lets the connections to a task end before it stops it', async () => {
    const task = onNetwork({ ...aTask('t1', FOREVER), drainMs: 60_000 }, '10.129.7.5');
    manager.assignTask(task);
    manager.assignTask(onNetwork(aTask('t2', FOREVER), '10.129.7.6'));
    const netnsOf = async (id: string): Promise<string> =>
      `/proc/${(await reaches(id, TaskState.RUNNING)).containerStatus.pid}/ns/net`;
    const talks = new Talks();
    try {
      await talks.serve(await netnsOf('t1'), 'server');
      const talk = await talks.connect(await netnsOf('t2'), 'tcp', '10.129.7.5');
      assert.equal(await talk.say(), 'server');
      manager.assignTask({ ...task, desiredState: TaskState.SHUTDOWN });
      await eventually(() => {
        assert.equal(manager.statuses.get('t1')?.message, 'draining: 1 open connection');
      });
      assert.equal(await talk.say(), 'server');
      assert.equal(manager.statuses.get('t1')?.state, TaskState.RUNNING);
      await talk.end();
      await reaches('t1', TaskState.SHUTDOWN);
    } finally {
      await talks.close();
    }
  });

  it('waits for the health of a container, and ends it when it is lost', async () => {
    const healthcheck = {
      test: ['CMD', 'cat', '/tmp/ok'],
      intervalMs: 100,
      retries: 2,
      startPeriodMs: 5000,
      startIntervalMs: 100,
    };
    manager.assignTask(
      aTask(
        't1',
        ['sh', '-c', 'sleep 1; echo > /tmp/ok; sleep 2; rm /tmp/ok; while :; do sleep 1; done'],
        {
          containerSpec: { healthcheck, stopGracePeriodMs: 100 },
        },
      ),
    );
    await reaches('t1', TaskState.STARTING);
    await reaches('t1', TaskState.RUNNING);
    const status = await reaches('t1', TaskState.FAILED);
    assert.match(status.err, /^unhealthy container: .*\/tmp\/ok/);
  });

  it('rejects a task whose image is nowhere, naming it and the answer', async () => {
    manager.assignTask(
      aTask('t1', [], { containerSpec: { image: '127.0.0.1:5999/nothing:here' } }),
    );
    const { err } = await reaches('t1', TaskState.REJECTED);
    assert.match(err, /127\.0\.0\.1:5999\/nothing:here/);
    assert.match(err, /ECONNREFUSED|refused/);
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    it(`finds its containers again after ${signal}: same processes, none restarted`, async () => {
      manager.assignTask(onNetwork(aTask('t1', FOREVER), '10.129.7.5'));
      manager.assignTask(aTask('t2', FOREVER));
      const pids = [];
      for (const id of ['t1', 't2']) {
        pids.push((await reaches(id, TaskState.RUNNING)).containerStatus.pid);
      }
      const startTimes = pids.map(startTime);
      await host.stop(signal);
      assert.deepEqual(pids.map(startTime), startTimes, 'they live on without the agent');
      assert.equal(manager.heartbeats.at(-1)?.leaving ?? false, signal === 'SIGTERM');
      manager.history.length = 0;
      manager.statuses.clear();
      await host.start();
      for (const [i, id] of ['t1', 't2'].entries()) {
        assert.equal((await reaches(id, TaskState.RUNNING)).containerStatus.pid, pids[i]);
      }
      assert.deepEqual(pids.map(startTime), startTimes);
      assert.deepEqual(new Set(manager.history), new Set(['t1 RUNNING', 't2 RUNNING']));
      assert.equal((await exec('t1', ['true'])).code, 0);
    });
  }

  it('sees after a crash what ended without it, and removes what is no longer its own', async () => {
    manager.assignTask(aTask('t1', ['sh', '-c', 'sleep 1; exit 4']));
    manager.assignTask(aTask('t2', FOREVER));
    await reaches('t1', TaskState.RUNNING);
    const { containerStatus } = await reaches('t2', TaskState.RUNNING);
    await host.stop('SIGKILL');
    manager.unassign({ $case: 'task', value: Task.fromPartial({ id: 't2' }) });
    await eventually(() => {
      const t1 = manager.statuses.get('t1')?.containerStatus.pid ?? 0;
      assert.equal(isAlive(t1), false);
    });
    await host.start();
    assert.equal((await reaches('t1', TaskState.FAILED)).err, 'task: non-zero exit (4)');
    await eventually(() => assert.equal(isAlive(containerStatus.pid), false));
  });

  it('keeps its tasks while no manager can be reached, and goes on when one can', async () => {
    const task = aTask('t1', FOREVER);
    manager.assignTask(task);
    const { containerStatus } = await reaches('t1', TaskState.RUNNING);
    await manager[Symbol.asyncDispose]();
    await host.stop('SIGKILL');
    await host.start();
    assert.ok(isAlive(containerStatus.pid));
    const sessions = manager.sessions.length;
    await manager.listen();
    await eventually(() => assert.ok(manager.sessions.length > sessions));
    manager.assignTask({ ...task, desiredState: TaskState.SHUTDOWN });
    await reaches('t1', TaskState.SHUTDOWN);
  });

  it('brings thirty tasks up at once', async function () {
    const ids = Array.from({ length: 30 }, (_, i) => `m${i}`);
    const startedAt = performance.now();
    manager.assign(
      ...ids.map((id, i) => ({
        $case: 'task' as const,
        value: onNetwork(aTask(id, FOREVER), `10.129.7.${20 + i}`),
      })),
    );
    for (const id of ids) await reaches(id, TaskState.RUNNING);
    const seconds = (performance.now() - startedAt) / 1000;
    if (this.test) this.test.title += ` (${seconds.toFixed(2)} s, ${(30 / seconds).toFixed(0)}/s)`;
  });
});

/** When a process began, by which it is told from a later one of the same number. */
function startTime(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}
