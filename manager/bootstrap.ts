import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../common/clock.js';
import { HatobaError, isKind } from '../common/errors.js';
import { newId } from '../common/model/ids.js';
import { HOST_NETWORK, INGRESS_NETWORK, NONE_NETWORK } from '../common/model/labels.js';
import type { Cluster, Network } from '../common/model/objects.js';
import type { Random } from '../common/random.js';
import { NodeRole, Network as NetworkMessage } from '../proto/gen/hatoba/v1/types.js';
import { checkNetwork } from '../proto/wire/check.js';
import { poolProblems } from './core/network/address-pools.js';
import type { HostRoute } from './core/network/proc-route.js';
import type { Change, Plan } from './core/snapshot.js';
import { CertificateAuthority, createRootCa } from './security/ca.js';
import {
  identityFiles,
  readIdentity,
  readOptional,
  writeIdentity,
  writeSecret,
  type StoredIdentity,
} from './security/identity-files.js';
import { createJoinTokens } from './security/join-token.js';
import { decodeObject } from './store/codec.js';
import { CLUSTER_KEY, keyOf } from './store/keys.js';
import type { Store } from './store/store.js';
import { applyPlan } from './store/write.js';

/*
 * The first start of a first manager has an egg and a chicken: etcd takes connections by
 * certificates only, and the CA belongs into the cluster object, which is in etcd. So:
 *   1. prepareIdentity: makes the CA and the manager's own certificate, and keeps the CA's key in
 *      <root>/manager/bootstrap until it is in the store;
 *   2. the caller starts etcd with that certificate;
 *   3. bootstrapCluster: stores cluster and predefined networks in one guarded transaction, then
 *      removes the key from the disk.
 * A start that dies in between goes on where it stopped; of two that share an external etcd one
 * makes the cluster, and the other is told to join it.
 */

const HEARTBEAT_PERIOD_MS = 1000;
const TASK_HISTORY_LIMIT = 5;

export interface BootstrapModules {
  clock: Clock;
  random: Random;
}

/**
 * This manager's identity in `<root>/pki`; made, together with the CA of a new cluster, when there
 * is none yet.
 * @param advertiseAddress IP address for the certificate, besides 127.0.0.1
 * @throws {HatobaError} failed-precondition when the node is a worker
 */
export async function prepareIdentity(
  root: string,
  advertiseAddress: string,
  modules: BootstrapModules,
): Promise<StoredIdentity> {
  const files = identityFiles(root);
  const present = await readIdentity(files);
  if (present !== undefined) return checkManager(present, files.certificate);
  const clusterId = newId(modules.random);
  const ca = await createRootCa(clusterId, modules.clock);
  const authority = await CertificateAuthority.load(ca, modules.clock);
  const nodeId = newId(modules.random);
  const role = NodeRole.MANAGER;
  const subject = { nodeId, clusterId, role, addresses: [advertiseAddress] };
  const tls = await authority.issue(subject);
  await mkdir(root, { recursive: true, mode: 0o711 });
  await writeSecret(caKeyFile(root), ca.keyPem); // before the certificate that says all is there
  await writeIdentity(files, tls);
  return { ...tls, nodeId, clusterId, role };
}

function checkManager(identity: StoredIdentity, path: string): StoredIdentity {
  if (identity.role === NodeRole.MANAGER) return identity;
  throw new HatobaError(
    'failed-precondition',
    `${path} is the certificate of a worker; a manager needs one of its own: leave the cluster and join it with the manager's token`,
  );
}

function caKeyFile(root: string): string {
  return join(root, 'manager', 'bootstrap', 'ca.key');
}

export interface ClusterOptions {
  root: string;
  defaultAddressPools: readonly string[];
  /** Prefix length. */
  subnetSize: number;
  dataPathPort: number;
  networkWaitMs: number;
  /** Where routes of this host lead to; pools must keep clear of them. */
  hostRoutes: () => Promise<readonly HostRoute[]>;
}

/**
 * The cluster this manager belongs to, made when the store is empty. Also when several managers
 * come at once, or again after a crash, there is one cluster.
 * @throws {HatobaError} failed-precondition when the store holds another cluster, or none and this
 * manager is not a first one; invalid-argument for address pools that cannot be used
 */
