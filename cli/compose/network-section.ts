import { STACK_LABEL } from '../../common/model/labels.js';
import { describeError } from '../../common/errors.js';
import { IPAMConfig, NetworkSpec } from '../../proto/gen/hatoba/v1/types.js';
import { readDriverOptions } from '../words/networks.js';
import { definedOf } from './deploy-section.js';
import { fullName } from './full-name.js';
import type { Value } from './reader.js';

/** A network that a compose file declares; one that is external is only referred to. */
export type StackNetwork = NetworkSpec & { readonly external: boolean };

/** What may be said of a network that somebody else makes. */
const OF_EXTERNAL = ['name', 'external', 'labels'];

/** Reads one entry of `networks:` at the top. @param value undefined for one that is only used */
export function readNetwork(stack: string, key: string, value: Value | undefined): StackNetwork {
  const spec = NetworkSpec.fromPartial({ driver: 'overlay', labels: { [STACK_LABEL]: stack } });
  const own: { name?: string | undefined; external: boolean } = { external: false };
  if (value !== undefined && !value.isNull) {
    value.fields(
      {
        name: (v) => (own.name = v.string()),
        external: (v) => (own.external = v.boolean() ?? false),
        driver: (v) => readDriver(v, spec),
        internal: (v) => (spec.internal = v.boolean() ?? false),
        attachable: (v) => (spec.attachable = v.boolean() ?? false),
        labels: (v) => Object.assign(spec.labels, definedOf(v)),
        driver_opts: (v) => readOptions(v, spec),
        ipam: (v) => readIpam(v, spec),
      },
      ['enable_ipv4', 'enable_ipv6'],
    );
    checkNetwork(value, spec, own);
  }
  return { ...spec, name: fullName(stack, key, own), external: own.external };
}

function readDriver(value: Value, spec: NetworkSpec): void {
  spec.driver = value.oneOf(['overlay', 'bridge', 'host', 'none']) ?? spec.driver;
}

function checkNetwork(value: Value, { driver }: NetworkSpec, own: { external: boolean }): void {
  for (const [key, item] of own.external ? value.entries() : []) {
    if (OF_EXTERNAL.includes(key) || key.startsWith('x-')) continue;
    if (key === 'driver' && (driver === 'host' || driver === 'none')) continue;
    item.problem('an external network is made elsewhere: this cannot be said of it here');
  }
  if (own.external || (driver !== 'host' && driver !== 'none')) return;
  value.problem(
    `every cluster has the network "${driver}", and no other: say "name: ${driver}" and "external: true", or "network_mode: ${driver}" in the service`,
  );
}

function readOptions(value: Value, spec: NetworkSpec): void {
  try {
    Object.assign(spec, readDriverOptions(definedOf(value)));
  } catch (error) {
    value.problem(describeError(error));
  }
}

function readIpam(value: Value, spec: NetworkSpec): void {
  value.fields(
    {
      driver: (v) => void v.oneOf(['default']),
      config: (v) => (spec.ipam = v.items().map(readSubnet)),
    },
    ['options'],
  );
}

function readSubnet(value: Value): IPAMConfig {
  const ipam = IPAMConfig.fromPartial({});
  value.fields(
    {
      subnet: (v) => (ipam.subnet = v.string() ?? ''),
      gateway: (v) => (ipam.gateway = v.string() ?? ''),
      ip_range: (v) => (ipam.ipRange = v.string() ?? ''),
    },
    ['aux_addresses'],
  );
  return ipam;
}
