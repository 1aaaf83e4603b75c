import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { makeFlows } from '../../support/flow-rig.js';
import { describeConntrack } from '../../unit/linux/conntrack.suite.js';
import { openRig } from './rig.js';

describe('the connection tracking of the real kernel', () => {
  before(function () {
    requiresRoot(this);
    requiresCommand(this, 'nsenter');
  });
  describeConntrack('real kernel', async () => {
    const rig = await openRig();
    const netns = `${rig.folder}/ht-linux-flows`;
    return {
      kernel: rig.kernel,
      netns,
      makeFlows: (flows) => makeFlows(netns, flows),
      close: rig.close,
    };
  });
});
