import assert from 'node:assert/strict';
import { placesOf } from '../../deploy/dev/layout.js';
import { Load } from '../support/load.js';
import {
  addReports,
  reportText,
  type LoadOptions,
  type LoadReport,
} from '../support/load-report.js';
import { untilNetworksShown } from '../support/network-checker/network-checker.js';
import { OutsideHost } from '../support/outside-host.js';
import { assertEven } from '../support/spread.js';
import { deployAnswers, loadAnswerImages } from './answers.js';
import { ADDRESS, DevCluster, requiresDevCluster, type HostName } from './cluster.js';

const PORT = 8070;
const HOSTS = Object.keys(ADDRESS) as HostName[];
/** New connections of each client to each node, and as many sockets: enough to judge the spread. */
const COUNT = 500;
/**
 * Each connection has a port of its own: of one port that a client uses for the same task by two nodes
 * at a time, only one can be seen as it is, as answers to both would be the same.
 */
const FROM_PORT = 20_000;
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
    await untilNetworksShown();
  });
  after(async () => {
    await (outside as OutsideHost | undefined)?.[Symbol.asyncDispose]();
    await (cluster as DevCluster | undefined)?.down();
  });

  async function ask(netnsPath: string, options: Partial<LoadOptions>): Promise<LoadReport> {
    const requests = COUNT * TARGETS.length;
    const common = { targets: TARGETS, pauseMs: 0, requests };
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
      const own = { ...worker, fromPort: FROM_PORT, checks: 'address and port' as const };
      const reports = [await ask(outside.netnsPath, own)];
      for (const host of HOSTS) reports.push(await ask(netnsOf(host), own));
      const { balanced } = addReports(reports);
      assert.equal(Object.keys(balanced).length, 3);
      assertEven(Object.values(balanced));
    });

    it(`is that of its node for clients by 127.0.0.1 and ${protocol}`, async () => {
      for (const host of HOSTS) {
        const targets = [`127.0.0.1:${PORT}`];
        const report = await ask(netnsOf(host), { ...worker, targets, requests: 100 });
        assert.deepEqual(Object.keys(report.seenFrom), [ADDRESS[host]]);
        assert.equal(Object.keys(report.balanced).length, 3, reportText(report));
      }
    });
  }
});

function netnsOf(host: HostName): string {
  return placesOf({ name: host }).netnsPath;
}
