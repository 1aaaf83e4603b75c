import { join } from 'node:path';
import type { Clock } from '../common/clock.js';
import { DisposableStack } from '../common/disposable.js';
import { parseDurationMs } from '../common/duration.js';
import type { Logger } from '../common/logger.js';
import type { Random } from '../common/random.js';
import { HATOBA_VERSION } from '../common/version.js';
import type { NetworkConfig } from '../proto/gen/hatoba/v1/dispatcher.js';
import { listenTls, listenUnix } from '../proto/wire/server.js';
import type { AgentConfig } from './config.js';
import { ContainerExecutor } from './executor/container-executor.js';
import type { LocalEngine, LocalNetworks } from './executor/local-engine.js';
import { NetworkApplier } from './executor/network-applier.js';
import { AttachmentReports } from './local/attachment-reports.js';
import { BRIDGE } from './local/bridge-subnet.js';
import { ClusterNetworks } from './local/cluster-networks.js';
import type { ContainerNetworks } from './local/container-networks.js';
import { engineService } from './local/engine-server.js';
import { GarbageRounds } from './local/garbage-rounds.js';
import type { HostNetwork } from './local/host-network.js';
import { hostUseOf } from './local/host-use.js';
import { LocalContainers } from './local/local-containers.js';
import { needsClusterNetworks, openContainerNetworks } from './local/open-local.js';
import type { RestartGate } from './local/restart-gate.js';
import { AgentServer } from './rpc/agent-server.js';
import { attachmentCalls } from './session/attachment-calls.js';
import { describeNode, hostPlatform, type DescribeModules } from './session/describe-node.js';
import { connectGrpcDispatcher } from './session/grpc-dispatcher.js';
import type { AgentIdentity } from './session/identity.js';
import { KnownImages } from './session/known-images.js';
import { ManagerList } from './session/manager-list.js';
import { Session, type SessionModules } from './session/session.js';
import { StatusReporter } from './session/status-reporter.js';
import { NetworkFile, type KeptNetworks } from './state/network-file.js';
import { TaskDb } from './state/task-db.js';
import { AssignmentSink } from './worker/assignment-sink.js';
import { Worker } from './worker/worker.js';

const NO_NETWORKS = { nodeId: '', networks: [], endpoints: [], services: [], peers: [] };

export interface AgentModules {
  readonly engine: LocalEngine;
  readonly driver: LocalNetworks;
  /** MTU in bytes of the link that carries an address of this machine. */
  readonly mtuOf: (address: string) => Promise<number>;
  /** What the network of this node alone must fit to. */
  readonly lookAtHost: () => Promise<HostNetwork>;
  /** Lets the engine start containers again once their networks can be made. */
  readonly restarts: RestartGate;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** A bug: the process cannot go on. */
  readonly onFatal: (error: unknown) => void;
}

/** A running agent. Ending it ends its connections; containers and networks stay as they are. */
export interface Agent extends AsyncDisposable {
  readonly session: Pick<Session, 'isConnected'>;
  readonly worker: Pick<Worker, 'task' | 'statuses'>;
  /** Port of the TCP listener, for a configured port of 0. */
  readonly port: number;
}

/**
 * Puts the parts of an agent together and starts them. What runs on this machine is taken up
 * first, then local users and managers are answered, then a session is opened.
 */
export async function startAgent(
  config: AgentConfig,
  identity: AgentIdentity,
  modules: AgentModules,
): Promise<Agent> {
  const stack = new DisposableStack();
  try {
    return await assemble(config, identity, modules, stack);
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    throw error;
  }
}

