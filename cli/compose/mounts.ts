import { describeError } from '../../common/errors.js';
import { Mount, MountType, type Mount as MountConfig } from '../../proto/gen/hatoba/v1/types.js';
import { hostPath, parseVolume, PROPAGATION_WORDS } from '../words/mounts.js';
import type { Value } from './reader.js';

/** What a service's mounts are resolved against. */
export interface MountScope {
  /** Absolute folder of the compose file, for "./data". */
  baseDir: string;
  /** Full name of a volume declared at the top of the file ("data" → "STACK_data"). */
  volumeName: (name: string, at: Value) => string;
}

/** One item of `volumes:` in short or long form. */
export function readMount(value: Value, scope: MountScope): MountConfig | undefined {
  return value.isMap ? readLong(value, scope) : readShort(value, scope);
}

function readShort(value: Value, scope: MountScope): MountConfig | undefined {
  const text = value.string();
  if (text === undefined) return undefined;
  try {
    const mount = parseVolume(text, scope.baseDir);
    if (mount.type !== MountType.VOLUME || mount.source === '') return mount;
    return { ...mount, source: scope.volumeName(mount.source, value) };
  } catch (error) {
    return value.problem(describeError(error));
  }
}

function readLong(value: Value, scope: MountScope): MountConfig | undefined {
  const mount = Mount.fromPartial({});
  let type: 'bind' | 'volume' | 'tmpfs' | undefined;
  value.fields(
    {
      type: (v) => (type = v.oneOf(['bind', 'volume', 'tmpfs'])),
      source: (v) => (mount.source = v.string() ?? ''),
      target: (v) => (mount.target = v.string() ?? ''),
      read_only: (v) => (mount.readOnly = v.boolean() ?? false),
      bind: (v) => {
        const options = { propagation: '', createMountpoint: false };
        v.fields({
          propagation: (p) => (options.propagation = p.oneOf(PROPAGATION_WORDS) ?? ''),
          create_host_path: (c) => (options.createMountpoint = c.boolean() ?? false),
        });
        mount.bindOptions = options;
      },
      volume: (v) =>
        v.fields({
          nocopy: (n) =>
            (mount.volumeOptions = {
              noCopy: n.boolean() ?? false,
              labels: {},
              driver: '',
              driverOpts: {},
            }),
        }),
      tmpfs: (v) => {
        const options = { sizeBytes: 0, mode: 0 };
        v.fields({
          size: (s) => (options.sizeBytes = s.bytes() ?? 0),
          mode: (m) => (options.mode = m.integer() ?? 0),
        });
        mount.tmpfsOptions = options;
      },
    },
    ['consistency'],
  );
  if (type === undefined) return value.problem('needs "type": bind, volume or tmpfs');
  if (!mount.target.startsWith('/')) return value.problem('needs "target", an absolute path');
  if (type === 'bind' && mount.source === '')
    return value.problem('needs "source", a path on the host');
  return { ...mount, ...placeOf(type, mount.source, value, scope) };
}

function placeOf(
  type: 'bind' | 'volume' | 'tmpfs',
  source: string,
  value: Value,
  scope: MountScope,
): Pick<MountConfig, 'type' | 'source'> {
  switch (type) {
    case 'bind':
      return { type: MountType.BIND, source: hostPath(source, scope.baseDir) };
    case 'volume':
      return {
        type: MountType.VOLUME,
        source: source === '' ? '' : scope.volumeName(source, value),
      };
    case 'tmpfs':
      return { type: MountType.TMPFS, source: '' };
  }
}
