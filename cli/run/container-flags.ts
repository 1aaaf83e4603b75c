import { InvalidArgumentError, Option, type Command } from 'commander';
import { addLimitOptions, type LimitFlags } from '../limits.js';
import { asSafe, collect, durationOption, integerOption } from '../commands/options.js';
import { parseBytes } from '../../common/bytes.js';

/** The flags of `run` and `create` as commander gives them; docker's names. */
export interface ContainerFlags extends LimitFlags {
  addHost: string[];
  capAdd: string[];
  capDrop: string[];
  cgroupParent?: string;
  cgroupns?: string;
  device: string[];
  deviceCgroupRule: string[];
  dns: string[];
  dnsOption: string[];
  dnsSearch: string[];
  domainname?: string;
  entrypoint?: string;
  env: string[];
  envFile: string[];
  expose: string[];
  groupAdd: string[];
  healthCmd?: string;
  healthInterval?: number;
  healthTimeout?: number;
  healthStartPeriod?: number;
  healthStartInterval?: number;
  healthRetries?: number;
  /** False for --no-healthcheck. */
  healthcheck: boolean;
  hostname?: string;
  init: boolean;
  interactive: boolean;
  ipc?: string;
  label: string[];
  labelFile: string[];
  logDriver?: string;
  logOpt: string[];
  mount: string[];
  name?: string;
  network: string[];
  networkAlias: string[];
  /** Docker's old words for the two. */
  net: string[];
  netAlias: string[];
  ip?: string;
  oomScoreAdj?: number;
  pid?: string;
  platform?: string;
  privileged: boolean;
  publish: string[];
  publishAll: boolean;
  pull: 'always' | 'missing' | 'never';
  readOnly: boolean;
  restart?: string;
  rm: boolean;
  securityOpt: string[];
  shmSize?: number;
  stopSignal?: string;
  stopTimeout?: number;
  sysctl: string[];
  tmpfs: string[];
  tty: boolean;
  ulimit: string[];
  user?: string;
  userns?: string;
  uts?: string;
  volume: string[];
  volumesFrom: string[];
  workdir?: string;
}

/** Adds the flags of what a container is made from; -h is its host name, as in docker. */
export function addContainerOptions(command: Command): Command {
  command
    .helpOption('--help', 'display help for command')
    .option('--name <name>', 'a name; one is made up if none is given')
    .option('-e, --env <NAME=value>', 'set a variable; NAME alone takes it from here', collect, [])
    .option('--env-file <file>', 'read variables from a file', collect, [])
    .option('--entrypoint <command>', "instead of the image's entrypoint")
    .option('-w, --workdir <dir>', 'working directory')
    .option('-u, --user <user>', 'user[:group], names or numbers')
    .option('--group-add <group>', 'a further group', collect, [])
    .option('-i, --interactive', 'keep stdin open', false)
    .option('-t, --tty', 'give it a terminal', false)
    .option('--init', 'run a small init as PID 1 that reaps zombies', false)
    .option('--rm', 'remove it when it has ended', false)
    .option('--restart <rule>', 'no, on-failure[:times], unless-stopped or always')
    .option('--stop-signal <signal>', "instead of the image's")
    .option('--stop-timeout <seconds>', 'grace before it is killed', integerOption)
    .option('-l, --label <NAME=value>', 'a label', collect, [])
    .option('--label-file <file>', 'read labels from a file', collect, [])
    .addOption(
      new Option('--pull <when>', 'when the image is pulled')
        .choices(['always', 'missing', 'never'])
        .default('missing'),
    )
    .option('--platform <os/arch>', 'of an image for several platforms');
  addNetworkOptions(command);
  addMountOptions(command);
  addIsolationOptions(command);
  addHealthOptions(command);
  return addLimitOptions(command);
}

