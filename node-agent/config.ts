import { HatobaError } from '../common/errors.js';
import type { LogLevel } from '../common/logger.js';
import {
  absolutePathSetting,
  choiceSetting,
  durationSetting,
  hostPort,
  isIpAddress,
  labelsSetting,
  listenSetting,
  listSetting,
  listsSetting,
  percentSetting,
  readSettings,
  textSetting,
  type ListenAddress,
  type SettingSources,
  type SettingTable,
} from '../common/settings.js';
import { parseGenericResources } from './core/generic-resources.js';
import { isManagerAddress } from './session/manager-list.js';

/** The effective configuration of an agent. */
export interface AgentConfig {
  /** Folder for everything that survives a reboot. */
  readonly root: string;
  /** Folder for what does not. */
  readonly runDir: string;
  /** "host:port" of managers. */
  readonly managers: readonly string[];
  /** Needed once, to become a node. */
  readonly joinToken: string;
  /** Empty: the address this machine has towards its manager. */
  readonly advertiseAddr: string;
  /** Empty: advertiseAddr. */
  readonly dataPathAddr: string;
  readonly agentListen: ListenAddress;
  readonly cgroupParent: string;
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What this machine has beside CPUs and memory: "ssd=4", "gpu=UUID1", as in Docker's daemon.json. */
  readonly nodeGenericResources: readonly string[];
  /** Registries spoken to by plain HTTP. */
  readonly insecureRegistries: readonly string[];
  /** Base addresses asked before a registry: {"docker.io": ["http://10.0.0.5:5000"]}. */
  readonly registryMirrors: Readonly<Record<string, readonly string[]>>;
  /** How images are put together; auto: overlayfs where it can be had, else copies. */
  readonly snapshotter: 'auto' | 'overlay' | 'copy';
  /** Of the network "bridge" of this node alone; another one is taken where this is used already. */
  readonly bridgeSubnet: string;
  /** Whether rules are put where other programs' tables would refuse to forward for containers. */
  readonly forwardRules: 'auto' | 'off';
  /** How often what nobody needs is looked for. */
  readonly garbageInterval: string;
  /** Images without a container are kept so long after their last use. */
  readonly imageMinAge: string;
  /** Interrupted downloads are kept so long. */
  readonly partialMaxAge: string;
  /** Percentages of the disk: above the first, unused images go, until it is below the second. */
  readonly diskHighWatermark: number;
  readonly diskLowWatermark: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'text';
}

const optionalAddress = textSetting('an IP address', (text) => text === '' || isIpAddress(text));

const TABLE: SettingTable<AgentConfig> = {
  root: absolutePathSetting,
  runDir: absolutePathSetting,
  managers: listSetting('host:port', isManagerAddress),
  joinToken: textSetting('a text', () => true),
  advertiseAddr: optionalAddress,
  dataPathAddr: optionalAddress,
  agentListen: listenSetting('0.0.0.0:4402'),
  cgroupParent: textSetting(
    'a cgroup path like /hatoba',
    (text) => /^(?:\/[A-Za-z0-9_.-]+)+$/.test(text) && !text.includes('/..'),
  ),
  hostname: textSetting('a host name', (text) => /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/.test(text)),
  labels: labelsSetting,
  nodeGenericResources: listSetting('KIND=COUNT or KIND=NAME', (text) => text.includes('=')),
  insecureRegistries: listSetting('a registry host[:port]', (text) => text !== ''),
  registryMirrors: listsSetting('addresses like http://10.0.0.5:5000', (text) =>
    /^https?:\/\/[^/\s]+/.test(text),
  ),
  snapshotter: choiceSetting(['auto', 'overlay', 'copy']),
  bridgeSubnet: textSetting('a subnet like 172.30.0.0/16, from /8 to /29', isSubnet),
  forwardRules: choiceSetting(['auto', 'off']),
  garbageInterval: durationSetting,
  imageMinAge: durationSetting,
  partialMaxAge: durationSetting,
  diskHighWatermark: percentSetting,
  diskLowWatermark: percentSetting,
  logLevel: choiceSetting(['debug', 'info', 'warn', 'error']),
  logFormat: choiceSetting(['json', 'text']),
};

/**
 * @param systemHostname the node's name where none is set
 * @throws {HatobaError} invalid-argument with every problem on a line of its own
 */
export function parseConfig(sources: SettingSources, systemHostname: string): AgentConfig {
  const defaults: AgentConfig = {
    root: '/var/lib/hatoba',
    runDir: '/run/hatoba',
    managers: [],
    joinToken: '',
    advertiseAddr: '',
    dataPathAddr: '',
    agentListen: { host: '0.0.0.0', port: 4402 },
    cgroupParent: '/hatoba',
    hostname: systemHostname,
    labels: {},
    nodeGenericResources: [],
    insecureRegistries: [],
    registryMirrors: {},
    snapshotter: 'auto',
    bridgeSubnet: '172.30.0.0/16',
    forwardRules: 'auto',
    garbageInterval: '10m',
    imageMinAge: '24h',
    partialMaxAge: '168h',
    diskHighWatermark: 85,
    diskLowWatermark: 80,
    logLevel: 'info',
    logFormat: 'text',
  };
  const config = readSettings(TABLE, sources, { envPrefix: 'HATOBA_AGENT_', defaults });
  parseGenericResources(config.nodeGenericResources);
  if (config.diskLowWatermark < config.diskHighWatermark) return config;
  throw new HatobaError(
    'invalid-argument',
    `diskLowWatermark: ${config.diskLowWatermark} is not below diskHighWatermark, ${config.diskHighWatermark}`,
  );
}

/** The effective configuration as a file would say it, without the secret. */
export function toPrintable(config: AgentConfig): Record<string, unknown> {
  const { host, port } = config.agentListen;
  const joinToken = config.joinToken === '' ? '' : '(set)';
  return { ...config, agentListen: hostPort(host, port), joinToken };
}

/** An IPv4 subnet that has room for a gateway and some containers. */
function isSubnet(text: string): boolean {
  const [, address = '', prefix = ''] = /^([\d.]+)\/(\d{1,2})$/.exec(text) ?? [];
  const bits = Number(prefix);
  if (!isIpAddress(address) || bits < 8 || bits > 29) return false;
  const base = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return base % 2 ** (32 - bits) === 0;
}
