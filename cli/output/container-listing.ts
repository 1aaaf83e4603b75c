import { formatBytes } from '../../common/bytes.js';
import type { ContainerRow } from './container-rows.js';
import { hasLabel, type Listing } from './listing.js';
import { agoText } from './rows.js';

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
    {
      title: 'ADDRESSES',
      value: (c) =>
        c.networks
          .filter((n) => n.ip !== '')
          .map((n) => `${n.network}=${n.ip}`)
          .join(' '),
      wide: true,
    },
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

/** Of `hatoba ps`. @param trunc whether ids and commands are cut short */
export function containerListing(flags: { size: boolean; trunc: boolean }): Listing<ContainerRow> {
  const columns = CONTAINERS.columns.map((column) => {
    if (flags.trunc) return column;
    if (column.title === 'CONTAINER ID') return { ...column, value: (c: ContainerRow) => c.id };
    if (column.title !== 'COMMAND') return column;
    return { ...column, value: (c: ContainerRow) => JSON.stringify(c.command) };
  });
  const key = flags.trunc ? CONTAINERS.key : (c: ContainerRow): string => c.id;
  return { ...CONTAINERS, key, columns: flags.size ? [...columns, SIZE] : columns };
}

function shorten(command: string): string {
  return command.length <= SHORT_COMMAND ? command : `${command.slice(0, SHORT_COMMAND - 1)}…`;
}
