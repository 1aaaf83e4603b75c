import { Option, type Command } from 'commander';
import { integerOption, collect } from './options.js';
import type { ListingOptions } from '../output/listing.js';
import { asListing } from './options.js';
import { requireRoot } from './cluster.js';
import { DevControl } from '../dev-control.js';
import { readConfig } from '../config.js';
import { print } from '../output/print.js';
import { withoutDashes } from './task.js';

/** `hatoba dev …`: a cluster of hosts on this machine, to try things and to break them. */
export function registerDev(program: Command): void {
  const dev = program.command('dev').description('a cluster of hosts on this one machine');
  const control = (): DevControl => {
    requireRoot();
    return new DevControl(readConfig());
  };
  dev
    .command('up')
    .description('start the hosts, or repair what is broken')
    .option('--nodes <n>', 'how many hosts', integerOption, 3)
    .addOption(
      new Option('--managers <n>', 'how many of them are managers')
        .argParser(integerOption)
        .default(1),
    )
    .option('--insecure-registry <host:port>', 'registry the hosts pull from by HTTP', collect, [])
    .action((flags: { nodes: number; managers: number; insecureRegistry: string[] }) =>
      control().up(flags),
    );
  asListing(dev.command('ls').description('list hosts')).action((options: ListingOptions) =>
    control().list(options),
  );
  dev
    .command('exec <host> <command...>')
    .description('run a command on a host: hatoba dev exec n2 -- ip addr')
    .passThroughOptions()
    .action((host: string, command: string[]) => control().exec(host, withoutDashes(command)));
  const act = (
    name: string,
    description: string,
    run: (c: DevControl, host: string) => Promise<void>,
  ): void => {
    dev
      .command(`${name} <host>`)
      .description(description)
      .action(async (host: string) => {
        await run(control(), host);
        print(host);
      });
  };
  act('kill', 'cut the power of a host', (c, host) => c.kill(host));
  act('start', 'switch a host on again', (c, host) => c.start(host));
  act('stop-agent', "stop Hatoba's own processes on a host; containers go on", (c, host) =>
    c.stopDaemons(host),
  );
  act('start-agent', "start Hatoba's own processes again", (c, host) => c.startDaemons(host));
  act('partition', 'cut the network of a host', (c, host) => c.partition(host));
  act('heal', 'mend the network of a host', (c, host) => c.heal(host));
  dev
    .command('down')
    .description('remove the hosts and everything they have')
    .action(() => control().down());
}
