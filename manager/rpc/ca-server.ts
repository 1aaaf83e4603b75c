import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import { newId } from '../../common/model/ids.js';
import type { Cluster } from '../../common/model/objects.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import {
  CAService,
  type IssueNodeCertificateRequest,
  type IssueNodeCertificateResponse,
} from '../../proto/gen/hatoba/v1/ca.js';
import { bindService, type BoundService, type Caller } from '../../proto/wire/service.js';
import type { NodeIdentity } from '../../proto/wire/tls.js';
import { CertificateAuthority } from '../security/ca.js';
import { roleOfToken } from '../security/join-token.js';
import type { View } from '../view/view.js';

export interface CaModules {
  view: View;
  clock: Clock;
  random: Random;
  logger: Logger;
}

const MAX_TOKEN_CHARS = 200;

/**
 * The CA service. Anyone may read the root certificate, which the caller checks against its join
 * token; a certificate is had for a valid token (a new node), or for a certificate of the cluster
 * that the connection has proved (the same node again, the same role).
 */
export function caService(modules: CaModules): BoundService {
  const server = new CaServer(modules);
  return bindService(
    CAService,
    {
      getRootCaCertificate: () => Promise.resolve(server.rootCertificate()),
      issueNodeCertificate: (request, { caller, peer }) => server.issue(request, caller, peer),
    },
    { getRootCaCertificate: 'anyone', issueNodeCertificate: 'anyone' },
  );
}

class CaServer {
  readonly #modules: CaModules;

  constructor(modules: CaModules) {
    this.#modules = modules;
  }

  rootCertificate(): { certificatePem: string } {
    return { certificatePem: this.#cluster().rootCaCertificatePem };
  }

  async issue(
    request: IssueNodeCertificateRequest,
    caller: Caller,
    peer: string,
  ): Promise<IssueNodeCertificateResponse> {
    const cluster = this.#cluster();
    const identity = this.#identityFor(request, caller, cluster);
    const ca = await CertificateAuthority.load(
      { certificatePem: cluster.rootCaCertificatePem, keyPem: cluster.rootCaKeyPem },
      this.#modules.clock,
    );
    const { addresses } = request;
    const certificatePem = await ca.issueForRequest(request.csrPem, { ...identity, addresses });
    this.#modules.logger.info('Issued certificate', {
      nodeId: identity.nodeId,
      role: identity.role,
      renewal: request.token === '',
      peer,
    });
    return { ...identity, certificatePem, rootCaCertificatePem: cluster.rootCaCertificatePem };
  }

  /** @throws {HatobaError} permission-denied, unauthenticated */
  #identityFor(
    request: IssueNodeCertificateRequest,
    caller: Caller,
    cluster: Cluster,
  ): NodeIdentity {
    if (request.token === '') return this.#renewalFor(caller, cluster);
    const token = request.token.slice(0, MAX_TOKEN_CHARS);
    const role = roleOfToken(cluster.joinTokens, token);
    if (role === undefined) {
      throw new HatobaError(
        'permission-denied',
        'the join token is not valid (any more): ask a manager for it with "hatoba token show"',
      );
    }
    return { nodeId: newId(this.#modules.random), role, clusterId: cluster.id };
  }

  /** A node that was removed from the cluster does not get a new certificate. */
  #renewalFor(caller: Caller, cluster: Cluster): NodeIdentity {
    if (caller.kind !== 'node') {
      throw new HatobaError(
        'unauthenticated',
        'a certificate is had for a join token, or for the certificate of a node',
      );
    }
    const { nodeId, role, clusterId } = caller;
    if (clusterId !== cluster.id || this.#modules.view.node(nodeId) === undefined) {
      throw new HatobaError(
        'permission-denied',
        `node ${nodeId} is not part of this cluster (any more): join again`,
      );
    }
    return { nodeId, role, clusterId };
  }

  #cluster(): Cluster {
    const cluster = this.#modules.view.cluster();
    if (cluster !== undefined) return cluster;
    throw new HatobaError('unavailable', 'this manager has not read the cluster yet; try again');
  }
}
