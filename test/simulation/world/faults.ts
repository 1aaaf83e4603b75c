import { LEADER_KEY } from '../../../manager/store/keys.js';
import type { Fault } from '../scenario.js';
import type { SimCluster } from './cluster.js';
import { revive, type Repairs } from './repair.js';
import type { SimHost } from './sim-host.js';

/** Makes one thing go wrong, and has it undone after its time. Of what is not there, nothing happens. */
export function cause(fault: Fault, cluster: SimCluster, repairs: Repairs): void {
  switch (fault.do) {
    case 'compact':
      cluster.memory.compact();
      for (const { manager } of cluster.hosts) manager?.store.loseWatches();
      return;
    case 'lose-commit':
      return loseCommit(cluster, fault.isMade);
    case 'depose':
      void cluster.memory.commit({ guards: [], puts: [], deletes: [LEADER_KEY] });
      return;
    case 'cut':
      cluster.network.cut(fault.from, fault.to);
      repairs.after(fault.forMs, () => cluster.network.heal(fault.from, fault.to));
      return;
    case 'lossy-network': {
      const before = cluster.network.lossRate;
      cluster.network.lossRate = fault.rate;
      repairs.after(fault.forMs, () => {
        cluster.network.lossRate = before;
      });
      return;
    }
    default:
      return causeAtHost(fault, cluster, repairs);
  }
}

type HostFault = Extract<Fault, { host: string }>;
type Cause<F> = (fault: F, host: SimHost, cluster: SimCluster, repairs: Repairs) => void;

function causeAtHost(fault: HostFault, cluster: SimCluster, repairs: Repairs): void {
  const host = cluster.host(fault.host);
  const make = AT_HOST[fault.do] as Cause<HostFault>;
  if (host !== undefined) make(fault, host, cluster, repairs);
}

const AT_HOST: { readonly [D in HostFault['do']]: Cause<Extract<HostFault, { do: D }>> } = {
  'crash-manager': ({ forMs }, host, cluster, repairs) => {
    cluster.stopManager(host);
    repairs.after(forMs, () => cluster.startManager(host));
  },
  'pause-manager': ({ forMs }, { manager }, _cluster, repairs) => {
    manager?.process.pause();
    repairs.after(forMs, () => manager?.process.resume());
  },
  'cut-store': ({ forMs }, { manager }, _cluster, repairs) => {
    manager?.store.cut();
    repairs.after(forMs, () => manager?.store.heal());
  },
  'lose-watches': (_fault, { manager }) => manager?.store.loseWatches(),
  'repeat-events': (_fault, { manager }) => manager?.store.repeatEvents(),
  'restart-agent': ({ forMs, isOrderly }, host, cluster, repairs) => {
    if (isOrderly) void host.agent?.agent.leave();
    cluster.timeline.after(isOrderly ? 50 : 0, () => cluster.stopAgent(host));
    repairs.after(forMs + 60, () => cluster.startAgent(host));
  },
  die: (_fault, host, cluster) => {
    const isLast = !cluster.hosts.some((h) => h !== host && h.isManager && !h.isDead);
    if (isLast) return;
    host.isDead = true;
    switchOff(host, cluster);
  },
  'power-off': ({ forMs }, host, cluster, repairs) => {
    switchOff(host, cluster);
    repairs.after(forMs, () => revive(cluster, host));
  },
  isolate: ({ host: name, forMs }, _host, cluster, repairs) => {
    isolate(cluster, name, forMs, repairs);
  },
  'break-engine': ({ forMs }, host, cluster) => {
    host.brokenUntilMs = cluster.timeline.nowMs() + forMs;
  },
  'kill-container': ({ nth, code }, host) => {
    const running = host.running();
    const taskId = running[nth % Math.max(1, running.length)];
    if (taskId !== undefined) host.machine.exit(taskId, code);
  },
};

function switchOff(host: SimHost, cluster: SimCluster): void {
  host.losePower();
  cluster.stopAgent(host);
  cluster.stopManager(host);
}

function isolate(cluster: SimCluster, name: string, forMs: number, repairs: Repairs): void {
  const others = cluster.hosts.filter((h) => h.name !== name);
  const own = cluster.host(name)?.manager;
  own?.store.cut();
  for (const other of others) {
    cluster.network.cut(name, other.name);
    cluster.network.cut(other.name, name);
  }
  repairs.after(forMs, () => {
    own?.store.heal();
    for (const other of others) {
      cluster.network.heal(name, other.name);
      cluster.network.heal(other.name, name);
    }
  });
}

/** The answer to the next commit of a control loop is lost, with or without the commit itself. */
function loseCommit(cluster: SimCluster, isMade: boolean): void {
  const before = cluster.fateOf;
  cluster.fateOf = (transaction, host) => {
    const isOfLoop = transaction.guards.some((g) => g.key === LEADER_KEY && 'createRevision' in g);
    if (!isOfLoop) return before(transaction, host);
    cluster.fateOf = before;
    return isMade ? 'made, answer lost' : 'lost';
  };
}
