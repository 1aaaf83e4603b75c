import { HatobaError, isKind } from '../../common/errors.js';
import { isIP } from 'node:net';
import type { Node, NodeDescription } from '../../common/model/objects.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';
import type { NodeIdentity } from '../../proto/wire/tls.js';
import type { Plan } from '../core/snapshot.js';
import { encodeObject } from '../store/codec.js';
import { keyOf, nameKey, removedNodeKey } from '../store/keys.js';
import type { Transaction } from '../store/store.js';
import { catchUp, writePlan, type ClusterAccess } from './write-plan.js';

/** Where managers listen unless they say otherwise. */
const MANAGER_PORT = 4400;
const MAX_ATTEMPTS = 50;
const MOST_IMAGES = 100;
const MOST_RESOURCES = 1000;

/** The manager that registers nodes. */
export interface OwnManager {
  readonly nodeId: string;
  /** host:4400, as agents and other managers reach it. */
  readonly address: string;
}

/**
 * Writes down that a node is here, answered for by this manager: a new Node object with the lowest
 * free index, or the present one with what changed. Resolves once the view shows it.
 * @throws {HatobaError} invalid-argument for a description that nodes could not be reached by;
 * permission-denied for a node that was removed, whose certificate is still valid
 */
export async function registerNode(
  cluster: ClusterAccess,
  own: OwnManager,
  identity: NodeIdentity,
  description: NodeDescription,
  signal: AbortSignal,
): Promise<void> {
  checkDescription(description);
  const { view } = cluster;
  const tried = new Set<number>();
  for (let attempt = 0; view.node(identity.nodeId) === undefined; attempt++) {
    if (attempt === MAX_ATTEMPTS) {
      throw new HatobaError('conflict', 'other nodes kept registering in between; try again');
    }
    const seen = view.revision;
    await refuseRemoved(cluster, identity.nodeId);
    const node = newNode(cluster, own, { identity, description, index: freeIndex(cluster, tried) });
    try {
      await view.waitFor(await cluster.store.commit(creation(node)), signal);
    } catch (error) {
      if (!isKind(error, 'conflict')) throw error;
      // The node or its index was taken in between; an index nobody shows may belong to a node on
      // its way out, so the next attempt takes another.
      await catchUp(cluster, seen, signal);
      tried.add(node.index);
    }
  }
  await writePlan(
    cluster,
    () => {
      const node = view.node(identity.nodeId);
      if (node === undefined) throw new HatobaError('conflict', 'the node was just removed');
      const object = refreshed(cluster, own, node, description);
      if (object === undefined) return undefined;
      return { groups: [[{ action: 'update', kind: 'node', object }]] };
    },
    signal,
  );
}

/**
 * Writes down what a node tells anew of itself; a node that is gone needs no word any more.
 * @param newest as of the moment of writing; undefined: there is nothing to write any more
 */
export async function describeAgain(
  cluster: ClusterAccess,
  nodeId: string,
  newest: () => NodeDescription | undefined,
  signal: AbortSignal,
): Promise<void> {
  const decide = (): Plan | undefined => {
    const [node, description] = [cluster.view.node(nodeId), newest()];
    if (node === undefined || description === undefined) return undefined;
    const status = { ...node.status, addr: hostOf(description.agentAddress) };
    const object = { ...node, description, status };
    if (isStoredAs(object, node)) return undefined;
    return { groups: [[{ action: 'update', kind: 'node', object }]] };
  };
  await writePlan(cluster, decide, signal);
}

/** @throws {HatobaError} permission-denied */
async function refuseRemoved({ store }: ClusterAccess, nodeId: string): Promise<void> {
  if ((await store.get(removedNodeKey(nodeId))) === undefined) return;
  throw new HatobaError(
    'permission-denied',
    `node ${nodeId} was removed from the cluster: stop its agent, delete its folder pki, and join again`,
  );
}

/**
 * The transaction that takes a node and its index out of the cluster, and keeps it out.
 * @param leaseId lasts as long as certificates do
 */
export function nodeRemoval(node: Node, leaseId: string): Transaction {
  const key = keyOf('node', node);
  return {
    guards: [{ key, revision: node.version }],
    puts: [{ key: removedNodeKey(node.id), value: Buffer.from(node.id), leaseId }],
    deletes: [key, indexKey(node.index)],
  };
}

/** Keeps indexes unique: "/hatoba/v1/name/node-index/3" → node id. */
function indexKey(index: number): string {
  return nameKey('node', `index/${index}`);
}

function creation(node: Node): Transaction {
  const keys = [keyOf('node', node), indexKey(node.index)] as const;
  return {
    guards: [...keys, removedNodeKey(node.id)].map((key) => ({ key, revision: 0 })),
    puts: [
      { key: keys[0], value: encodeObject('node', node) },
      { key: keys[1], value: Buffer.from(node.id) },
    ],
    deletes: [],
  };
}

