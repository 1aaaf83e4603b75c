import { HatobaError, type ErrorKind } from '../../common/errors.js';
import { newId } from '../../common/model/ids.js';
import type { Attachment, Network } from '../../common/model/objects.js';
import type { Random } from '../../common/random.js';
import { addressOf, isAddress } from '../../overlay-net/core/ipam.js';
import type {
  AttachContainerRequest,
  AttachContainerResponse,
  DetachContainerRequest,
  KeepAttachmentsRequest,
} from '../../proto/gen/hatoba/v1/dispatcher.js';
import { Addresses } from '../core/allocator/addresses.js';
import { givesAddresses } from '../core/allocator/plan-networks.js';
import { exhausted, refusalOf } from '../core/allocator/plan-attachments.js';
import { equalData } from '../core/equal.js';
import { configOf, overlayDefaultsOf } from '../core/assignments/network-items.js';
import type { Plan } from '../core/snapshot.js';
import { checkName, Problems, problemsError } from '../core/validate/problem.js';
import { attachmentName } from '../store/keys.js';
import { writePlan, type ClusterAccess } from './write-plan.js';

/** Longest wait for the leader to give an address; an election takes less. */
const ADDRESS_WAIT_MS = 15_000;
const MAX_ALIASES = 64;

/** Containers outside of services on networks of the cluster. A node touches only its own. */
export class Attachments {
  readonly #cluster: ClusterAccess;
  readonly #random: Random;

  constructor(cluster: ClusterAccess, random: Random) {
    this.#cluster = cluster;
    this.#random = random;
  }

  /**
   * The attachment of a container to a network, made or updated; resolves once it has an address.
   * @throws {HatobaError} not-found; failed-precondition for a network that is not for containers;
   * conflict when the wanted address is taken; resource-exhausted; unavailable without a leader
   */
  async attach(
    nodeId: string,
    request: AttachContainerRequest,
    signal: AbortSignal,
  ): Promise<AttachContainerResponse> {
    checkRequest(request);
    const { view } = this.#cluster;
    const network = view.findByPrefix('network', request.network);
    const { containerId } = request;
    const name = attachmentName({ nodeId, containerId, networkId: network.id });
    const id = newId(this.#random);
    const decide = (): Plan | undefined => this.#plan(nodeId, network.id, { request, name, id });
    await writePlan(this.#cluster, decide, signal);
    const attachment = await this.#addressed(name, network, signal);
    return { attachment, network: configOf(network, overlayDefaultsOf(view)) };
  }

  /** What is not attached is success. */
  async detach(
    nodeId: string,
    { containerId, networkId }: DetachContainerRequest,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#removeWhere(
      nodeId,
      (a) => a.containerId === containerId && (networkId === '' || a.networkId === networkId),
      signal,
    );
  }

  /** Removes the attachments of containers that the node does not have. */
  async keep(
    nodeId: string,
    { containerIds }: KeepAttachmentsRequest,
    signal: AbortSignal,
  ): Promise<void> {
    const kept = new Set(containerIds);
    await this.#removeWhere(nodeId, (a) => !kept.has(a.containerId), signal);
  }

  /** The attachment as it is wanted now; its address is the leader's to give. */
  #plan(
    nodeId: string,
    networkId: string,
    { request, name, id }: { request: AttachContainerRequest; name: string; id: string },
  ): Plan | undefined {
    const { view } = this.#cluster;
    const network = view.network(networkId);
    if (network === undefined) throw noNetwork(request.network);
    const { containerName, active, address: wantedAddress } = request;
    const aliases = [...new Set(request.aliases)];
    const there = view.findByName('attachment', name);
    if (there === undefined) {
      checkAttachable(network);
      this.#refuseEarly(network, wantedAddress);
      const object: Attachment = {
        ...{ id, version: 0, createdAtMs: 0, updatedAtMs: 0 },
        ...{ nodeId, containerId: request.containerId, containerName, networkId },
        ...{ address: '', aliases, active, wantedAddress, problem: '' },
      };
      const guards = [{ kind: 'network', object: network } as const];
      return { groups: [[{ action: 'create', kind: 'attachment', object }]], guards };
    }
    const object = { ...there, containerName, aliases, active, problem: '' };
    if (there.address === '') object.wantedAddress = wantedAddress;
    else checkSameAddress(there, network, wantedAddress);
    if (equalData(object, there)) return undefined;
    return { groups: [[{ action: 'update', kind: 'attachment', object }]] };
  }

