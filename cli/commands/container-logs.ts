import type { Command } from 'commander';
import { readStream } from '../../proto/wire/client.js';
import { withEngine } from '../engine-session.js';
import { logOptionsOf, writeLogLine, type LogFlags } from '../output/log-line.js';
import { integerOption, timeOption } from './options.js';

/** `hatoba logs`: of a container of this node. */
export function registerContainerLogs(program: Command): void {
  program
    .command('logs <container>')
    .description('show what a container of this node wrote')
    .option('-f, --follow', 'go on as new lines come', false)
    .option('--since <time>', 'RFC 3339, or a duration before now such as 10m', timeOption)
    .option('--until <time>', 'RFC 3339, or a duration before now such as 10m', timeOption)
    .option('-n, --tail <lines>', 'only the last lines', tailOption)
    .option('-t, --timestamps', 'show when each line was written', false)
    .action((container: string, flags: LogFlags) =>
      withEngine(async ({ engine, signal }) => {
        const call = engine.containerLogs({ container, options: logOptionsOf(flags) });
        for await (const message of readStream(call, signal)) await writeLogLine(message, flags);
      }),
    );
}

function tailOption(text: string): number | undefined {
  return text === 'all' ? undefined : integerOption(text);
}