function addNetworkOptions(command: Command): void {
  command
    .option(
      '--network <network>',
      'bridge (default), host, none, container:NAME, or attachable networks of the cluster: NAME or name=NAME,alias=A,ip=ADDRESS; repeatable',
      collect,
      [],
    )
    .addOption(new Option('--net <network>').argParser(collect).default([]).hideHelp())
    .option('--network-alias <name>', 'a further name on its network', collect, [])
    .addOption(new Option('--net-alias <name>').argParser(collect).default([]).hideHelp())
    .option('--ip <address>', 'its address on its network; any by default')
    .option('-p, --publish <ports>', '[IP:][HOST:]CONTAINER[/tcp|udp|sctp]', collect, [])
    .option('-P, --publish-all', 'publish all ports the image exposes', false)
    .addOption(new Option('--expose <port>').argParser(collect).default([]).hideHelp())
    .option('-h, --hostname <name>', 'host name')
    .option('--domainname <name>', 'NIS domain name')
    .option('--add-host <name:address>', 'a line of /etc/hosts', collect, [])
    .option('--dns <address>', 'a name server', collect, [])
    .option('--dns-search <domain>', 'a search domain', collect, [])
    .option('--dns-option <option>', 'an option of resolv.conf', collect, []);
}

function addMountOptions(command: Command): void {
  command
    .option('-v, --volume <mount>', '[SOURCE:]TARGET[:ro]; a path or a volume', collect, [])
    .option('--mount <words>', 'type=bind,source=/srv,target=/data,readonly', collect, [])
    .option('--tmpfs <target>', 'TARGET[:size=64m,mode=1777]', collect, [])
    .option('--volumes-from <container>', "another container's mounts, [:ro]", collect, [])
    .option('--read-only', 'make its root file system read-only', false)
    .option('--shm-size <size>', 'of /dev/shm', sizeOption);
}

function addIsolationOptions(command: Command): void {
  command
    .option('--privileged', 'give it all the rights of root', false)
    .option('--cap-add <capability>', 'add a capability', collect, [])
    .option('--cap-drop <capability>', 'drop a capability', collect, [])
    .option('--security-opt <option>', 'no-new-privileges, seccomp=FILE|unconfined', collect, [])
    .option('--device <path>', 'HOST[:CONTAINER[:rwm]]', collect, [])
    .option('--device-cgroup-rule <rule>', 'for example "c 1:3 rwm"', collect, [])
    .option('--ulimit <name=soft[:hard]>', 'a resource limit', collect, [])
    .option('--sysctl <NAME=value>', 'a kernel parameter of its namespaces', collect, [])
    .option('--pid <mode>', 'host or container:NAME')
    .option('--ipc <mode>', 'private, host, none or container:NAME')
    .option('--uts <mode>', 'host')
    .option('--userns <mode>', 'host or remap')
    .option('--cgroupns <mode>', 'private or host')
    .option('--cgroup-parent <group>', 'a group whose containers share limits')
    .option('--oom-score-adj <number>', '-1000 to 1000', signedOption)
    .option('--log-driver <driver>', 'local, json-file or none')
    .option('--log-opt <NAME=value>', 'max-size=10m, max-file=3', collect, []);
}

function addHealthOptions(command: Command): void {
  command
    .option('--health-cmd <command>', 'how to see whether it is healthy')
    .option('--health-interval <duration>', 'between two looks', durationOption)
    .option('--health-timeout <duration>', 'longest time of one look', durationOption)
    .option(
      '--health-start-period <duration>',
      'time in which failures do not count',
      durationOption,
    )
    .option('--health-start-interval <duration>', 'between looks in that time', durationOption)
    .option('--health-retries <n>', 'failures in a row that make it unhealthy', integerOption)
    .option('--no-healthcheck', "do not use the image's health check");
}

const sizeOption = asSafe(parseBytes);

function signedOption(text: string): number {
  if (!/^-?\d+$/.test(text)) throw new InvalidArgumentError('must be a whole number.');
  return Number(text);
}
