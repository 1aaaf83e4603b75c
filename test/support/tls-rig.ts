import { systemClock } from '../../common/adapters/system-clock.js';
import { CertificateAuthority, createRootCa, type CaKeyPair } from '../../manager/security/ca.js';
import type { NodeRole } from '../../proto/gen/hatoba/v1/types.js';
import type { TlsIdentity } from '../../proto/wire/tls.js';

/** A CA that issues identities for tests; certificates count from the real time, as TLS does. */
export interface TestCa {
  readonly root: CaKeyPair;
  issue(nodeId: string, role: NodeRole): Promise<TlsIdentity>;
}

export async function createTestCa(clusterId = 'cluster'): Promise<TestCa> {
  const root = await createRootCa(clusterId, systemClock);
  const ca = await CertificateAuthority.load(root, systemClock);
  return {
    root,
    issue: (nodeId, role) => ca.issue({ nodeId, role, clusterId, addresses: ['127.0.0.1'] }),
  };
}
