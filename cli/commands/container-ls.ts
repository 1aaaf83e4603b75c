import type { Command } from 'commander';
import { HatobaError } from '../../common/errors.js';
import { formatBytes } from '../../common/bytes.js';
import { unary } from '../../proto/wire/client.js';
import { withEngine, type EngineSession } from '../engine-session.js';
import { containerRow, type ContainerRow } from '../output/container-rows.js';
import { formatListing, hasLabel, type Listing } from '../output/listing.js';
import { print } from '../output/print.js';
import { agoText } from '../output/rows.js';
import { asListing, integerOption, type ListingOptions } from './options.js';

const SHORT_ID = 12;
const SHORT_COMMAND = 24;

const CONTAINERS: Listing<ContainerRow> = {
  key: (c) => c.id.slice(0, SHORT_ID),
  columns: [
    { title: 'CONTAINER ID', field: 'ID', value: (c) => c.id.slice(0, SHORT_ID) },
    { title: 'IMAGE', field: 'Image', value: (c) => c.image },
    {
      title: 'COMMAND',
      field: 'Command',
      value: (c) => JSON.stringify(shorten(c.command)),
    },
    {
      title: 'CREATED',
      field: 'RunningFor',
      value: (c) => agoText(c.createdAt, Date.now()),
    },
    { title: 'STATUS', field: 'Status', value: (c) => c.status },
    { title: 'PORTS', field: 'Ports', value: (c) => c.ports.join(', ') },
    {
      title: 'NAMES',
      field: 'Names',
      value: (c) => (c.task === '' ? c.name : `${c.name} (task)`),
    },
    { title: 'ADDRESSES', value: (c) => c.networks.map((n) => n.ip).join(' '), wide: true },
    { title: 'PID', value: (c) => (c.pid === 0 ? '' : String(c.pid)), wide: true },
  ],
  fields: {
    State: (c) => c.state,
    CreatedAt: (c) => c.createdAt,
    Labels: (c) => c.labels,
    Mounts: (c) => c.mounts.join(','),
    Networks: (c) => c.networks.map((n) => n.network).join(','),
    Size: (c) => sizeText(c),
  },
  filters: {
    id: (c, value) => c.id.startsWith(value),
    name: (c, value) => isNamed(c.name, value),
    status: (c, value) => c.state === value,
    label: (c, value) => hasLabel(c.labels, value),
    ancestor: (c, value) => isOfImage(c, value),
    exited: (c, value) => c.state === 'exited' && String(c.exitCode) === value,
    health: (c, value) => c.health === value,
    volume: (c, value) => c.mounts.includes(value),
    network: (c, value) => c.networks.some((n) => n.network === value),
    'is-task': (c, value) => String(c.task !== '') === value,
  },
};

const SIZE = { title: 'SIZE', value: sizeText };

function sizeText({ sizeRwBytes }: ContainerRow): string {
  return sizeRwBytes === null ? '' : formatBytes(sizeRwBytes);
}

/** Docker takes a regular expression, and people write parts of names. */
function isNamed(name: string, wanted: string): boolean {
  try {
    return new RegExp(wanted.replace(/^(\^?)\//, '$1')).test(name);
  } catch {
    return name.includes(wanted);
  }
}

/** By its name, also without the tag, or by its id. */
function isOfImage({ image, imageId }: ContainerRow, wanted: string): boolean {
  const names = [image, image.replace(/:[^/:]*$/, ''), image.replace(/:latest$/, '')];
  return names.includes(wanted) || imageId.replace('sha256:', '').startsWith(wanted);
}

interface PsFlags extends ListingOptions {
  all: boolean;
  last?: number;
  latest: boolean;
  size: boolean;
}

/** `hatoba ps|port`. */
export function registerContainerListings(program: Command): void {
  asListing(
    program
      .command('ps')
      .description('list the containers of this node, tasks too')
      .option('-a, --all', 'also those that do not run', false)
      .option('-n, --last <n>', 'only the latest n, running or not', integerOption)
      .option('-l, --latest', 'only the latest one, running or not', false)
      .option('-s, --size', 'show how much each has written', false)
      .option('--no-trunc', 'show whole ids and commands'),
  ).action((flags: PsFlags & { trunc: boolean }) => withEngine((session) => list(session, flags)));

  program
    .command('port <container> [port]')
    .description('show which ports of this node lead to a container')
    .action((name: string, port: string | undefined) =>
      withEngine((session) => printPorts(session, name, port)),
    );
}

async function list(
  { engine, signal }: EngineSession,
  flags: PsFlags & { trunc: boolean },
): Promise<void> {
  const last = flags.latest ? 1 : flags.last;
  const request = { all: flags.all || last !== undefined, size: flags.size };
  const { containers } = await unary(engine.containerList.bind(engine), request, { signal });
  const newest = containers.toSorted((a, b) => b.createdAtMs - a.createdAtMs);
  const now = Date.now();
  const rows = newest.slice(0, last).map((c) => containerRow(c, now));
  print(formatListing(rows, listingFor(flags), flags));
}

function listingFor(flags: { size: boolean; trunc: boolean }): Listing<ContainerRow> {
  const columns = CONTAINERS.columns.map((column) => {
    if (flags.trunc) return column;
    if (column.title === 'CONTAINER ID') return { ...column, value: (c: ContainerRow) => c.id };
    if (column.title !== 'COMMAND') return column;
    return { ...column, value: (c: ContainerRow) => JSON.stringify(c.command) };
  });
  const key = flags.trunc ? CONTAINERS.key : (c: ContainerRow): string => c.id;
  return { key, columns: flags.size ? [...columns, SIZE] : columns };
}

async function printPorts(
  { engine, signal }: EngineSession,
  name: string,
  port: string | undefined,
): Promise<void> {
  const request = { container: name, size: false };
  const container = await unary(engine.containerInspect.bind(engine), request, { signal });
  const lines = container.ports.map((p) => {
    const protocol = p.protocol.replace('PORT_PROTOCOL_', '').toLowerCase();
    const host = p.hostIp === '' ? '0.0.0.0' : p.hostIp;
    return { target: `${p.targetPort}/${protocol}`, host: `${host}:${p.publishedPort}` };
  });
  if (port === undefined) {
    print(lines.map((l) => `${l.target} -> ${l.host}`).join('\n'));
    return;
  }
  const wanted = port.includes('/') ? port : `${port}/tcp`;
  const found = lines.filter((l) => l.target === wanted);
  if (found.length === 0) {
    throw new HatobaError('not-found', `${container.name} does not publish its port ${wanted}`);
  }
  print(found.map((l) => l.host).join('\n'));
}

function shorten(command: string): string {
  return command.length <= SHORT_COMMAND ? command : `${command.slice(0, SHORT_COMMAND - 1)}…`;
}
