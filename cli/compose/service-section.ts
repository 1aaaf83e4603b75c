import {
  ContainerSpec,
  EndpointSpec,
  Limit,
  LogConfig,
  Placement,
  Resources,
  RestartCondition,
  RestartPolicy,
} from '../../proto/gen/hatoba/v1/types.js';
import { describeError } from '../../common/errors.js';
import type { ServiceSpec } from '../../common/model/objects.js';
import { defaultUpdateConfig } from '../../proto/wire/check.js';
import { parseRestart } from '../words/container.js';
import { definedOf, readDeploy, readHealthcheck } from './deploy-section.js';
import { isolationFields } from './isolation-section.js';
import { limitFields } from './limits-section.js';
import { readMount, type MountScope } from './mounts.js';
import type { PlacementScope } from './placement-section.js';
import { readPorts } from './ports.js';
import { splitWords } from './shell-words.js';
import type { Fields, Value } from './reader.js';

/** What the keys of one service refer to outside of it. */
export interface ServiceScope extends MountScope, PlacementScope {
  stack: string;
  /** Full name of a network of the file ("back" → "STACK_back"). */
  networkName: (name: string, at: Value) => string;
  variables: Readonly<Record<string, string | undefined>>;
  /** The lines of an env_file as NAME=value. */
  readEnvFile: (path: string, at: Value) => readonly string[];
}

/** Keys of the compose specification that are an error until they are honoured. */
const NOT_YET = [
  'build', 'extends', 'secrets', 'configs', 'depends_on', 'profiles',
  'cgroup_parent', 'links', 'external_links', 'mac_address', 'scale', 'cpu_quota', 'cpu_period',
  'cpu_rt_period', 'cpu_rt_runtime', 'cpu_count', 'cpu_percent', 'mem_swappiness',
  'oom_kill_disable', 'gpus', 'platform', 'pull_policy', 'runtime', 'storage_opt', 'volumes_from',
  'develop', 'annotations', 'attach', 'credential_spec', 'isolation', 'post_start', 'pre_stop',
  'provider', 'use_api_socket',
]; // prettier-ignore

/** Reads one entry of `services:`. The spec is only complete when no problem was noted. */
export function readService(name: string, value: Value, scope: ServiceScope): ServiceSpec {
  const spec = emptyServiceSpec(`${scope.stack}_${name}`);
  const container = spec.taskTemplate.containerSpec;
  value.fields(
    {
      ...processFields(container, scope),
      ...isolationFields(container),
      ...limitFields(spec.taskTemplate.resources.limits),
      restart: (v) => readRestart(v, value, spec.taskTemplate.restartPolicy),
      image: (v) => (container.image = v.string() ?? ''),
      labels: (v) => Object.assign(container.labels, definedOf(v)),
      ports: (v) => (spec.endpointSpec.ports = v.items().flatMap(readPorts)),
      expose: (v) => void v.strings(),
      networks: (v) => {
        readNetworks(name, v, spec, scope);
      },
      network_mode: (v) => readNetworkMode(v, value, spec),
      volumes: (v) =>
        container.mounts.push(...v.items().flatMap((item) => readMount(item, scope) ?? [])),
      healthcheck: (v) => readHealthcheck(v, container),
      logging: (v) => {
        const log = LogConfig.fromPartial({});
        v.fields({
          driver: (d) => (log.name = d.string() ?? ''),
          options: (o) => (log.options = definedOf(o)),
        });
        spec.taskTemplate.logDriver = log;
      },
      deploy: (v) => readDeploy(v, spec, scope),
    },
    NOT_YET,
  );
  if (container.image === '') value.problem('needs "image"');
  if (!value.entries().some(([key]) => key === 'networks' || key === 'network_mode')) {
    const target = scope.networkName('default', value);
    spec.taskTemplate.networks.push({ target, aliases: [name] });
  }
  return spec;
}

function emptyServiceSpec(name: string): ServiceSpec {
  return {
    name,
    labels: {},
    rebalance: false,
    taskTemplate: {
      containerSpec: ContainerSpec.fromPartial({}),
      resources: { limits: Limit.fromPartial({}), reservations: Resources.fromPartial({}) },
      restartPolicy: RestartPolicy.fromPartial({}),
      placement: Placement.fromPartial({}),
      networks: [],
      logDriver: undefined,
      forceUpdate: 0,
      priority: 0,
    },
    mode: { $case: 'replicated', value: { replicas: 1 } },
    updateConfig: defaultUpdateConfig(),
    rollbackConfig: defaultUpdateConfig(),
    endpointSpec: EndpointSpec.fromPartial({}),
  };
}