export async function bootstrapCluster(
  store: Store,
  identity: StoredIdentity,
  options: ClusterOptions,
  modules: BootstrapModules,
): Promise<Cluster> {
  const keyFile = caKeyFile(options.root);
  const present = (await readCluster(store)) ?? (await create(store, identity, options, modules));
  if (present.rootCaCertificatePem !== identity.caPem) {
    throw new HatobaError(
      'failed-precondition',
      `etcd holds cluster ${present.id}, this manager is of cluster ${identity.clusterId}: ` +
        `give it another etcd, or remove ${options.root} and join the cluster with its manager token`,
    );
  }
  await addPredefinedNetworks(store, modules);
  await rm(join(keyFile, '..'), { recursive: true, force: true });
  return present;
}

async function create(
  store: Store,
  identity: StoredIdentity,
  options: ClusterOptions,
  modules: BootstrapModules,
): Promise<Cluster> {
  const rootCaKeyPem = await readOptional(caKeyFile(options.root));
  if (rootCaKeyPem === undefined) {
    throw new HatobaError(
      'failed-precondition',
      `etcd is empty, but this manager is of cluster ${identity.clusterId}, whose state was in it: ` +
        `restore etcd, or remove ${options.root} to begin a new cluster`,
    );
  }
  const problems = poolProblems(options, await options.hostRoutes());
  if (problems.length > 0) throw new HatobaError('invalid-argument', problems.join('\n'));
  const cluster = newCluster(identity, rootCaKeyPem, options, modules);
  const plan: Plan = {
    groups: [
      [
        { action: 'create', kind: 'cluster', object: cluster },
        ...PREDEFINED_NETWORKS.map((object): Change => {
          return { action: 'create', kind: 'network', object };
        }),
      ],
    ],
  };
  try {
    await applyPlan(store, plan, modules);
  } catch (error) {
    if (!isKind(error, 'unavailable')) throw error; // it may have been applied: see what is there
  }
  const stored = await readCluster(store);
  if (stored !== undefined) return stored;
  throw new HatobaError('unavailable', 'the cluster could not be stored: start again');
}

async function readCluster(store: Store): Promise<Cluster | undefined> {
  const entry = await store.get(CLUSTER_KEY);
  if (entry === undefined) return undefined;
  return decodeObject('cluster', entry.value, entry.revision);
}

function newCluster(
  identity: StoredIdentity,
  rootCaKeyPem: string,
  options: ClusterOptions,
  modules: BootstrapModules,
): Cluster {
  return {
    id: identity.clusterId,
    version: 0,
    createdAtMs: 0,
    updatedAtMs: 0,
    spec: {
      defaultAddressPools: [...options.defaultAddressPools],
      subnetSize: options.subnetSize,
      dataPathPort: options.dataPathPort,
      heartbeatPeriodMs: HEARTBEAT_PERIOD_MS,
      taskHistoryLimit: TASK_HISTORY_LIMIT,
      networkWaitMs: options.networkWaitMs,
    },
    rootCaCertificatePem: identity.caPem,
    rootCaKeyPem,
    joinTokens: createJoinTokens(identity.caPem, modules.random),
  };
}

/** A cluster of an older version lacks some; another manager may be adding them right now. */
async function addPredefinedNetworks(store: Store, modules: BootstrapModules): Promise<void> {
  const missing: Network[] = [];
  for (const network of PREDEFINED_NETWORKS) {
    if ((await store.get(keyOf('network', network))) === undefined) missing.push(network);
  }
  const groups = missing.map((object): Change[] => [{ action: 'create', kind: 'network', object }]);
  if (groups.length > 0) await applyPlan(store, { groups }, modules);
}

/** Their ids are their names, so that every node knows them. */
const PREDEFINED_NETWORKS: readonly Network[] = [
  { name: INGRESS_NETWORK, driver: 'overlay', ingress: true },
  { name: HOST_NETWORK, driver: 'host' },
  { name: NONE_NETWORK, driver: 'none' },
].map((spec) => checkNetwork(NetworkMessage.fromPartial({ id: spec.name, spec })));
