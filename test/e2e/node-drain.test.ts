import assert from 'node:assert/strict';
import type { TaskRow } from '../../cli/output/rows.js';
import { untilNetworksShown } from '../support/network-checker/network-checker.js';
import { reportText } from '../support/load-report.js';
import { deployAnswers, loadAnswerImages } from './answers.js';
import { DevCluster, requiresDevCluster } from './cluster.js';
import { NetworkLoad } from './network-load.js';
import { lostOf } from './rolling.js';

const PORT = 8090;
const SERVICE = 'solo_one';

describe('a node is drained by the command line', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await loadAnswerImages(cluster);
    await deployAnswers(cluster, 'solo', [{ name: 'one', replicas: 1, publishedPort: PORT }]);
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  async function only(): Promise<TaskRow> {
    const [task, ...more] = await cluster.runningTasks(SERVICE);
    assert.ok(task !== undefined && more.length === 0);
    return task;
  }

  it('and a service of one replica loses no request', async () => {
    await untilNetworksShown();
    await using load = await NetworkLoad.start(cluster, { published: [PORT] });
    const { id, node } = await only();
    const { stderr, stdout, code } = await cluster.run('node', 'drain', node);
    assert.deepEqual([code, stdout], [0, `${node}\n`], stderr);
    assert.match(
      stderr,
      new RegExp(`^${node} +1 task left: .*\\n(.*\\n)*${node} +has no tasks\\n$`),
    );
    const moved = await only();
    assert.notEqual(moved.node, node);
    assert.equal(moved.cause, `${node} is drained`);
    const former = (await cluster.tasks(SERVICE)).find((t) => t.id === id);
    assert.equal(former?.desiredState, 'shutdown');
    assert.equal(await cluster.hatoba('node', 'activate', node), `${node}\n`);
    const report = await load.stop();
    const { lost, cut } = lostOf(report);
    assert.equal(lost.length, 0, reportText(report, 40));
    // of datagrams that are on their way at the moment of a move, some have no way back
    assert.ok(cut.length <= Math.max(2, report.requests / 500), reportText(report, 40));
    assert.ok(report.requests > 100, reportText(report));
  });

  it('which says why tasks stay that find no other place, and takes it back', async () => {
    const { node, id } = await only();
    const others = (await cluster.nodes()).map((n) => n.hostname).filter((n) => n !== node);
    await cluster.hatoba('node', 'pause', ...others);
    const { code, stderr } = await cluster.run('node', 'drain', node, '--timeout', '4s');
    assert.equal(code, 3);
    assert.match(stderr, /1 task left: .* waits: no suitable node/);
    await cluster.hatoba('node', 'activate', node, ...others);
    assert.equal((await only()).id, id, 'what has not moved stays');
  });
});
