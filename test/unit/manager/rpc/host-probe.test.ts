import assert from 'node:assert/strict';
import { probeHost } from '../../../../manager/rpc/host-probe.js';

describe('probing a host', () => {
  for (const address of ['10.0.0.1', '10.0.0.1:0', '10.0.0.1:99999', '']) {
    it(`answers for ${JSON.stringify(address)}, which cannot be dialled`, async () => {
      assert.equal(await probeHost(address), 'silent');
    });
  }
});
