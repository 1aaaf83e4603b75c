import assert from 'node:assert/strict';
import { systemClock } from '../../../common/adapters/system-clock.js';
import { systemRandom } from '../../../common/adapters/system-random.js';
import { HatobaError } from '../../../common/errors.js';
import { silentLogger } from '../../../common/logger.js';
import { newId } from '../../../common/model/ids.js';
import type { TaskStatus } from '../../../common/model/objects.js';
import { CertificateAuthority, createRootCa } from '../../../manager/security/ca.js';
import { createJoinToken } from '../../../manager/security/join-token.js';
import { CAService, type IssueNodeCertificateResponse } from '../../../proto/gen/hatoba/v1/ca.js';
import type {
  AssignmentsMessage,
  AttachContainerRequest,
  NetworkConfig,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import {
  AssignmentAction,
  AssignmentsType,
  AttachContainerResponse,
  DispatcherService,
  NetworkEndpoint,
  SessionMessage,
  type AssignmentChange,
  type HeartbeatRequest,
  type SessionRequest,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { NodeRole, type Task } from '../../../proto/gen/hatoba/v1/types.js';
import { checkTaskStatus } from '../../../proto/wire/check.js';
import { listenTls, type RpcServer } from '../../../proto/wire/server.js';
import { bindService, type CallContext } from '../../../proto/wire/service.js';
import type { TlsIdentity } from '../../../proto/wire/tls.js';

type Item = NonNullable<AssignmentChange['item']>;

/**
 * A manager in this process, as an agent sees it: a real CA and mTLS, and a dispatcher that assigns
 * what the test says and remembers what it hears.
 */
export class TestManager implements AsyncDisposable {
  readonly sessions: SessionRequest[] = [];
  readonly heartbeats: HeartbeatRequest[] = [];
  /** Newest status by task id. */
  readonly statuses = new Map<string, TaskStatus>();
  /** Every reported status in order: "t1 RUNNING". */
  readonly history: string[] = [];
  /** What containers of nodes may join. */
  readonly attachable: NetworkConfig[] = [];
  /** Who has joined, by container and network. */
  readonly attachments = new Map<string, AttachContainerRequest>();
  token = '';
  /** What it tells agents of where managers are; empty: nothing. */
  advertised = '';
  readonly #ca: CertificateAuthority;
  readonly #caPem: string;
  #identity: TlsIdentity | undefined;
  #server: RpcServer | undefined;
  #port = 0;
  /** What the node is to have, by a key of the item. */
  #assigned = new Map<string, Item>();
  #revision = 1;
  #lastAddress = 10;
  #changed = new Set<() => void>();

  private constructor(ca: CertificateAuthority) {
    this.#ca = ca;
    this.#caPem = ca.certificatePem;
  }

  static async start(): Promise<TestManager> {
    const root = await createRootCa('test-cluster', systemClock);
    const manager = new TestManager(await CertificateAuthority.load(root, systemClock));
    manager.token = createJoinToken(root.certificatePem, systemRandom);
    manager.#identity = await manager.issue(NodeRole.MANAGER, 'm1');
    await manager.listen();
    return manager;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get revision(): number {
    return this.#revision;
  }

  /** A node certificate of this cluster. */
  issue(role: NodeRole, nodeId: string): Promise<TlsIdentity> {
    return this.#ca.issue({ nodeId, role, clusterId: 'test-cluster', addresses: [] });
  }

  /** Listens again at the address it had. */
  async listen(): Promise<void> {
    assert.ok(this.#identity);
    this.#server = await listenTls({
      host: '127.0.0.1',
      port: this.#port,
      identity: this.#identity,
      logger: silentLogger,
      services: [this.#dispatcher(), this.#certificates()],
    });
    this.#port = this.#server.port;
  }

  /** As if the manager had crashed; what it assigned stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.[Symbol.asyncDispose]();
  }

  assign(...items: Item[]): void {
    for (const item of items) this.#assigned.set(keyOf(item), item);
    this.#touch();
  }

  unassign(...items: Item[]): void {
    for (const item of items) this.#assigned.delete(keyOf(item));
    this.#touch();
  }

  assignTask(task: Task): void {
    this.assign({ $case: 'task', value: task });
  }

  #touch(): void {
    this.#revision++;
    for (const wake of this.#changed) wake();
  }

  #dispatcher(): ReturnType<typeof bindService> {
    const implementation = {
      session: (request: SessionRequest, context: CallContext) => this.#session(request, context),
      heartbeat: (request: HeartbeatRequest) => {
        this.heartbeats.push(request);
        return Promise.resolve({ periodMs: 200 });
      },
      updateTaskStatus: (request: { updates: { taskId: string; status?: unknown }[] }) => {
        for (const update of request.updates) this.#heard(update.taskId, update.status);
        return Promise.resolve({});
      },
      assignments: (_request: unknown, context: CallContext) => this.#assignments(context.signal),
      attachContainer: (request: AttachContainerRequest) => Promise.resolve(this.#attach(request)),
      detachContainer: ({ containerId }: { containerId: string }) => {
        this.#detach((id) => id === containerId);
        return Promise.resolve({});
      },
      keepAttachments: ({ containerIds }: { containerIds: string[] }) => {
        this.#detach((id) => !containerIds.includes(id));
        return Promise.resolve({});
      },
    };
    return bindService(DispatcherService, implementation, {
      session: 'node',
      heartbeat: 'node',
      updateTaskStatus: 'node',
      assignments: 'node',
      attachContainer: 'node',
      detachContainer: 'node',
      keepAttachments: 'node',
    });
  }

  /** The next address of the network, and the network itself for the node. */
  #attach(request: AttachContainerRequest): AttachContainerResponse {
    const network = this.attachable.find(({ networkId, name }) =>
      [networkId, name].includes(request.network),
    );
    if (network === undefined) {
      throw new HatobaError('not-found', `no network has the name or id "${request.network}"`);
    }
    const { networkId, subnets } = network;
    const [base = '', prefix = ''] = (subnets[0]?.subnet ?? '').split('/');
    const key = `${request.containerId} ${networkId}`;
    const free = (): string => base.replace(/\d+$/, String(this.#lastAddress++));
    const address = request.address || this.attachments.get(key)?.address || free();
    this.attachments.set(key, { ...request, network: networkId, address });
    const endpoint = NetworkEndpoint.fromPartial({
      ...{ networkId, taskId: request.containerId, nodeId: 'n1', address },
      ...{ name: request.containerName, aliases: request.aliases, ready: request.active },
    });
    this.assign({ $case: 'network', value: network }, { $case: 'endpoint', value: endpoint });
    return AttachContainerResponse.fromPartial({
      attachment: { address: `${address}/${prefix}` },
      network,
    });
  }

  #detach(isGone: (containerId: string) => boolean): void {
    for (const [key, { containerId: taskId, network: networkId }] of this.attachments) {
      if (!isGone(taskId)) continue;
      this.attachments.delete(key);
      this.unassign({
        $case: 'endpoint',
        value: NetworkEndpoint.fromPartial({ networkId, taskId }),
      });
      const isUsed = [...this.attachments.values()].some((a) => a.network === networkId);
      const network = this.attachable.find((n) => n.networkId === networkId);
      if (!isUsed && network !== undefined) this.unassign({ $case: 'network', value: network });
    }
  }

  #heard(taskId: string, status: unknown): void {
    const checked = checkTaskStatus(status as TaskStatus);
    this.statuses.set(taskId, checked);
    this.history.push(`${taskId} ${checked.state.slice('TASK_STATE_'.length)}`);
  }

  async *#session(
    request: SessionRequest,
    { signal }: CallContext,
  ): AsyncGenerator<SessionMessage, void, undefined> {
    this.sessions.push(request);
    yield SessionMessage.fromPartial({
      sessionId: newId(systemRandom),
      managerAddresses: this.advertised === '' ? [] : [this.advertised],
      heartbeatPeriodMs: 200,
    });
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async *#assignments(signal: AbortSignal): AsyncGenerator<AssignmentsMessage, void, undefined> {
    let sent = new Map<string, Item>();
    for (let sequence = 0; !signal.aborted; sequence++) {
      const changed = this.#nextChange(signal);
      const now = new Map(this.#assigned);
      yield {
        type: sequence === 0 ? AssignmentsType.COMPLETE : AssignmentsType.INCREMENTAL,
        appliesTo: sequence === 0 ? '' : String(sequence),
        resultsIn: String(sequence + 1),
        revision: this.#revision,
        changes: difference(sent, now),
      };
      sent = now;
      await changed;
    }
  }

  #nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#changed.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#changed.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  #certificates(): ReturnType<typeof bindService> {
    const implementation = {
      getRootCaCertificate: () => Promise.resolve({ certificatePem: this.#caPem }),
      issueNodeCertificate: async (request: {
        csrPem: string;
        token: string;
        addresses: string[];
      }): Promise<IssueNodeCertificateResponse> => {
        if (request.token !== this.token) {
          throw new HatobaError('permission-denied', 'the join token is not valid');
        }
        const subject = {
          nodeId: newId(systemRandom),
          clusterId: 'test-cluster',
          role: NodeRole.WORKER,
          addresses: request.addresses,
        };
        const certificatePem = await this.#ca.issueForRequest(request.csrPem, subject);
        return { ...subject, certificatePem, rootCaCertificatePem: this.#caPem };
      },
    };
    return bindService(CAService, implementation, {
      getRootCaCertificate: 'anyone',
      issueNodeCertificate: 'anyone',
    });
  }
}

function difference(before: Map<string, Item>, after: Map<string, Item>): AssignmentChange[] {
  const { UPDATE, REMOVE } = AssignmentAction;
  return [
    ...[...after]
      .filter(([key, item]) => before.get(key) !== item)
      .map(([, item]) => ({ action: UPDATE, item })),
    ...[...before].filter(([key]) => !after.has(key)).map(([, item]) => ({ action: REMOVE, item })),
  ];
}

function keyOf(item: Item): string {
  switch (item.$case) {
    case 'task':
      return `task ${item.value.id}`;
    case 'network':
      return `network ${item.value.networkId}`;
    case 'endpoint':
      return `endpoint ${item.value.networkId} ${item.value.taskId}`;
    case 'service':
      return `service ${item.value.networkId} ${item.value.serviceId}`;
    case 'peer':
      return `peer ${item.value.nodeId}`;
  }
}
