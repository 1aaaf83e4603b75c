/**
 * Rolling updates under load: two services of three replicas on three hosts, one updated by starting
 * first, one by stopping first, whose application ends at once when told to stop; clients on another
 * host by every host's published ports, and in a container by name; new connections, kept ones and
 * datagrams. Then scaling down, draining a node, and moving the last task of a virtual address.
 * Needs root and a machine without another dev cluster.
 *   npx tsx bench/rolling-updates.ts [UPDATES]
 */
import { eventually } from '../test/support/eventually.js';
import { reportText, type LoadReport } from '../test/support/load-report.js';
import { loadAnswerImages } from '../test/e2e/answers.js';
import { DevCluster } from '../test/e2e/cluster.js';
import { lostOf, RollingStack, setAvailability } from '../test/e2e/rolling.js';
import { printRows, type BenchRow } from './support/figures.js';

const UPDATES = Number(process.argv[2] ?? 100);
/** Connections live for one to two seconds. */
const KEEP_MS = 2000;

const rows: BenchRow[] = [];

async function measure(what: string, work: () => Promise<void>): Promise<void> {
  const report: LoadReport = await stack.underLoad(work, KEEP_MS);
  console.log(`${what}: ${reportText(report)}`);
  const { lost, cut } = lostOf(report);
  const ours = `${lost.length} of ${report.requests} lost, ${cut.length} datagrams cut off`;
  rows.push({ what, ours, peer: '', ratio: '', budget: '0 lost' });
}

const cluster = await DevCluster.up();
const stack = new RollingStack(cluster);
try {
  await loadAnswerImages(cluster);
  await stack.deploy();
  await measure(`${UPDATES} rolling updates`, async () => {
    // each round updates both services
    for (let i = 0; i < UPDATES; i += 2) await stack.update();
  });
  await stack.deploy([], 6);
  await measure('scaling down from 6 to 2', async () => {
    await cluster.hatoba('service', 'scale', `${stack.first}=2`, `${stack.last}=2`);
  });
  await stack.deploy();
  await measure('draining a node', async () => {
    await setAvailability('n3', 'NODE_AVAILABILITY_DRAIN');
    await eventually(() => stack.assertNothingOn('n3'));
  });
  await setAvailability('n3', 'NODE_AVAILABILITY_ACTIVE');
  await stack.deploy(['node.hostname!=n3']);
  await measure('moving the last tasks from a node', async () => {
    await stack.deploy(['node.hostname==n3']);
    await eventually(() => stack.assertNothingOn('n2'));
  });
  printRows(rows);
} finally {
  await cluster.down();
}
