import { X509Certificate } from 'node:crypto';
import type { Clock } from '../../common/clock.js';
import type { Cluster } from '../../common/model/objects.js';
import { CertificateAuthority, NODE_CERTIFICATE_LIFE_MS } from './ca.js';
import { writeIdentity, type IdentityFiles, type StoredIdentity } from './identity-files.js';

/** Whether a node certificate has less than half of its life before it. */
export function isRenewalDue(certPem: string, nowMs: number): boolean {
  const endMs = Date.parse(new X509Certificate(certPem).validTo);
  return endMs - nowMs < NODE_CERTIFICATE_LIFE_MS / 2;
}

/**
 * A manager's own identity, issued anew (new key, same node) and written to its files when renewal
 * is due or its address has changed. etcd reads the files at each handshake; servers and clients of
 * this process use it from their next start on.
 * @returns the identity to use from now on
 */
export async function renewManagerIdentity(
  identity: StoredIdentity,
  files: IdentityFiles,
  options: { cluster: Cluster; advertiseAddress: string },
  clock: Clock,
): Promise<StoredIdentity> {
  const { cluster, advertiseAddress } = options;
  const hasAddress = new X509Certificate(identity.certPem).checkIP(advertiseAddress) !== undefined;
  if (hasAddress && !isRenewalDue(identity.certPem, clock.nowMs())) return identity;
  const ca = await CertificateAuthority.load(
    { certificatePem: cluster.rootCaCertificatePem, keyPem: cluster.rootCaKeyPem },
    clock,
  );
  const { nodeId, clusterId, role } = identity;
  const tls = await ca.issue({ nodeId, clusterId, role, addresses: [advertiseAddress] });
  await writeIdentity(files, tls);
  return { ...identity, ...tls };
}
