import { describeError } from '../../common/errors.js';
import { PublishMode, type PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import { expandPorts, parsePorts, PROTOCOL_WORDS, type PortWords } from '../words/ports.js';
import type { Value } from './reader.js';

const MODES = { ingress: PublishMode.INGRESS, host: PublishMode.HOST } as const;

/** One item of `ports:` in short or long form; a range gives several ports. */
export function readPorts(value: Value): PortConfig[] {
  if (value.isMap) return readLong(value);
  const text = value.string();
  if (text === undefined) return [];
  return noting(value, () => parsePorts(text, PublishMode.INGRESS));
}

function readLong(value: Value): PortConfig[] {
  let target: string | undefined;
  const words: Omit<PortWords, 'target'> = {
    published: undefined,
    hostIp: '',
    name: '',
    protocol: 'tcp',
    mode: PublishMode.INGRESS,
  };
  value.fields({
    name: (v) => (words.name = v.string() ?? ''),
    target: (v) => (target = v.string()),
    published: (v) => (words.published = v.string()),
    host_ip: (v) => (words.hostIp = v.string() ?? ''),
    protocol: (v) => (words.protocol = v.oneOf(PROTOCOL_WORDS) ?? words.protocol),
    mode: (v) => {
      const word = v.oneOf(['ingress', 'host']);
      if (word !== undefined) words.mode = MODES[word];
    },
    app_protocol: (v) => void v.string(),
  });
  if (target === undefined) {
    value.problem('needs "target", the port inside the container');
    return [];
  }
  const wanted = { ...words, target };
  return noting(value, () => expandPorts(wanted));
}

/** What the words refuse is a problem of the file, at its place. */
function noting(value: Value, read: () => PortConfig[]): PortConfig[] {
  try {
    return read();
  } catch (error) {
    value.problem(describeError(error));
    return [];
  }
}
