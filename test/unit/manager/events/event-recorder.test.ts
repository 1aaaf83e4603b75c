import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../../common/logger.js';
import { EventFile } from '../../../../manager/events/event-file.js';
import { EVENT_LIFE_MS } from '../../../../manager/events/event-log.js';
import { EventRecorder } from '../../../../manager/events/event-recorder.js';
import { eventMethods } from '../../../../manager/rpc/control/events.js';
import { NodeState, TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, T0 } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';
import { eventually } from '../../../support/eventually.js';

describe('the recorder of events', () => {
  let rig: ClusterRig;
  let folder = '';
  let path = '';

  beforeEach(async () => {
    rig = await createClusterRig();
    folder = await mkdtemp(join(tmpdir(), 'hatoba-events-'));
    path = join(folder, 'manager', 'events.jsonl');
  });
  afterEach(async () => {
    await rig[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const start = (): Promise<EventRecorder> =>
    EventRecorder.start({ ...rig, logger: silentLogger, file: new EventFile(path) });
  const words = ({ log }: EventRecorder): string[] =>
    log.list().map((e) => `${e.reason} ${e.objectName} ${e.count}`);
  const setState = async (state: NodeState): Promise<void> => {
    const node = rig.view.node('n1') ?? aNode();
    await rig.change('node', { ...node, status: { ...node.status, state } });
  };

  it('derives them from what changes in the view, and counts what repeats', async () => {
    await using recorder = await start();
    await rig.put('node', aNode({ status: { state: NodeState.UNKNOWN } }));
    for (const state of [NodeState.READY, NodeState.DISCONNECTED, NodeState.READY]) {
      await setState(state);
    }
    await rig.put('task', aTask());
    assert.deepEqual(words(recorder), [
      'Joined n1 1',
      'Disconnected n1 1',
      'Ready n1 2',
      'Created web.1 1',
    ]);
  });

  it('keeps them over an orderly end', async () => {
    let recorder = await start();
    await rig.put('node', aNode());
    await setState(NodeState.DOWN);
    await recorder[Symbol.asyncDispose]();
    recorder = await start();
    await setState(NodeState.READY);
    assert.deepEqual(words(recorder), ['Joined n1 1', 'Down n1 1', 'Ready n1 2']);
    await recorder[Symbol.asyncDispose]();
    assert.deepEqual(await readdir(join(folder, 'manager')), ['events.jsonl']);
  });

  it('has them on disk soon, and reads what a crash has left', async () => {
    const crashed = await start();
    await rig.put('node', aNode());
    await rig.clock.advance(1000);
    await eventually(async () => {
      assert.match(await readFile(path, 'utf8'), /"Joined"[^]*"Ready"/);
    });
    await appendFile(path, '\n{"kind":"node","obj'); // the loss of power cut it off
    const next = await start();
    assert.deepEqual(words(next), ['Joined n1 1', 'Ready n1 1']);
    await next[Symbol.asyncDispose]();
    await crashed[Symbol.asyncDispose]();
  });

  it('forgets what is older than an hour', async () => {
    const recorder = await start();
    await rig.put('node', aNode());
    await recorder[Symbol.asyncDispose]();
    await rig.clock.advance(EVENT_LIFE_MS + 1);
    await using next = await start();
    assert.deepEqual(words(next), []);
  });

  it('tells from the objects what happened while it was away, once', async () => {
    await (await start())[Symbol.asyncDispose]();
    const status = { state: TaskState.FAILED, timestampMs: T0 + 20, err: 'exit code 1' };
    await rig.put('task', aTask({ createdAtMs: T0 + 10, nodeId: 'n1', status }));
    for (let starts = 0; starts < 2; starts++) {
      const recorder = await start();
      const said = recorder.log.list().map((e) => `${e.reason} ${e.message} ${e.count}`);
      assert.deepEqual(said, ['Created  1', 'Placed on n1 1', 'Failed exit code 1 1']);
      await recorder[Symbol.asyncDispose]();
    }
  });

  it('goes on without what cannot be read or written', async () => {
    await writeFile(join(folder, 'manager'), 'not a folder');
    await using recorder = await start();
    await rig.put('node', aNode());
    await rig.clock.advance(1000);
    assert.equal(recorder.log.list().length, 2);
  });

  it('answers the control API', async () => {
    await using recorder = await start();
    await rig.put('node', aNode());
    const modules = {
      cluster: rig,
      events: recorder.log,
      networks: { appliedNetworkRevision: () => undefined, networkWaitOf: () => '' },
      own: { nodeId: 'm1', address: '10.0.0.1:4400' },
      random: rig.random,
    };
    const { listEvents } = eventMethods(modules);
    const end = new AbortController();
    const call = { caller: { kind: 'local' }, signal: end.signal, peer: 'unknown' } as const;
    const heard: string[] = [];
    const request = { kind: 'node', object: 'n1', sinceMs: 0, follow: true };
    for await (const event of listEvents(request, call)) {
      heard.push(event.reason);
      if (event.reason === 'Ready') await setState(NodeState.DOWN);
      if (event.reason === 'Down') end.abort();
    }
    assert.deepEqual(heard, ['Joined', 'Ready', 'Down']);
  });
});