async function assemble(
  config: AgentConfig,
  identity: AgentIdentity,
  modules: AgentModules,
  stack: DisposableStack,
): Promise<Agent> {
  const { clock, random, log, engine, driver, onFatal } = modules;
  const { nodeId } = identity;
  const folder = join(config.root, 'agent');
  const late: { session?: Session } = {}; // the session needs the networks, and they tell it
  const reporter = new StatusReporter({ clock, random, log });
  const opened = await openNetworks(config, nodeId, modules, {
    stack,
    onChange: () => {
      worker.networksChanged();
      attachments.cluster.changed();
    },
    onShown: () => late.session?.onNetworkApplied(),
  });
  const { networks, bridge } = opened;
  const attachments = openAttachments(modules, { networks, stack, session: () => late.session });
  const executor = await ContainerExecutor.create(
    { hostname: config.hostname, ...hostPlatform() },
    {
      engine,
      driver,
      driverOf: (id) => networks.driverOf(id),
      withHostPorts: (ports, attach) => bridge.ports.takeForTask(ports, attach),
    },
  );
  stack.use('executor', executor);
  const worker: Worker = stack.use(
    'worker',
    new Worker({
      executor,
      db: new TaskDb(join(folder, 'tasks'), { log }),
      clock,
      random,
      log,
      networkWait: (task) => networks.waitOf(task),
      withdraw: (taskId) => networks.withdraw(taskId),
      onStatus: (taskId, status) => reporter.report(taskId, status),
      onFatal,
    }),
  );
  opened.begin();
  const tasks = await worker.start();
  log.info('Took up the tasks of this node', { nodeId, tasks: tasks.length });

  const local = stack.use(
    'containers of this node',
    openLocal(config, modules, opened, attachments),
  );
  stack.use('garbage collection', garbageRounds(config, modules));
  const sink = new AssignmentSink({ nodeId, tasks }, { worker, networks, log });
  const port = await serve(config, identity, modules, { worker, networks, bridge, local, stack });
  const session = await openSession(config, identity, modules, {
    agentPort: port,
    hostUse: hostUseOf({
      ...{ containers: engine.containers, lookAtHost: modules.lookAtHost, bridge },
      clusterState: () => networks.clusterState,
    }),
    stack,
    reporter,
    statuses: () => worker.statuses(),
    appliedNetworkRevision: () => networks.shownRevision,
    onAssignments: (message) => sink.receive(message),
    onOpen: () => {
      attachments.reports.sessionOpened();
    },
  });
  late.session = session;
  return { session, worker, port, [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose]() };
}

interface OpenedNetworks {
  readonly networks: NetworkApplier;
  /** The network of this node alone. */
  readonly bridge: ContainerNetworks;
  /** Applies what is known of the networks so far. */
  readonly begin: () => void;
}

async function openNetworks(
  config: AgentConfig,
  nodeId: string,
  modules: AgentModules,
  { stack, ...told }: { stack: DisposableStack; onChange: () => void; onShown: () => void },
): Promise<OpenedNetworks> {
  const { engine, driver, clock, random, log } = modules;
  const path = join(config.root, 'agent', 'networks');
  const file = stack.use('network file', new NetworkFile({ path, nodeId }, { clock, log }));
  const kept = await file.load();
  const needsCluster = kept === undefined && (await needsClusterNetworks({ driver, engine }));
  const bridge = openContainerNetworks(
    {
      nodeId,
      bridgeSubnet: config.bridgeSubnet,
      host: await modules.lookAtHost(),
      cluster: kept?.state ?? NO_NETWORKS,
    },
    { engine, driver, clusterState: () => networks.clusterState, random, log },
  );
  const applierModules = {
    driver,
    localPart: (cluster: readonly NetworkConfig[]) => bridge.part(cluster),
    keep: (state: KeptNetworks) => file.keep(state),
    clock,
    random,
    log,
    ...told,
  };
  const networks = stack.use(
    'networks',
    new NetworkApplier({ nodeId, needsCluster }, applierModules),
  );
  const begin = (): void => {
    if (kept !== undefined) networks.resume(kept.revision, kept.state);
    else networks.localChanged();
  };
  return { networks, bridge, begin };
}

interface Attachments {
  readonly cluster: ClusterNetworks;
  readonly reports: AttachmentReports;
}

