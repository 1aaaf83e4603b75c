import type { LogLevel } from '../common/logger.js';
import {
  absolutePathSetting,
  choiceSetting,
  hostPort,
  isIpAddress,
  labelsSetting,
  listenSetting,
  listSetting,
  readSettings,
  textSetting,
  type ListenAddress,
  type SettingSources,
  type SettingTable,
} from '../common/settings.js';
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
  /** Registries spoken to by plain HTTP. */
  readonly insecureRegistries: readonly string[];
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
  insecureRegistries: listSetting('a registry host[:port]', (text) => text !== ''),
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
    insecureRegistries: [],
    logLevel: 'info',
    logFormat: 'text',
  };
  return readSettings(TABLE, sources, { envPrefix: 'HATOBA_AGENT_', defaults });
}

/** The effective configuration as a file would say it, without the secret. */
export function toPrintable(config: AgentConfig): Record<string, unknown> {
  const { host, port } = config.agentListen;
  const joinToken = config.joinToken === '' ? '' : '(set)';
  return { ...config, agentListen: hostPort(host, port), joinToken };
}
