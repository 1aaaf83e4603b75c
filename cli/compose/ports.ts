import {
  PortConfig,
  PortProtocol,
  PublishMode,
  type PortConfig as Port,
} from '../../proto/gen/hatoba/v1/types.js';
import type { Value } from './reader.js';

const PROTOCOLS = {
  tcp: PortProtocol.TCP,
  udp: PortProtocol.UDP,
  sctp: PortProtocol.SCTP,
} as const;
const MODES = { ingress: PublishMode.INGRESS, host: PublishMode.HOST } as const;
const SHORT =
  /^(?:(?:(\[[0-9a-f:]+\]|[0-9.]+):)?([0-9]+(?:-[0-9]+)?)?:)?([0-9]+(?:-[0-9]+)?)(?:\/(tcp|udp|sctp))?$/;

/** One item of `ports:` in short or long form; a range gives several ports. */
export function readPorts(value: Value): Port[] {
  return value.isMap ? readLong(value) : readShort(value);
}

/** "80", "8080:80", "127.0.0.1:8080:80/udp", "3000-3005:3000-3005". */
function readShort(value: Value): Port[] {
  const text = value.string();
  if (text === undefined) return [];
  const match = SHORT.exec(text);
  if (match === null) {
    value.problem(`"${text}" is not a port like "8080:80", "127.0.0.1:8080:80/udp" or "80"`);
    return [];
  }
  const [, hostIp = '', published, target = '', protocol = 'tcp'] = match;
  return expand(value, {
    hostIp: hostIp.replace(/^\[|\]$/g, ''),
    published,
    target,
    protocol: PROTOCOLS[protocol as keyof typeof PROTOCOLS],
    mode: PublishMode.INGRESS,
    name: '',
  });
}

function readLong(value: Value): Port[] {
  let target: number | undefined;
  let published: string | undefined;
  let hostIp = '';
  let name = '';
  let protocol: PortProtocol = PortProtocol.TCP;
  let mode: PublishMode = PublishMode.INGRESS;
  value.fields({
    name: (v) => (name = v.string() ?? ''),
    target: (v) => (target = v.integer(1)),
    published: (v) => (published = v.string()),
    host_ip: (v) => (hostIp = v.string() ?? ''),
    protocol: (v) => {
      const word = v.oneOf(['tcp', 'udp', 'sctp']);
      if (word !== undefined) protocol = PROTOCOLS[word];
    },
    mode: (v) => {
      const word = v.oneOf(['ingress', 'host']);
      if (word !== undefined) mode = MODES[word];
    },
    app_protocol: (v) => void v.string(),
  });
  if (target === undefined) {
    value.problem('needs "target", the port inside the container');
    return [];
  }
  return expand(value, { hostIp, published, target: String(target), protocol, mode, name });
}

interface PortRange {
  hostIp: string;
  published: string | undefined;
  target: string;
  protocol: PortProtocol;
  mode: PublishMode;
  name: string;
}

function expand(value: Value, range: PortRange): Port[] {
  const targets = portsOf(value, range.target);
  const published = range.published === undefined ? undefined : portsOf(value, range.published);
  if (targets === undefined || (published === undefined && range.published !== undefined))
    return [];
  if (published !== undefined && published.length !== targets.length) {
    value.problem(
      `publishes ${published.length} ports for ${targets.length} in the container; the ranges must be equally long`,
    );
    return [];
  }
  return targets.map((targetPort, i) =>
    PortConfig.fromPartial({
      name: range.name,
      protocol: range.protocol,
      targetPort,
      publishedPort: published?.[i] ?? 0,
      publishMode: range.mode,
      hostIp: range.hostIp,
    }),
  );
}

function portsOf(value: Value, text: string): number[] | undefined {
  const [first = NaN, last = first] = text.split('-').map(Number);
  if (!(first >= 1 && last <= 65535 && first <= last)) {
    return value.problem(`"${text}" is not a port or a range of ports between 1 and 65535`);
  }
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