  /** What is plain to see is said without asking the leader. */
  #refuseEarly(network: Network, wantedAddress: string): void {
    const { view } = this.#cluster;
    const space = new Addresses(view, new Map(), new Set([network.id])).of(network.id);
    if (space === undefined) return; // about to get its subnet
    if (wantedAddress === '') {
      if (space.take() !== undefined) return;
      throw new HatobaError('resource-exhausted', exhausted(network, space.describe()));
    }
    const taken = space.takeThis(wantedAddress);
    if ('address' in taken) return;
    const kind: ErrorKind = taken.refusal === 'taken' ? 'conflict' : 'invalid-argument';
    throw new HatobaError(kind, refusalOf(view, network, wantedAddress, taken.refusal));
  }

  async #addressed(name: string, network: Network, signal: AbortSignal): Promise<Attachment> {
    const attachment = await this.#decided(name, signal);
    if (attachment === undefined) {
      throw new HatobaError('conflict', `the container was detached from ${network.spec.name}`);
    }
    if (attachment.address !== '') return attachment;
    await this.#removeWhere(attachment.nodeId, ({ id }) => id === attachment.id, signal);
    const kind: ErrorKind = attachment.wantedAddress === '' ? 'resource-exhausted' : 'conflict';
    throw new HatobaError(kind, attachment.problem);
  }

  /** Waits until the leader has given an address or said why not; undefined when it is gone. */
  async #decided(name: string, signal: AbortSignal): Promise<Attachment | undefined> {
    const { view, clock } = this.#cluster;
    const isOpen = (a: Attachment | undefined): boolean => a?.address === '' && a.problem === '';
    const now = view.findByName('attachment', name);
    if (!isOpen(now)) return now;
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        unsubscribe();
        cancelTimer();
        signal.removeEventListener('abort', onAbort);
        settle();
      };
      const onAbort = (): void => end(() => reject(signal.reason as Error));
      const unsubscribe = view.onChange(() => {
        const found = view.findByName('attachment', name);
        if (!isOpen(found)) end(() => resolve(found));
      });
      const cancelTimer = clock.setTimer(ADDRESS_WAIT_MS, () => {
        const what = 'no manager has given the container an address; is there a leader?';
        end(() => reject(new HatobaError('unavailable', what)));
      });
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
  }

  async #removeWhere(
    nodeId: string,
    matches: (attachment: Attachment) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { view } = this.#cluster;
    const decide = (): Plan | undefined => {
      const gone = [...view.attachments()].filter((a) => a.nodeId === nodeId && matches(a));
      if (gone.length === 0) return undefined;
      return { groups: gone.map((object) => [{ action: 'remove', kind: 'attachment', object }]) };
    };
    await writePlan(this.#cluster, decide, signal);
  }
}

/** @throws {HatobaError} invalid-argument */
function checkRequest({ containerId, address, aliases }: AttachContainerRequest): void {
  const problems = new Problems();
  problems
    .at('containerId')
    .require(/^[\w.-]{1,128}$/.test(containerId), `"${containerId}" is not the id of a container`);
  problems
    .at('address')
    .require(address === '' || isAddress(address), `"${address}" is not an IPv4 address`);
  problems.at('aliases').require(aliases.length <= MAX_ALIASES, `more than ${MAX_ALIASES} aliases`);
  aliases.forEach((alias, i) => {
    checkName(alias, problems.at(`aliases[${i}]`));
  });
  if (problems.list.length > 0) throw problemsError(problems.list);
}

/** @throws {HatobaError} failed-precondition */
function checkAttachable(network: Network): void {
  const { spec, pendingDelete } = network;
  const refuse = (why: string): never => {
    throw new HatobaError('failed-precondition', `network ${spec.name} ${why}`);
  };
  if (pendingDelete) refuse('is being removed');
  if (spec.ingress) refuse('carries the published ports: publish a port instead');
  if (!givesAddresses(network)) refuse(`has driver ${spec.driver}, which gives no addresses`);
  if (!spec.attachable) {
    refuse(
      'is for services only: make it with "hatoba network create --attachable" for containers ' +
        'outside of services to join it',
    );
  }
}

/** @throws {HatobaError} conflict */
function checkSameAddress(there: Attachment, network: Network, wantedAddress: string): void {
  const address = addressOf(there.address);
  if (wantedAddress === '' || wantedAddress === address) return;
  throw new HatobaError(
    'conflict',
    `the container has the address ${address} on network ${network.spec.name} already, not ` +
      `${wantedAddress}: disconnect it first`,
  );
}

function noNetwork(name: string): HatobaError {
  return new HatobaError('not-found', `network ${name} was just removed`);
}
