import type { Command } from 'commander';
import type { LogMessage } from '../../proto/gen/hatoba/v1/agent.js';
import { readStream } from '../../proto/wire/client.js';
import { logOptionsOf, writeLogLine, type LogFlags } from '../output/log-line.js';
import { note } from '../output/print.js';
import { withControl } from '../session.js';
import { integerOption, timeOption } from './options.js';

interface ServiceLogFlags extends LogFlags {
  raw: boolean;
}

/** `hatoba service logs`. */
export function registerServiceLogs(service: Command): void {
  service
    .command('logs <service>')
    .description('show what the tasks of a service wrote')
    .option('-f, --follow', 'go on as new lines come', false)
    .option('--since <time>', 'RFC 3339, or a duration before now such as 10m', timeOption)
    .option('--until <time>', 'RFC 3339, or a duration before now such as 10m', timeOption)
    .option('-n, --tail <lines>', 'only the last lines of each task', integerOption)
    .option('-t, --timestamps', 'show when each line was written', false)
    .option('--raw', 'only the lines themselves', false)
    .action((name: string, flags: ServiceLogFlags) =>
      withControl(async ({ control, signal }) => {
        const options = logOptionsOf(flags);
        const call = control.serviceLogs({ service: name, task: '', options });
        for await (const message of readStream(call, signal)) await printLine(message, flags);
      }),
    );
}

async function printLine(message: LogMessage, flags: ServiceLogFlags): Promise<void> {
  const source = `${message.taskName}@${message.nodeHostname}`;
  if (message.err !== '') {
    note(`${source}: ${message.err}`);
    return;
  }
  const prefix = flags.raw ? '' : `${source.padEnd(24)} | `;
  await writeLogLine(message, { timestamps: flags.timestamps, prefix });
}