/** What runs, and as whom. */
function processFields(container: ContainerSpec, scope: ServiceScope): Fields {
  return {
    entrypoint: (v) => (container.command = readCommand(v)),
    command: (v) => (container.args = readCommand(v)),
    environment: (v) => {
      for (const [key, text] of v.dictionary()) {
        const value = text ?? scope.variables[key];
        if (value !== undefined) setEnv(container, key, value);
      }
    },
    env_file: (v) => {
      const own = container.env;
      container.env = v.stringOrStrings().flatMap((path) => [...scope.readEnvFile(path, v)]);
      // `environment` wins over files, whichever stands first
      for (const line of own)
        setEnv(container, line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1));
    },
    working_dir: (v) => (container.dir = v.string() ?? ''),
    user: (v) => (container.user = v.string() ?? ''),
    group_add: (v) => (container.groups = v.strings()),
    hostname: (v) => (container.hostname = v.string() ?? ''),
    domainname: (v) => (container.domainname = v.string() ?? ''),
    tty: (v) => (container.tty = v.boolean() ?? false),
    stdin_open: (v) => (container.openStdin = v.boolean() ?? false),
    init: (v) => (container.init = v.boolean() ?? false),
    stop_signal: (v) => (container.stopSignal = v.string() ?? ''),
    stop_grace_period: (v) => (container.stopGracePeriodMs = v.durationMs()),
    extra_hosts: (v) => {
      for (const [host, address] of readHosts(v)) container.hosts.push(`${address} ${host}`);
    },
    dns: (v) => (dnsOf(container).nameservers = v.stringOrStrings()),
    dns_search: (v) => (dnsOf(container).search = v.stringOrStrings()),
    dns_opt: (v) => (dnsOf(container).options = v.strings()),
  };
}

function readNetworks(service: string, value: Value, spec: ServiceSpec, scope: ServiceScope): void {
  const { networks } = spec.taskTemplate;
  if (value.isList) {
    for (const item of value.items()) {
      const name = item.string();
      if (name === undefined) continue;
      networks.push({ target: scope.networkName(name, item), aliases: [service] });
    }
    return;
  }
  for (const [name, options] of value.entries()) {
    const aliases = [service];
    if (!options.isNull) {
      options.fields({ aliases: (a) => aliases.push(...a.strings()) }, [
        'ipv4_address', 'ipv6_address', 'priority', 'mac_address', 'link_local_ips', 'gw_priority',
        'driver_opts', 'interface_name',
      ]); // prettier-ignore
    }
    networks.push({ target: scope.networkName(name, options), aliases });
  }
}

/** The networks that every cluster has. */
function readNetworkMode(value: Value, service: Value, spec: ServiceSpec): void {
  const text = value.string();
  if (text === undefined) return;
  if (service.entries().some(([key]) => key === 'networks')) {
    value.problem('cannot be together with "networks": leave one of them out');
  } else if (text === 'host' || text === 'none') {
    spec.taskTemplate.networks.push({ target: text, aliases: [] });
  } else {
    value.problem(`must be "host" or "none", not "${text}"; others are named under "networks"`);
  }
}

/** `deploy: restart_policy:` says more than `restart:`, and goes before it. */
function readRestart(value: Value, service: Value, policy: RestartPolicy): void {
  const deploy = service.entries().find(([key]) => key === 'deploy')?.[1];
  const text = value.string();
  if (text === undefined) return;
  try {
    const { name, maximumRetryCount } = parseRestart(text);
    if (deploy?.isMap === true && deploy.entries().some(([key]) => key === 'restart_policy'))
      return;
    policy.condition = RESTARTS[name] ?? RestartCondition.ANY;
    policy.maxAttempts = maximumRetryCount;
  } catch (error) {
    value.problem(describeError(error));
  }
}

const RESTARTS: Readonly<Record<string, RestartCondition>> = {
  no: RestartCondition.NONE,
  'on-failure': RestartCondition.ON_FAILURE,
};

function readCommand(value: Value): string[] {
  if (value.isList) return value.strings();
  const text = value.string();
  const words = text === undefined ? [] : splitWords(text);
  if (words === undefined) value.problem('has a quote that is not closed');
  return words ?? [];
}

/** A list of "host:address" or "host=address", or a map. */
function readHosts(value: Value): [string, string][] {
  if (!value.isList) return Object.entries(definedOf(value));
  return value.items().flatMap((item): [string, string][] => {
    const text = item.string();
    const match = text === undefined ? null : /^([^:=]+)[:=](.+)$/.exec(text);
    if (match === null) {
      item.problem('must be like "host:10.0.0.1"');
      return [];
    }
    return [[match[1] ?? '', match[2] ?? '']];
  });
}

function dnsOf(container: ContainerSpec): {
  nameservers: string[];
  search: string[];
  options: string[];
} {
  container.dnsConfig ??= { nameservers: [], search: [], options: [] };
  return container.dnsConfig;
}

function setEnv(container: ContainerSpec, key: string, value: string): void {
  container.env = container.env.filter((line) => !line.startsWith(`${key}=`));
  container.env.push(`${key}=${value}`);
}
