import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { HatobaError } from '../../../common/errors.js';
import { silentLogger } from '../../../common/logger.js';
import { AgentConnections } from '../../../manager/rpc/agents.js';
import { relayExec } from '../../../manager/rpc/relay-exec.js';
import { ImageRelay } from '../../../manager/rpc/relay-images.js';
import { LogRelay } from '../../../manager/rpc/relay-logs.js';
import {
  AgentService,
  ImageProgress,
  LogMessage,
  LogOptions,
  NodeImageResult,
  type ExecInput,
  type ExecOutput,
  type ImageLoadInput,
  type ImagePullRequest,
} from '../../../proto/gen/hatoba/v1/agent.js';
import { Image, NodeRole, NodeState, TaskState } from '../../../proto/gen/hatoba/v1/types.js';
import { listenTls, type RpcServer } from '../../../proto/wire/server.js';
import { bindService, type Implementation } from '../../../proto/wire/service.js';
import { aNode, aService, aTask } from '../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../support/cluster-rig.js';
import { createTestCa, type TestCa } from '../../support/tls-rig.js';

/** An agent of which the relays are the only client. */
class FakeAgent implements Implementation<typeof AgentService> {
  /** Lines of each task, by time. */
  readonly lines = new Map<string, readonly (readonly [number, string])[]>();
  loaded = createHash('sha256');
  loadedBytes = 0;
  refuseLoadAfterBytes = Infinity;
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  async *taskLogs(
    { taskId, options }: { taskId: string; options: LogOptions | undefined },
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<LogMessage> {
    const lines = this.lines.get(taskId);
    if (lines === undefined) throw new HatobaError('not-found', `no task ${taskId} here`);
    for (const [timestampMs, line] of lines) {
      yield LogMessage.fromPartial({ timestampMs, line: Buffer.from(line) });
    }
    if (options?.follow !== true) return;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  }

  async *taskExec(input: AsyncIterable<ExecInput>): AsyncGenerator<ExecOutput> {
    for await (const { input: part } of input) {
      if (part?.$case === 'start') {
        const said = `${this.#name}:${part.value.taskId}:${part.value.command.join(' ')}`;
        yield { output: { $case: 'stdout', value: Buffer.from(said) } };
      } else if (part?.$case === 'stdin') {
        yield { output: { $case: 'stderr', value: part.value } };
      }
    }
    yield { output: { $case: 'exitCode', value: 7 } };
  }

  async imageLoad(input: AsyncIterable<ImageLoadInput>): Promise<{ results: NodeImageResult[] }> {
    for await (const { input: part } of input) {
      if (part?.$case !== 'chunk') continue;
      this.loaded.update(part.value);
      this.loadedBytes += part.value.length;
      if (this.loadedBytes > this.refuseLoadAfterBytes) {
        throw new HatobaError('resource-exhausted', 'the disk is full');
      }
    }
    return { results: [NodeImageResult.fromPartial({ images: [{ id: `sha256:${this.#name}` }] })] };
  }

  async *imagePull({ reference, platform }: ImagePullRequest): AsyncGenerator<ImageProgress> {
    await Promise.resolve();
    yield ImageProgress.fromPartial({ layer: 'sha256:1', status: 'downloading' });
    yield ImageProgress.fromPartial({ status: 'done', image: { id: reference, os: platform } });
  }

  imageList(): Promise<{
    nodes: { nodeId: string; hostname: string; images: Image[]; err: string }[];
  }> {
    const images = [Image.fromPartial({ id: `sha256:${this.#name}` })];
    return Promise.resolve({ nodes: [{ nodeId: '', hostname: '', images, err: '' }] });
  }
}

const EVERYONE = {
  taskLogs: 'operator',
  taskExec: 'operator',
  imageLoad: 'operator',
  imagePull: 'operator',
  imageList: 'operator',
} as const;

describe('relays to agents', () => {
  let ca: TestCa;
  let rig: ClusterRig;
  let agents: AgentConnections;
  const servers: RpcServer[] = [];
  const fakes = new Map<string, FakeAgent>();
  const never = new AbortController().signal;

  before(async () => {
    ca = await createTestCa();
  });
  beforeEach(async () => {
    rig = await createClusterRig();
    for (const id of ['n1', 'n2', 'n3']) {
      const fake = new FakeAgent(id);
      const server = await listenTls({
        host: '127.0.0.1',
        port: 0,
        identity: await ca.issue(id, NodeRole.WORKER),
        services: [bindService(AgentService, fake, EVERYONE)],
        logger: silentLogger,
      });
      servers.push(server);
      fakes.set(id, fake);
      const agentAddress = `127.0.0.1:${server.port}`;
      await rig.put('node', aNode({ id, description: { hostname: id, agentAddress } }));
    }
    await rig.put('service', aService());
    const identity = await ca.issue('m1', NodeRole.MANAGER);
    agents = new AgentConnections({ view: rig.view, identity });
  });
  afterEach(async () => {
    await agents[Symbol.asyncDispose]();
    for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  function fakeOf(id: string): FakeAgent {
    const fake = fakes.get(id);
    assert.ok(fake !== undefined);
    return fake;
  }

  async function putTask(
    id: string,
    nodeId: string,
    slot: number,
    lines: [number, string][],
  ): Promise<void> {
    await rig.put('task', aTask({ id, nodeId, slot, status: { state: TaskState.RUNNING } }));
    fakes.get(nodeId)?.lines.set(id, lines);
  }

  async function setNode(id: string, state: NodeState): Promise<void> {
    const node = rig.view.node(id);
    assert.ok(node !== undefined);
    await rig.change('node', { ...node, status: { ...node.status, state } });
  }

  describe('logs', () => {
    const logs = (options: Partial<LogOptions> = {}, signal = never): AsyncGenerator<LogMessage> =>
      new LogRelay({ view: rig.view, agents }).messages(
        { service: 'web', task: '', options: LogOptions.fromPartial(options) },
        signal,
      );
    const shown = (m: LogMessage): string =>
      m.err !== ''
        ? `${m.taskName} ! ${m.err}`
        : `${m.taskName} ${m.nodeHostname} ${String(m.line)}`;

    it('come from all nodes in order of time', async () => {
      await putTask('t1', 'n1', 1, [
        [10, 'a'],
        [40, 'd'],
      ]);
      await putTask('t2', 'n2', 2, [
        [20, 'b'],
        [30, 'c'],
      ]);
      const lines = (await collect(logs())).map(shown);
      assert.deepEqual(lines, ['web.1 n1 a', 'web.2 n2 b', 'web.2 n2 c', 'web.1 n1 d']);
    });

    it('say what is missing, and why', async () => {
      await putTask('t1', 'n1', 1, [[10, 'a']]);
      await putTask('t2', 'n2', 2, []);
      fakeOf('n2').lines.delete('t2');
      await putTask('t3', 'n3', 3, []);
      await setNode('n3', NodeState.DOWN);
      const lines = (await collect(logs())).map(shown).sort();
      assert.deepEqual(lines, ['web.1 n1 a', 'web.2 ! no task t2 here', 'web.3 ! node n3 is down']);
    });

    it('of tasks that come later are followed too', async () => {
      await putTask('t1', 'n1', 1, [[10, 'a']]);
      const end = new AbortController();
      const following = logs({ follow: true }, end.signal);
      assert.equal(shown(await next(following)), 'web.1 n1 a');
      fakeOf('n2').lines.set('t2', [[20, 'b']]);
      await putTask('t2', 'n2', 2, [[20, 'b']]);
      assert.equal(shown(await next(following)), 'web.2 n2 b');
      end.abort();
      assert.equal((await following.next()).done, true);
    });
  });

  describe('exec', () => {
    it('reaches the task’s node and comes back in order', async () => {
      await putTask('t1', 'n2', 1, []);
      async function* input(): AsyncGenerator<ExecInput> {
        await Promise.resolve();
        const start = { taskId: 'web.1', command: ['ls', '-l'], env: [], user: '', dir: '' };
        const value = { ...start, tty: false, stdin: true, size: undefined };
        yield { input: { $case: 'start', value } };
        yield { input: { $case: 'stdin', value: Buffer.from('in') } };
      }
      const outputs = await collect(relayExec({ view: rig.view, agents }, input(), never));
      assert.deepEqual(
        outputs.map(({ output }) => `${output?.$case ?? ''} ${String(output?.value)}`),
        ['stdout n2:t1:ls -l', 'stderr in', 'exitCode 7'],
      );
    });

    it('refuses what does not begin with a command', async () => {
      async function* input(): AsyncGenerator<ExecInput> {
        await Promise.resolve();
        yield { input: { $case: 'stdin', value: Buffer.from('x') } };
      }
      const outputs = collect(relayExec({ view: rig.view, agents }, input(), never));
      await assert.rejects(outputs, { kind: 'invalid-argument' });
    });
  });

  describe('images', () => {
    const CHUNK = 256 * 1024;
    async function* archive(nodes: string[], chunks: number): AsyncGenerator<ImageLoadInput> {
      yield { input: { $case: 'start', value: { nodes } } };
      for (let i = 0; i < chunks; i++) {
        await Promise.resolve();
        yield { input: { $case: 'chunk', value: Buffer.alloc(CHUNK, i) } };
      }
    }
    function digestOf(chunks: number): string {
      const hash = createHash('sha256');
      for (let i = 0; i < chunks; i++) hash.update(Buffer.alloc(CHUNK, i));
      return hash.digest('hex');
    }

    it('reach every ready node whole', async () => {
      await setNode('n3', NodeState.DOWN);
      const relay = new ImageRelay({ view: rig.view, agents });
      const { results } = await relay.load(archive([], 40), never);
      assert.deepEqual(
        results.map((r) => [r.nodeId, r.images[0]?.id, r.err]),
        [
          ['n1', 'sha256:n1', ''],
          ['n2', 'sha256:n2', ''],
        ],
      );
      for (const id of ['n1', 'n2']) {
        assert.equal(fakeOf(id).loaded.digest('hex'), digestOf(40), id);
      }
      assert.equal(fakeOf('n3').loadedBytes, 0);
    });

    it('go on to the others when one node fails in the middle', async () => {
      fakeOf('n1').refuseLoadAfterBytes = CHUNK;
      const relay = new ImageRelay({ view: rig.view, agents });
      const { results } = await relay.load(archive(['n1', 'n2'], 40), never);
      assert.deepEqual(
        results.map((r) => [r.nodeId, r.err]),
        [
          ['n1', 'the disk is full'],
          ['n2', ''],
        ],
      );
      assert.equal(fakeOf('n2').loaded.digest('hex'), digestOf(40));
    });

    it('are not taken for whole when the archive breaks off', async () => {
      async function* broken(): AsyncGenerator<ImageLoadInput> {
        yield* archive(['n1'], 2);
        throw new HatobaError('cancelled', 'the caller went away');
      }
      const relay = new ImageRelay({ view: rig.view, agents });
      await assert.rejects(relay.load(broken(), never), { kind: 'cancelled' });
    });

    it('are pulled by each node with its own progress', async () => {
      await setNode('n3', NodeState.DOWN);
      const relay = new ImageRelay({ view: rig.view, agents });
      const request = { reference: 'web:1', nodes: [], auth: undefined };
      const progress = await collect(relay.pull({ ...request, platform: 'linux/arm64' }, never));
      const of = (id: string): string[] =>
        progress
          .filter((p) => p.nodeId === id)
          .map((p) => [p.status, p.image?.id, p.image?.os].join(' ').trim());
      assert.deepEqual(of('n1'), ['downloading', 'done web:1 linux/arm64']);
      assert.deepEqual(of('n2'), ['downloading', 'done web:1 linux/arm64']);
      assert.deepEqual(of('n3'), []);
    });

    it('are listed by node; one that does not answer is an error of its own', async () => {
      await servers[1]?.[Symbol.asyncDispose]();
      const { nodes } = await new ImageRelay({ view: rig.view, agents }).list(never);
      assert.deepEqual(
        nodes.map((n) => n.images[0]?.id),
        ['sha256:n1', undefined, 'sha256:n3'],
      );
      assert.match(nodes[1]?.err ?? '', /cannot be reached/);
    });
  });

  it('an address taken over by another node is not believed', async () => {
    const [n1, n2] = [rig.view.node('n1'), rig.view.node('n2')];
    assert.ok(n1 !== undefined && n2 !== undefined);
    const { agentAddress } = n2.description;
    await rig.change('node', { ...n1, description: { ...n1.description, agentAddress } });
    const { nodes } = await new ImageRelay({ view: rig.view, agents }).list(never);
    assert.match(nodes.find((n) => n.nodeId === 'n1')?.err ?? '', /certificate/);
  });
});

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

async function next<T>(source: AsyncGenerator<T, unknown>): Promise<T> {
  const item = await source.next();
  assert.ok(item.done !== true);
  return item.value;
}