function freeIndex(cluster: ClusterAccess, tried: ReadonlySet<number>): number {
  const taken = new Set(tried);
  for (const node of cluster.view.nodes()) taken.add(node.index);
  let index = 1;
  while (taken.has(index)) index++;
  return index;
}

function newNode(
  cluster: ClusterAccess,
  own: OwnManager,
  about: { identity: NodeIdentity; description: NodeDescription; index: number },
): Node {
  const { identity, description, index } = about;
  const nowMs = cluster.clock.nowMs();
  return {
    id: identity.nodeId,
    version: 0,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    spec: {
      name: '',
      labels: {},
      role: identity.role,
      availability: pb.NodeAvailability.ACTIVE,
      taints: [],
    },
    description,
    status: readyStatus(cluster, own, description),
    managerStatus:
      identity.role === pb.NodeRole.MANAGER
        ? { leader: false, addr: managerAddress(own, identity.nodeId, description) }
        : undefined,
    index,
  };
}

/** The node with what a new session says of it, or undefined when that is known already. */
function refreshed(
  cluster: ClusterAccess,
  own: OwnManager,
  node: Node,
  description: NodeDescription,
): Node | undefined {
  const isReady = node.status.state === pb.NodeState.READY;
  const status = readyStatus(cluster, own, description);
  if (isReady) status.stateChangedAtMs = node.status.stateChangedAtMs;
  status.lostAtMs = node.status.lostAtMs;
  const managerStatus =
    node.spec.role === pb.NodeRole.MANAGER
      ? { leader: false, addr: managerAddress(own, node.id, description, node.managerStatus?.addr) }
      : undefined;
  const object: Node = { ...node, description, status, managerStatus };
  return isStoredAs(object, node) ? undefined : object;
}

function isStoredAs(a: Node, b: Node): boolean {
  return Buffer.compare(encodeObject('node', a), encodeObject('node', b)) === 0;
}

function readyStatus(
  cluster: ClusterAccess,
  own: OwnManager,
  description: NodeDescription,
): pb.NodeStatus {
  return {
    state: pb.NodeState.READY,
    message: '',
    addr: hostOf(description.agentAddress),
    stateChangedAtMs: cluster.clock.nowMs(),
    managerId: own.nodeId,
    lostAtMs: [],
    unreachable: false,
  };
}

function managerAddress(
  own: OwnManager,
  nodeId: string,
  description: NodeDescription,
  known = '',
): string {
  if (nodeId === own.nodeId) return own.address;
  return known === '' ? `${bracketed(hostOf(description.agentAddress))}:${MANAGER_PORT}` : known;
}

/** @throws {HatobaError} invalid-argument for a description that the node could not be reached by */
export function checkDescription(description: NodeDescription): void {
  const { hostname, agentAddress, dataPathAddress } = description;
  const problems: string[] = [];
  // Both are shown on terminals, and the address is dialled.
  if (!/^[\x21-\x7e]{1,253}$/.test(hostname)) {
    problems.push('hostname must be 1–253 characters without spaces');
  }
  const port = Number(/^[\x21-\x7e]{1,253}:(\d{1,5})$/.exec(agentAddress)?.[1] ?? 0);
  if (port < 1 || port > 65_535) {
    problems.push(`agent_address ${JSON.stringify(agentAddress)} must be host:port`);
  }
  if (isIP(dataPathAddress) !== 4) {
    problems.push(
      `data_path_address ${JSON.stringify(dataPathAddress)} must be an IPv4 address, as tunnels are of IPv4: set the agent's dataPathAddr`,
    );
  }
  checkWhatThereIs(description, problems);
  if (problems.length > 0) {
    throw new HatobaError('invalid-argument', `node description: ${problems.join('\n')}`);
  }
}

/** Every manager keeps it for every node, and people are shown it. */
function checkWhatThereIs({ images, resources }: NodeDescription, problems: string[]): void {
  if (images.length > MOST_IMAGES || images.some((name) => !/^[\x21-\x7e]{1,512}$/.test(name))) {
    problems.push(`images must be at most ${MOST_IMAGES} names of images`);
  }
  const kinds = resources.generic.map(({ kind }) => kind);
  const names = resources.generic.flatMap((g) => g.names);
  const isRight =
    new Set(kinds).size === kinds.length &&
    resources.generic.every(({ count }) => count >= 0) &&
    names.length <= MOST_RESOURCES &&
    [...kinds, ...names].every((word) => /^[\x21-\x7e]{1,253}$/.test(word));
  if (!isRight) problems.push('generic resources must be counts or names of different kinds');
}

/** "10.0.0.1:4402" → "10.0.0.1"; "[fd00::1]:4402" → "fd00::1". */
export function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

function bracketed(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}
