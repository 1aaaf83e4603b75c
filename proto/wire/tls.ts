import type { PeerCertificate } from 'node:tls';
import { NodeRole } from '../gen/hatoba/v1/types.js';

/** A node's identity: PEM texts of the cluster's CA, the node's certificate and its key. */
export interface TlsIdentity {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
}

/** What a certificate of the cluster's CA says about its holder. */
export interface NodeIdentity {
  readonly nodeId: string;
  readonly role: NodeRole;
  readonly clusterId: string;
}

/** Oldest protocol version that any TLS connection of the cluster speaks. */
export const MIN_TLS_VERSION = 'TLSv1.3';

/** DNS names in the certificates of nodes, by what the caller wants to talk to. */
export const SERVER_NAMES = { manager: 'hatoba-manager', agent: 'hatoba-agent' } as const;

/** Organizational units of node certificates. */
const ROLE_OF_UNIT: Readonly<Record<string, NodeRole>> = {
  'hatoba-manager': NodeRole.MANAGER,
  'hatoba-worker': NodeRole.WORKER,
};

/**
 * Reads CN (node id), OU (role) and O (cluster id) of a certificate whose chain was verified.
 * @returns undefined when it is not a node certificate of ours
 */
export function identityOfCertificate(
  certificate: Pick<PeerCertificate, 'subject'>,
): NodeIdentity | undefined {
  const {
    CN: nodeId,
    OU: unit,
    O: clusterId,
  } = certificate.subject as Partial<Record<'CN' | 'OU' | 'O', unknown>>;
  // A repeated attribute arrives as an array: such a certificate was not made by us.
  if (typeof nodeId !== 'string' || typeof unit !== 'string' || typeof clusterId !== 'string') {
    return undefined;
  }
  const role = Object.hasOwn(ROLE_OF_UNIT, unit) ? ROLE_OF_UNIT[unit] : undefined;
  if (role === undefined || nodeId === '' || clusterId === '') return undefined;
  return { nodeId, role, clusterId };
}
