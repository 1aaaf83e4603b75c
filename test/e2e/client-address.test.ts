import assert from 'node:assert/strict';
import { placesOf } from '../../deploy/dev/layout.js';
import { Load } from '../support/load.js';
import {
  addReports,
  reportText,
  type LoadOptions,
  type LoadReport,
} from '../support/load-report.js';
import { OutsideHost } from '../support/outside-host.js';
import { assertEven } from '../support/spread.js';
import { deployAnswers, loadAnswerImages } from './answers.js';
import { ADDRESS, DevCluster, requiresDevCluster, type HostName } from './cluster.js';

const PORT = 8070;
const HOSTS = Object.keys(ADDRESS) as HostName[];
/** New connections of each client to each node, and as many sockets: enough to judge the spread. */
const COUNT = 500;
/** Ports that a client uses for one node after the other. */
const REUSED_PORTS = 60;
const TARGETS = Object.values(ADDRESS).map((address) => `${address}:${PORT}`);

describe('the address of a client', function () {
  let cluster: DevCluster;
  let outside: OutsideHost;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    outside = await OutsideHost.plugIn();
    await loadAnswerImages(cluster);
    await deployAnswers(cluster, 'who', [{ name: 'app', publishedPort: PORT }]);
  });
  after(async () => {
    await (outside as OutsideHost | undefined)?.[Symbol.asyncDispose]();
    await (cluster as DevCluster | undefined)?.down();
  });

  async function ask(netnsPath: string, options: Partial<LoadOptions>): Promise<LoadReport> {
    const requests = COUNT * TARGETS.length;
    const common = { targets: TARGETS, checksAddress: true, pauseMs: 0, requests };
    const report = await Load.run(netnsPath, { ...common, ...options });
    assert.equal(report.failures.length, 0, reportText(report));
    assert.ok(report.requests >= (options.requests ?? requests));
    return report;
  }

  for (const [protocol, worker] of [
    ['TCP', { connectionWorkers: 4 }],
    ['UDP', { socketWorkers: 4 }],
  ] as const) {
    it(`is its own, by every node, from outside and from each node, by ${protocol}`, async () => {
      const reports = [await ask(outside.netnsPath, worker)];
      for (const host of HOSTS) reports.push(await ask(netnsOf(host), worker));
      const { balanced } = addReports(reports);
      assert.equal(Object.keys(balanced).length, 3);
      assertEven(Object.values(balanced));
    });

    it(`is that of its node for clients by 127.0.0.1 and ${protocol}`, async () => {
      for (const host of HOSTS) {
        const local = { targets: [`127.0.0.1:${PORT}`], requests: 100, checksAddress: false };
        const report = await ask(netnsOf(host), { ...worker, ...local });
        assert.deepEqual(Object.keys(report.seenFrom), [ADDRESS[host]]);
        assert.equal(Object.keys(report.balanced).length, 3, reportText(report));
      }
    });
  }

  it('is its own when it used the same port with another node a moment ago', async () => {
    const requests = REUSED_PORTS * TARGETS.length;
    await ask(outside.netnsPath, { connectionWorkers: 1, fromPort: 23_456, requests });
  });
});

function netnsOf(host: HostName): string {
  return placesOf({ name: host }).netnsPath;
}
