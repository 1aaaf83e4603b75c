import { Mount, MountType, type Mount as MountConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { Value } from './reader.js';

/** What a service's mounts are resolved against. */
export interface MountScope {
  /** Absolute folder of the compose file, for "./data". */
  baseDir: string;
  /** Full name of a volume declared at the top of the file ("data" → "STACK_data"). */
  volumeName: (name: string, at: Value) => string;
}

const PROPAGATIONS = ['rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'] as const;

/** One item of `volumes:` in short or long form. */
export function readMount(value: Value, scope: MountScope): MountConfig | undefined {
  return value.isMap ? readLong(value, scope) : readShort(value, scope);
}

/** "data:/var/lib/x:ro", "./conf:/etc/x", "/anonymous". */
function readShort(value: Value, scope: MountScope): MountConfig | undefined {
  const text = value.string();
  if (text === undefined) return undefined;
  const parts = text.split(':');
  const [source = '', target = '', options = ''] = parts.length === 1 ? ['', text] : parts;
  if (parts.length > 3 || !target.startsWith('/')) {
    return value.problem(
      `"${text}" is not a mount like "data:/var/lib/data" or "./conf:/etc/conf:ro"`,
    );
  }
  const flags = options.split(',').filter((o) => o !== '');
  const propagation = PROPAGATIONS.find((p) => flags.includes(p)) ?? '';
  const unknown = flags.find((f) => !['ro', 'rw', 'nocopy', propagation].includes(f));
  if (unknown !== undefined) value.problem(`unknown mount option "${unknown}"`);
  const readOnly = flags.includes('ro');
  if (/^[./~]/.test(source)) {
    return Mount.fromPartial({
      type: MountType.BIND,
      source: hostPath(source, scope),
      target,
      readOnly,
      // the short form makes a missing folder, as docker does
      bindOptions: { propagation, createMountpoint: true },
    });
  }
  return Mount.fromPartial({
    type: MountType.VOLUME,
    source: source === '' ? '' : scope.volumeName(source, value),
    target,
    readOnly,
    volumeOptions: { noCopy: flags.includes('nocopy') },
  });
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
          propagation: (p) => (options.propagation = p.oneOf(PROPAGATIONS) ?? ''),
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
      return { type: MountType.BIND, source: hostPath(source, scope) };
    case 'volume':
      return {
        type: MountType.VOLUME,
        source: source === '' ? '' : scope.volumeName(source, value),
      };
    case 'tmpfs':
      return { type: MountType.TMPFS, source: '' };
  }
}

function hostPath(path: string, scope: MountScope): string {
  if (path.startsWith('/')) return path;
  const parts = [...scope.baseDir.split('/'), ...path.split('/')];
  const result: string[] = [];
  for (const part of parts) {
    if (part === '..') result.pop();
    else if (part !== '.' && part !== '') result.push(part);
  }
  return `/${result.join('/')}`;
}
