import { Option, type Command } from 'commander';
import { formatBytes } from '../../common/bytes.js';
import type { DiskUsage } from '../../proto/gen/hatoba/v1/engine.js';
import { unary } from '../../proto/wire/client.js';
import { withEngine } from '../engine-session.js';
import { confirm } from '../output/confirm.js';
import { formatObject, formatTable, type OutputFormat } from '../output/listing.js';
import { print } from '../output/print.js';
import { durationOption } from './options.js';

/** `hatoba system df|prune`: what the engine of this node holds. */
export function registerNodeSystem(system: Command): void {
  system
    .command('df')
    .description('show how much disk this node uses, and for what')
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['table', 'json', 'yaml'])
        .default('table'),
    )
    .action(({ output }: { output: OutputFormat }) => printDiskUsage(output));
  system
    .command('prune')
    .description('remove what nothing on this node uses')
    .option('-a, --all', 'also images with a name that no container uses', false)
    .option('--volumes', 'also anonymous volumes', false)
    .option('-f, --force', 'do not ask', false)
    .option('--older-than <duration>', 'only what is older', durationOption, 0)
    .action((flags: PruneFlags) => prune(flags));
}

const ROWS = [
  ['images', 'Images'],
  ['blobs', 'Compressed layers'],
  ['containers', 'Containers'],
  ['volumes', 'Local volumes'],
  ['partial', 'Interrupted pulls'],
  ['other', 'Other files'],
] as const;

async function printDiskUsage(output: OutputFormat): Promise<void> {
  await withEngine(async ({ engine, signal }) => {
    const usage = await unary(engine.diskUsage.bind(engine), {}, { signal });
    if (output !== 'table') {
      print(formatObject(usage, { output }));
      return;
    }
    const head = ['TYPE', 'TOTAL', 'ACTIVE', 'SIZE', 'RECLAIMABLE'];
    print(
      formatTable(
        head,
        ROWS.map(([key, title]) => [title, ...usageCells(usage[key])]),
      ),
    );
    const free = `${formatBytes(usage.diskFreeBytes)} of ${formatBytes(usage.diskTotalBytes)}`;
    print(`\nIn all ${formatBytes(usage.totalBytes)}; free on this disk ${free}`);
  });
}

function usageCells(usage: DiskUsage | undefined): string[] {
  const { count = 0, active = 0, sizeBytes = 0, reclaimableBytes = 0 } = usage ?? {};
  const percent = sizeBytes === 0 ? 0 : Math.round((100 * reclaimableBytes) / sizeBytes);
  const reclaimable = `${formatBytes(reclaimableBytes)} (${percent}%)`;
  return [String(count), String(active), formatBytes(sizeBytes), reclaimable];
}

interface PruneFlags {
  all: boolean;
  volumes: boolean;
  force: boolean;
  olderThan: number;
}

async function prune(flags: PruneFlags): Promise<void> {
  await withEngine(async ({ engine, signal }) => {
    const what = [
      'all containers that do not run',
      flags.all
        ? 'all images that no container uses, and what interrupted pulls left'
        : 'all images without a name',
      ...(flags.volumes ? ['all anonymous volumes that no container has'] : []),
    ];
    await confirm(`This will remove:\n${what.map((w) => `  - ${w}`).join('\n')}`, flags.force);
    const olderThanMs = flags.olderThan;
    const steps = [
      await unary(engine.containerPrune.bind(engine), { olderThanMs }, { signal }),
      ...(flags.volumes
        ? [await unary(engine.volumePrune.bind(engine), { all: false }, { signal })]
        : []),
      await unary(engine.imagePrune.bind(engine), { all: flags.all, olderThanMs }, { signal }),
    ];
    print(steps.flatMap((s) => s.removed).join('\n'));
    const bytes = steps.reduce((sum, s) => sum + s.reclaimedBytes, 0);
    print(`Total reclaimed space: ${formatBytes(bytes)}`);
  });
}
