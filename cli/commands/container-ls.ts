import type { Command } from 'commander';
import { HatobaError } from '../../common/errors.js';
import { unary } from '../../proto/wire/client.js';
import { withEngine, type EngineSession } from '../engine-session.js';
import { containerListing } from '../output/container-listing.js';
import { containerRow } from '../output/container-rows.js';
import { formatListing } from '../output/listing.js';
import { print } from '../output/print.js';
import { asListing, integerOption, type ListingOptions } from './options.js';

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
  // Who asks for a state means also those that do not run.
  const isByState = flags.filter.some((f) => f.startsWith('status='));
  const request = { all: flags.all || last !== undefined || isByState, size: flags.size };
  const { containers } = await unary(engine.containerList.bind(engine), request, { signal });
  const newest = containers.toSorted((a, b) => b.createdAtMs - a.createdAtMs);
  const now = Date.now();
  const rows = newest.slice(0, last).map((c) => containerRow(c, now));
  print(formatListing(rows, containerListing(flags), flags));
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
