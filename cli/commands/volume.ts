import type { Command } from 'commander';
import { formatBytes } from '../../common/bytes.js';
import type { Volume } from '../../proto/gen/hatoba/v1/engine.js';
import { unary } from '../../proto/wire/client.js';
import { withEngine } from '../engine-session.js';
import { forEach } from '../for-each.js';
import { confirm } from '../output/confirm.js';
import { dockerVolume } from '../output/docker-inspect.js';
import { formatListing, formatObject, hasLabel, type Listing } from '../output/listing.js';
import { print } from '../output/print.js';
import { timeText } from '../output/rows.js';
import {
  asInspect,
  asListing,
  collect,
  toMap,
  type InspectOptions,
  type ListingOptions,
} from './options.js';

interface VolumeRow {
  name: string;
  driver: string;
  mountpoint: string;
  anonymous: boolean;
  labels: Record<string, string>;
  usedBy: string[];
  dangling: boolean;
  createdAt: string | null;
}

const VOLUMES: Listing<VolumeRow> = {
  key: (v) => v.name,
  columns: [
    { title: 'DRIVER', field: 'Driver', value: (v) => v.driver },
    { title: 'VOLUME NAME', field: 'Name', value: (v) => v.name },
    { title: 'USED BY', value: (v) => v.usedBy.join(' '), wide: true },
    { title: 'MOUNTPOINT', field: 'Mountpoint', value: (v) => v.mountpoint, wide: true },
  ],
  filters: {
    name: (v, value) => v.name.includes(value),
    label: (v, value) => hasLabel(v.labels, value),
  },
};

/** `hatoba volume create|ls|inspect|rm|prune`: the volumes of this node. */
export function registerVolume(program: Command): void {
  const volume = program.command('volume').description('volumes of this node');
  volume
    .command('create [name]')
    .description('make a volume; without a name it gets a random one')
    .option('-d, --driver <driver>', 'only "local" is known', 'local')
    .option('-o, --opt <key=value>', 'type, device or o, as of Docker; repeatable', collect, [])
    .option('--label <key=value>', 'repeatable', collect, [])
    .action((name: string | undefined, flags: CreateFlags) => create(name ?? '', flags));
  asListing(volume.command('ls').description('list volumes')).action((options: ListingOptions) =>
    withEngine(async ({ engine, signal }) => {
      const { volumes } = await unary(engine.volumeList.bind(engine), {}, { signal });
      print(formatListing(volumes.map(volumeRow), VOLUMES, options));
    }),
  );
  asInspect(volume.command('inspect <volume...>').description('show all of volumes'))
    .option('-s, --size', 'count how much disk they take', false)
    .action((names: string[], flags: InspectOptions & { size: boolean }) => inspect(names, flags));
  volume
    .command('rm <volume...>')
    .description('remove volumes that no container has')
    .option('-f, --force', 'one that is not there is no error', false)
    .action((names: string[], { force }: { force: boolean }) => remove(names, force));
  volume
    .command('prune')
    .description('remove anonymous volumes that no container has')
    .option('-a, --all', 'named ones too', false)
    .option('-f, --force', 'do not ask', false)
    .action((flags: { all: boolean; force: boolean }) => prune(flags));
}

interface CreateFlags {
  driver: string;
  opt: string[];
  label: string[];
}

async function create(name: string, flags: CreateFlags): Promise<void> {
  const request = {
    name,
    driver: flags.driver,
    labels: toMap(flags.label, '--label', true),
    driverOpts: toMap(flags.opt, '--opt', false),
  };
  await withEngine(async ({ engine, signal }) => {
    print((await unary(engine.volumeCreate.bind(engine), request, { signal })).name);
  });
}

async function inspect(
  names: readonly string[],
  { size, ...options }: InspectOptions & { size: boolean },
): Promise<void> {
  await withEngine(async ({ engine, signal }) => {
    const found = [];
    for (const volume of names) {
      const request = { volume, size };
      found.push(dockerVolume(await unary(engine.volumeInspect.bind(engine), request, { signal })));
    }
    print(formatObject(found, options));
  });
}

async function remove(names: readonly string[], force: boolean): Promise<void> {
  await forEach(names, async ({ engine, signal }, name) => {
    await unary(engine.volumeRemove.bind(engine), { volumes: [name], force }, { signal });
    print(name);
  });
}

async function prune({ all, force }: { all: boolean; force: boolean }): Promise<void> {
  const which = all ? 'all volumes' : 'anonymous volumes';
  await confirm(`This will remove ${which} that no container has.`, force);
  await withEngine(async ({ engine, signal }) => {
    const pruned = await unary(engine.volumePrune.bind(engine), { all }, { signal });
    if (pruned.removed.length > 0) print(`Deleted volumes:\n${pruned.removed.join('\n')}\n`);
    print(`Total reclaimed space: ${formatBytes(pruned.reclaimedBytes)}`);
  });
}

function volumeRow(volume: Volume): VolumeRow {
  const { name, driver, mountpoint, anonymous, labels, usedBy, createdAtMs } = volume;
  return {
    name,
    driver,
    mountpoint,
    anonymous,
    labels,
    usedBy,
    dangling: usedBy.length === 0,
    createdAt: timeText(createdAtMs),
  };
}
