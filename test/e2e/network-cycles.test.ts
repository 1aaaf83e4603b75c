import { loadAnswerImages } from './answers.js';
import { DevCluster, requiresDevCluster } from './cluster.js';
import { Cycles } from './cycles.js';

describe('networks and services that come and go', function () {
  let cluster: DevCluster;

  before(async function () {
    requiresDevCluster(this);
    cluster = await DevCluster.up();
    await loadAnswerImages(cluster);
  });
  after(async () => {
    await (cluster as DevCluster | undefined)?.down();
  });

  it('leave no address, port, link, namespace, nftables element or route behind', async () => {
    const cycles = await Cycles.begin(cluster);
    await cycles.run(20, 4);
    await cycles.assertNothingLeft();
  });
});
