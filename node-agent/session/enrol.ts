import { generateKeyPairSync } from 'node:crypto';
import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { HatobaError, isKind, isRetryable } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { Random } from '../../common/random.js';
import { CAClient } from '../../proto/gen/hatoba/v1/ca.js';
import { openClient, unary, type ChannelSecurity } from '../../proto/wire/client.js';
import { SERVER_NAMES } from '../../proto/wire/tls.js';
import { createCertificateRequest } from './certificate-request.js';
import { writeIdentity, type AgentIdentity } from './identity.js';
import { caDigestOfToken, checkRootCertificate } from './join-token.js';

export interface EnrolOptions {
  /** "host:port" each; tried in turn. */
  readonly managers: readonly string[];
  readonly joinToken: string;
  /** Addresses for the certificate. */
  readonly addresses: readonly string[];
  readonly pkiFolder: string;
}

const RETRY = { baseMs: 200, maxMs: 5000 } as const;

/**
 * Makes this machine a node: a new key, a certificate for it by the join token, both kept in
 * `pkiFolder`. The key never leaves the machine. Managers that cannot be reached are tried again
 * until the signal aborts.
 * @throws {HatobaError} when the token is wrong: trying again would not help
 */
export async function enrol(
  options: EnrolOptions,
  modules: { clock: Clock; random: Random; log: Logger },
  signal: AbortSignal,
): Promise<AgentIdentity> {
  caDigestOfToken(options.joinToken);
  if (options.managers.length === 0) {
    throw new HatobaError('invalid-argument', 'no manager to join: set managers in agent.yaml');
  }
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    const address = options.managers[(attempt - 1) % options.managers.length] ?? '';
    try {
      return await enrolWith(address, options, signal);
    } catch (error) {
      if (!isRetryable(error)) throw error;
      modules.log.warn('Could not join by this manager', { address }, error);
      await sleep(modules.clock, backoffMs(attempt, RETRY, modules.random), signal);
    }
  }
}

async function enrolWith(
  address: string,
  { joinToken, addresses, pkiFolder }: EnrolOptions,
  signal: AbortSignal,
): Promise<AgentIdentity> {
  const caPem = await withCa(address, { kind: 'unverified' }, async (client) => {
    const answer = await unary(client.getRootCaCertificate.bind(client), {}, { signal });
    return answer.certificatePem;
  });
  checkRootCertificate(caPem, joinToken, address);
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keyPem = keys.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const request = {
    csrPem: createCertificateRequest(keys, 'hatoba-node'),
    token: joinToken,
    addresses: [...addresses],
  };
  const security = { kind: 'tls', caPem, serverName: SERVER_NAMES.manager } as const;
  const issued = await withCa(address, security, (client) =>
    unary(client.issueNodeCertificate.bind(client), request, { signal }),
  );
  return await writeIdentity(pkiFolder, {
    // the root that the token vouches for, whatever else the answer holds
    caPem,
    certPem: issued.certificatePem,
    keyPem: keyPem.toString(),
  });
}

async function withCa<T>(
  address: string,
  security: ChannelSecurity,
  call: (client: CAClient) => Promise<T>,
): Promise<T> {
  const client = openClient(CAClient, { address, security });
  try {
    return await call(client);
  } catch (error) {
    // An address that does not resolve, or answers with another certificate, may be right later.
    if (isKind(error, 'deadline')) {
      throw new HatobaError('unavailable', `${address} did not answer in time`, { cause: error });
    }
    throw error;
  } finally {
    client.close();
  }
}
