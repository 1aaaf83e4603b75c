import type { Command } from 'commander';
import { unary } from '../../proto/wire/client.js';
import { formatObject, type OutputFormat } from '../output/listing.js';
import { print } from '../output/print.js';
import { timeText } from '../output/rows.js';
import { withControl } from '../session.js';
import { registerEvents } from './events.js';
import { registerNodeSystem } from './system-node.js';
import { HATOBA_VERSION } from '../../common/version.js';
import { Option } from 'commander';

/** `hatoba system info|version` of the cluster; df and prune of this node; events of both. */
export function registerSystem(program: Command): void {
  const system = program
    .command('system')
    .description('the cluster as a whole, and the disk of this node');
  registerNodeSystem(system);
  registerEvents(system);
  const format = (): Option =>
    new Option('-o, --output <format>', 'how to print')
      .choices(['table', 'json', 'yaml'])
      .default('table');
  system
    .command('info')
    .description('show the state of the cluster')
    .addOption(format())
    .action((options: { output: OutputFormat }) =>
      withControl(async ({ control, signal }) => {
        const info = await unary(control.getSystemInfo.bind(control), {}, { signal });
        const { createdAtMs, clusterSpec, ...rest } = info;
        const shown = { ...rest, createdAt: timeText(createdAtMs), spec: clusterSpec ?? {} };
        if (options.output !== 'table') print(formatObject(shown, options));
        else {
          print(
            [
              `Version:    ${info.version}`,
              `Cluster:    ${info.clusterId}, created ${timeText(createdAtMs) ?? ''}`,
              `Leader:     ${info.leaderNodeId === '' ? 'none' : info.leaderNodeId}`,
              `Managers:   ${info.managers}`,
              `Nodes:      ${info.readyNodes} ready of ${info.nodes}`,
              `Services:   ${info.services}`,
              `Tasks:      ${info.runningTasks} running of ${info.tasks}`,
              `Revision:   ${info.storeRevision}`,
              `Pools:      ${clusterSpec?.defaultAddressPools.join(', ') ?? ''}`,
            ].join('\n'),
          );
        }
      }),
    );
  system
    .command('version')
    .description('show the versions of this command and of the manager')
    .addOption(format())
    .action((options: { output: OutputFormat }) =>
      withControl(async ({ control, signal }) => {
        const { version } = await unary(control.getSystemInfo.bind(control), {}, { signal });
        const shown = { client: HATOBA_VERSION, manager: version };
        if (options.output !== 'table') print(formatObject(shown, options));
        else print(`Client:  ${shown.client}\nManager: ${shown.manager}`);
      }),
    );
}
