import { join } from 'node:path';
import type { Clock } from '../common/clock.js';
import { DisposableStack } from '../common/disposable.js';
import { parseDurationMs } from '../common/duration.js';
import type { Logger } from '../common/logger.js';
import type { Random } from '../common/random.js';
import { listenTls, listenUnix } from '../proto/wire/server.js';
import type { BoundService } from '../proto/wire/service.js';
import { SERVER_NAMES } from '../proto/wire/tls.js';
import { bootstrapCluster, prepareIdentity } from './bootstrap.js';
import { hostPort } from '../common/settings.js';
import type { ManagerConfig } from './config.js';
import { leadTerm } from './controllers/term.js';
import { AssignmentModel } from './core/assignments/assignment-model.js';
import { EventFile } from './events/event-file.js';
import { EventRecorder } from './events/event-recorder.js';
import { startEtcd } from './etcd/etcd-process.js';
import { openExternalStore } from './etcd/external.js';
import { hostRoutes } from './host-routes.js';
import { Election } from './leader/election.js';
import { AgentConnections } from './rpc/agents.js';
import { caService } from './rpc/ca-server.js';
import { controlService } from './rpc/control-server.js';
import { DispatcherServer } from './rpc/dispatcher-server.js';
import { probeHost } from './rpc/host-probe.js';
import { identityFiles, type StoredIdentity } from './security/identity-files.js';
import { renewManagerIdentity } from './security/renewal.js';
import { EtcdStore, type EtcdStoreOptions } from './store/etcd-store.js';
import { Reflector } from './view/reflector.js';
import { View } from './view/view.js';

export interface ManagerModules {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** A manager that serves; disposing ends its parts in reverse order, the etcd child last. */
export interface Manager extends AsyncDisposable {
  readonly nodeId: string;
}

/**
 * Builds a manager and starts its parts in the order in which they need each other.
 * @throws what a part says that cannot start; the parts before it are then ended
 */
export async function startManager(
  config: ManagerConfig,
  modules: ManagerModules,
  signal: AbortSignal,
): Promise<Manager> {
  const parts = new DisposableStack();
  try {
    const { root, advertiseAddr: advertiseAddress } = config;
    const former = await prepareIdentity(root, advertiseAddress, modules);
    const store = parts.use(
      'store',
      config.etcdEndpoints.length > 0
        ? await openExternalStore(config, modules, signal)
        : await openOwnStore(config, former, modules, parts),
    );
    const options = {
      root,
      defaultAddressPools: config.defaultAddrPool,
      subnetSize: config.subnetSize,
      dataPathPort: config.dataPathPort,
      networkWaitMs: parseDurationMs(config.networkWait),
      hostRoutes,
    };
    const cluster = await bootstrapCluster(store, former, options, modules);
    const identity = await renewManagerIdentity(
      former,
      identityFiles(root),
      { cluster, advertiseAddress },
      modules.clock,
    );
    const view = new View();
    const reflector = parts.use('view', new Reflector({ store, view, ...modules }));
    await reflector.start(signal);
    await serve(config, identity, { store, view, ...modules }, parts);
    startElection(identity.nodeId, { store, view, ...modules }, parts);
    return { nodeId: identity.nodeId, [Symbol.asyncDispose]: () => parts[Symbol.asyncDispose]() };
  } catch (error) {
    await parts[Symbol.asyncDispose]();
    throw error;
  }
}

/** The store in an etcd of its own. */
async function openOwnStore(
  config: ManagerConfig,
  identity: StoredIdentity,
  modules: ManagerModules,
  parts: DisposableStack,
): Promise<EtcdStore> {
  const files = identityFiles(config.root);
  const etcd = await startEtcd(
    {
      name: identity.nodeId,
      binary: config.etcdBinary,
      dataDir: join(config.root, 'manager', 'etcd'),
      pidFile: join(config.root, 'manager', 'etcd.pid'),
      logFile: join(config.root, 'log', 'etcd.log'),
      clientPort: config.etcdClientPort,
      peerPort: config.etcdPeerPort,
      advertiseAddress: config.advertiseAddr,
      tls: { ...files, allowedName: SERVER_NAMES.manager },
    },
    modules,
  );
  parts.use('etcd', etcd);
  const options: EtcdStoreOptions = {
    endpoints: etcd.endpoints,
    tls: {
      ca: identity.caPem,
      certificate: identity.certPem,
      key: identity.keyPem,
      serverName: SERVER_NAMES.manager,
    },
  };
  return new EtcdStore(options, modules);
}

interface ClusterModules extends ManagerModules {
  readonly store: EtcdStore;
  readonly view: View;
}

/** Dispatcher, CA and control API: on every manager, leader or not. */
async function serve(
  config: ManagerConfig,
  identity: StoredIdentity,
  modules: ClusterModules,
  parts: DisposableStack,
): Promise<void> {
  const { random, logger, view } = modules;
  const own = {
    nodeId: identity.nodeId,
    address: hostPort(config.advertiseAddr, config.listenAddr.port),
  };
  const agents = parts.use('agents', new AgentConnections({ view, identity }));
  const dispatcher = parts.use(
    'dispatcher',
    new DispatcherServer({
      ...{ cluster: modules, model: new AssignmentModel(), own },
      ...{ random, logger, probe: probeHost },
      onSession: (nodeId) => agents.forget(nodeId),
    }),
  );
  const file = new EventFile(join(config.root, 'manager', 'events.jsonl'));
  const recorder = parts.use('events', await EventRecorder.start({ ...modules, file }));
  const control = controlService({
    ...{ cluster: modules, networks: dispatcher, own, random, agents },
    events: recorder.log,
  });
  const remote: BoundService[] = [control, dispatcher.service(), caService(modules)];
  parts.use(
    'server',
    await listenTls({ ...config.listenAddr, identity, services: remote, logger }),
  );
  const path = join(config.runDir, 'manager.sock');
  parts.use('socket', await listenUnix({ path, services: [control], logger }));
}

function startElection(nodeId: string, modules: ClusterModules, parts: DisposableStack): void {
  const election = new Election(modules, { nodeId });
  const end = new AbortController();
  const running = election.run((leadership) => leadTerm(leadership, modules), end.signal);
  parts.defer('election', async () => {
    end.abort();
    await running;
  });
}