/** What joins containers of this node alone to networks of the cluster. */
function openAttachments(
  { engine, clock, random, log }: AgentModules,
  parts: { networks: NetworkApplier; stack: DisposableStack; session: () => Session | undefined },
): Attachments {
  const { networks, stack, session } = parts;
  const managers = attachmentCalls(session);
  const { containers } = engine;
  const reports = stack.use(
    'attachments',
    new AttachmentReports({ managers, containers, clock, random, log }),
  );
  const reasonFor = (networkId: string): string => networks.reasonFor(networkId);
  return { cluster: new ClusterNetworks({ reports, reasonFor, clock }), reports };
}

function openLocal(
  { hostname }: AgentConfig,
  { engine, random, log }: AgentModules,
  { networks, bridge }: OpenedNetworks,
  attachments: Attachments,
): LocalContainers {
  return new LocalContainers(
    { hostname },
    {
      engine,
      networks: bridge,
      ...attachments,
      networkWait: () => networkWait(networks),
      onChange: () => networks.localChanged(),
      random,
      log,
    },
  );
}

/** @returns the TCP port */
async function serve(
  config: AgentConfig,
  identity: AgentIdentity,
  { engine, clock, log, restarts }: AgentModules,
  parts: {
    worker: Worker;
    networks: NetworkApplier;
    bridge: ContainerNetworks;
    local: LocalContainers;
    stack: DisposableStack;
  },
): Promise<number> {
  const { worker, networks, bridge, local, stack } = parts;
  const node = { nodeId: identity.nodeId, hostname: config.hostname };
  const services = [new AgentServer(node, { engine, tasks: worker, clock }).service()];
  const remote = await listenTls({
    ...config.agentListen,
    identity: identity.tls,
    services,
    logger: log,
  });
  stack.use('API for managers', remote);
  const path = join(config.runDir, 'agent.sock');
  await networks.settled(); // local users find the network there
  await local.sweep();
  restarts.open((container) => local.beforeRestart(container));
  const own = engineService({ engine, local, bridge, tasks: worker, clock });
  stack.use(
    'API on the socket',
    await listenUnix({ path, services: [...services, own], logger: log }),
  );
  return remote.port;
}

/** Why the network of this node cannot be used yet; empty when it can. */
function networkWait(networks: NetworkApplier): string {
  const reason = networks.reasonFor(BRIDGE.id);
  return reason === '' ? '' : `network "${BRIDGE.name}" is not there on this node: ${reason}`;
}

function garbageRounds(config: AgentConfig, { engine, clock, log }: AgentModules): GarbageRounds {
  const intervalMs = parseDurationMs(config.garbageInterval);
  return new GarbageRounds({ intervalMs }, { system: engine.system, clock, log });
}

type SessionParts = Pick<
  SessionModules,
  'reporter' | 'statuses' | 'appliedNetworkRevision' | 'onAssignments' | 'onOpen'
> &
  Pick<DescribeModules, 'hostUse'> & { agentPort: number; stack: DisposableStack };

async function openSession(
  config: AgentConfig,
  identity: AgentIdentity,
  { engine, clock, random, log, mtuOf, onFatal }: AgentModules,
  { agentPort, hostUse, stack, ...parts }: SessionParts,
): Promise<Session> {
  const managers = new ManagerList(
    { path: join(config.root, 'agent', 'managers.json'), configured: config.managers },
    { log },
  );
  await managers.load();
  const images = new KnownImages({ names: (most) => engine.images.names(most), clock });
  const description = { ...config, version: HATOBA_VERSION, agentPort };
  const session = new Session({
    ...parts,
    connect: (address) => connectGrpcDispatcher(address, identity.tls),
    managers,
    clock,
    random,
    log,
    describe: (address) =>
      describeNode(description, address, { mtuOf, hostUse, images: () => images.list() }),
  });
  const stop = new AbortController();
  const run = session.run(stop.signal).catch(onFatal);
  stack.defer('session', async () => {
    await session.leave();
    stop.abort();
    await run;
  });
  return session;
}
