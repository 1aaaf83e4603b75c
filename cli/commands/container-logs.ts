import type { Command } from 'commander';
import { readStream } from '../../proto/wire/client.js';
import { withEngine } from '../engine-session.js';
import { integerOption, timeOption } from './options.js';

interface LogFlags {
  follow: boolean;
  since?: number;
  until?: number;
  tail?: number;
  timestamps: boolean;
}

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
        const { follow, since = 0, until = 0, tail } = flags;
        const options = { follow, sinceMs: since, untilMs: until, tail };
        const call = engine.containerLogs({ container, options });
        for await (const message of readStream(call, signal)) {
          const time = flags.timestamps ? `${new Date(message.timestampMs).toISOString()} ` : '';
          const out = message.stream === 'LOG_STREAM_STDERR' ? process.stderr : process.stdout;
          const line = Buffer.concat([Buffer.from(time), message.line, Buffer.from('\n')]);
          if (!out.write(line)) await new Promise((resolve) => out.once('drain', resolve));
        }
      }),
    );
}

function tailOption(text: string): number | undefined {
  return text === 'all' ? undefined : integerOption(text);
}
