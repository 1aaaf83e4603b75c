import assert from 'node:assert/strict';
import { eventually } from '../support/eventually.js';
import { reportText, type LoadReport } from '../support/load-report.js';
import { loadAnswerImages } from './answers.js';
import { DevCluster, requiresDevCluster } from './cluster.js';
import { lostOf, RollingStack, setAvailability } from './rolling.js';

const UPDATES = 3;
const CUT_AT_MOST_ONE_IN = 500;
/** Tasks that change places cut a few of however many a slow machine has sent. */
const FEW = 3;

/** The application ends at once when it is told to stop: nothing but the network saves a request. */
describe('no request is lost', function () {
  let cluster: DevCluster;
  let stack: RollingStack;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await loadAnswerImages(cluster);
    stack = new RollingStack(cluster);
  });
  beforeEach(() => stack.deploy());
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  function assertNoneLost(report: LoadReport): void {
    const { lost, cut } = lostOf(report);
    assert.equal(lost.length, 0, reportText(report, 40));
    const mostCut = Math.max(FEW, report.requests / CUT_AT_MOST_ONE_IN);
    assert.ok(cut.length <= mostCut, reportText(report, 40));
    assert.ok(report.requests > 100, reportText(report));
  }

  it('by rolling updates, in either order', async () => {
    const report = await stack.underLoad(async () => {
      for (let i = 0; i < UPDATES; i++) await stack.update();
    });
    assertNoneLost(report);
  });

  it('by scaling down', async () => {
    await stack.deploy([], 6);
    const report = await stack.underLoad(async () => {
      await cluster.hatoba('service', 'scale', `${stack.first}=2`, `${stack.last}=2`);
    });
    assertNoneLost(report);
  });

  it('by draining a node', async () => {
    try {
      const report = await stack.underLoad(async () => {
        await setAvailability('n3', 'NODE_AVAILABILITY_DRAIN');
        await eventually(() => stack.assertNothingOn('n3'));
      });
      assertNoneLost(report);
    } finally {
      await setAvailability('n3', 'NODE_AVAILABILITY_ACTIVE');
    }
  });

  it('by moving the last task of a virtual address from a node', async () => {
    await stack.deploy(['node.hostname!=n3']);
    const report = await stack.underLoad(async () => {
      await stack.deploy(['node.hostname==n3']);
      await eventually(() => stack.assertNothingOn('n2'));
    });
    assertNoneLost(report);
  });
});
