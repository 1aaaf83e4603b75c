/** The files by which etcd proves itself, and knows its clients and peers: PEM, read anew per handshake. */
export interface EtcdTlsFiles {
  ca: string;
  certificate: string;
  key: string;
  /** The DNS name that certificates of clients and peers must carry: only managers have it. */
  allowedName: string;
}

export interface EtcdArguments {
  name: string;
  dataDir: string;
  clientPort: number;
  peerPort: number;
  /** IP address under which other managers reach this member. */
  advertiseAddress: string;
  tls: EtcdTlsFiles;
}

/** History kept for watches that were away: some minutes of heavy change. */
const KEPT_REVISIONS = 10_000;
const QUOTA_BYTES = 2 * 1024 ** 3;
/** Entries kept in memory between snapshots; etcd's default of 100,000 costs hundreds of MB. */
const SNAPSHOT_ENTRIES = 10_000;

/** Half of etcd's defaults: a member alone waits for one election before it answers. */
const HEARTBEAT_MS = 50;
const ELECTION_MS = 500;

/**
 * The command line of a member of its own. Clients on this machine use 127.0.0.1; every connection
 * is mTLS, and a certificate of a worker opens none.
 */
export function etcdArguments(options: EtcdArguments): string[] {
  const { name, dataDir, clientPort, peerPort, advertiseAddress, tls } = options;
  const url = (address: string, port: number): string => `https://${urlHost(address)}:${port}`;
  const advertised = url(advertiseAddress, clientPort);
  const peer = url(advertiseAddress, peerPort);
  const listen = new Set([url('127.0.0.1', clientPort), advertised]);
  const flags: Record<string, string | number> = {
    name,
    'data-dir': dataDir,
    'listen-client-urls': [...listen].join(','),
    'advertise-client-urls': advertised,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `${name}=${peer}`,
    'initial-cluster-token': 'hatoba',
    'initial-cluster-state': 'new',
    'trusted-ca-file': tls.ca,
    'cert-file': tls.certificate,
    'key-file': tls.key,
    'client-cert-allowed-hostname': tls.allowedName,
    'peer-trusted-ca-file': tls.ca,
    'peer-cert-file': tls.certificate,
    'peer-key-file': tls.key,
    'peer-cert-allowed-hostname': tls.allowedName,
    'heartbeat-interval': HEARTBEAT_MS,
    'election-timeout': ELECTION_MS,
    'auto-compaction-mode': 'revision',
    'auto-compaction-retention': KEPT_REVISIONS,
    'quota-backend-bytes': QUOTA_BYTES,
    'snapshot-count': SNAPSHOT_ENTRIES,
    // Nobody uses it, and it dials etcd itself again and again without a name that is let in.
    'enable-grpc-gateway': 'false',
    logger: 'zap',
    'log-level': 'warn',
    'log-outputs': 'stderr',
  };
  return [
    '--client-cert-auth',
    '--peer-client-cert-auth',
    ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`),
  ];
}

/** An address as part of a URL: IPv6 in brackets. */
export function urlHost(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
