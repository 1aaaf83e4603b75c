import type { LogLevel } from '../common/logger.js';
import {
  absolutePathSetting,
  choiceSetting,
  durationSetting,
  hostPort,
  isIpAddress,
  listenSetting,
  listSetting,
  portSetting,
  readSettings,
  textSetting,
  wholeNumberSetting,
  type ListenAddress,
  type SettingSources,
  type SettingTable,
} from '../common/settings.js';
import { DEFAULT_ADDRESS_POOLS, DEFAULT_SUBNET_SIZE } from './core/network/address-pools.js';

/** The effective configuration of a manager. */
export interface ManagerConfig {
  /** Folder for everything that survives a reboot. */
  readonly root: string;
  /** Folder for what does not. */
  readonly runDir: string;
  /** IP address by which other nodes reach this one. */
  readonly advertiseAddr: string;
  readonly listenAddr: ListenAddress;
  readonly etcdClientPort: number;
  readonly etcdPeerPort: number;
  /** Of an external etcd; empty: one is started and supervised. */
  readonly etcdEndpoints: readonly string[];
  /** Files in PEM for an external etcd that is reached by https; empty: none. */
  readonly etcdCa: string;
  readonly etcdCert: string;
  readonly etcdKey: string;
  /** Program of the embedded etcd; a bare name is looked up on the PATH. */
  readonly etcdBinary: string;
  /** Pools from which the subnets of networks are cut; used when the cluster is created. */
  readonly defaultAddrPool: readonly string[];
  /** Prefix length of the subnets cut from the pools; used when the cluster is created. */
  readonly subnetSize: number;
  /** UDP port of the tunnels between nodes; used when the cluster is created. */
  readonly dataPathPort: number;
  /** Longest wait of a task's start or stop for nodes that do not answer; used when the cluster is created. */
  readonly networkWait: string;
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'text';
}

const isPath = (text: string): boolean => text.startsWith('/') && !text.includes('\0');
const optionalFile = textSetting('an absolute path', (text) => text === '' || isPath(text));

const TABLE: SettingTable<ManagerConfig> = {
  root: absolutePathSetting,
  runDir: absolutePathSetting,
  advertiseAddr: textSetting('an IP address', isIpAddress),
  listenAddr: listenSetting('0.0.0.0:4400'),
  etcdClientPort: portSetting,
  etcdPeerPort: portSetting,
  etcdEndpoints: listSetting('URLs like https://10.0.0.5:2379', (text) =>
    /^https?:\/\/[^\s/:]+(:\d+)?\/?$/.test(text),
  ),
  etcdCa: optionalFile,
  etcdCert: optionalFile,
  etcdKey: optionalFile,
  etcdBinary: textSetting('a program', (text) => /^[\w.-]+$/.test(text) || isPath(text)),
  defaultAddrPool: listSetting('IPv4 networks like 10.128.0.0/9', isPool),
  subnetSize: wholeNumberSetting('a prefix length', { least: 16, most: 29 }),
  dataPathPort: wholeNumberSetting('a port', { least: 1024, most: 49_151 }),
  networkWait: durationSetting,
  logLevel: choiceSetting(['debug', 'info', 'warn', 'error']),
  logFormat: choiceSetting(['json', 'text']),
};

const DEFAULTS: Omit<ManagerConfig, 'advertiseAddr'> = {
  root: '/var/lib/hatoba',
  runDir: '/run/hatoba',
  listenAddr: { host: '0.0.0.0', port: 4400 },
  etcdClientPort: 4379,
  etcdPeerPort: 4380,
  etcdEndpoints: [],
  etcdCa: '',
  etcdCert: '',
  etcdKey: '',
  etcdBinary: 'etcd',
  defaultAddrPool: DEFAULT_ADDRESS_POOLS,
  subnetSize: DEFAULT_SUBNET_SIZE,
  dataPathPort: 4789,
  networkWait: '5s',
  logLevel: 'info',
  logFormat: 'text',
};

/** @throws {HatobaError} invalid-argument with every problem on a line of its own */
export function parseConfig(sources: SettingSources): ManagerConfig {
  return readSettings(TABLE, sources, { envPrefix: 'HATOBA_MANAGER_', defaults: DEFAULTS });
}

/** The effective configuration as a file would say it. */
export function toPrintable(config: ManagerConfig): Record<string, unknown> {
  return { ...config, listenAddr: hostPort(config.listenAddr.host, config.listenAddr.port) };
}

function isPool(text: string): boolean {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const prefix = Number(match?.[2]);
  return isIpAddress(match?.[1] ?? '') && prefix >= 8 && prefix <= 28;
}
