import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseBytes } from '../common/bytes.js';
import { describeError } from '../common/errors.js';
import { UsageError } from './failure.js';
import { Limit, type ThrottleDevice } from '../proto/gen/hatoba/v1/types.js';

/** The flags that bound what a container may use, as Docker names them; absent = not said. */
export interface LimitFlags {
  cpus?: number;
  /** Microseconds of a period; the two are another way to say `cpus`. */
  cpuQuota?: number;
  cpuPeriod?: number;
  cpuShares?: number;
  cpusetCpus?: string;
  cpusetMems?: string;
  memory?: number;
  memorySwap?: number;
  memoryReservation?: number;
  pidsLimit?: number;
  blkioWeight?: number;
  deviceReadBps?: ThrottleDevice[];
  deviceWriteBps?: ThrottleDevice[];
  deviceReadIops?: ThrottleDevice[];
  deviceWriteIops?: ThrottleDevice[];
}

const NANOS = 1e9;
/** Microseconds. */
const USUAL_PERIOD = 100_000;

/** Adds the flags of `toLimit` to `run`, `create` and `update`. */
export function addLimitOptions(command: Command): Command {
  return command
    .option('--cpus <number>', 'cores it may use, for example 1.5', parsing(parseCpus))
    .option('--cpu-quota <µs>', 'the same as time in each --cpu-period', integerParser)
    .option('--cpu-period <µs>', 'see --cpu-quota; 100000 is usual', integerParser)
    .option('-c, --cpu-shares <weight>', 'its part of busy cores; 1024 is usual', integerParser)
    .option('--cpuset-cpus <list>', 'the cores it runs on, for example 0-2,4')
    .option('--cpuset-mems <list>', 'the memory nodes it uses, for example 0,1')
    .option('-m, --memory <size>', 'memory it may use, for example 512m', parsing(parseBytes))
    .option(
      '--memory-swap <size>',
      'memory and swap together; -1 = any amount of swap, 0 = no swap',
      parsing((text) => (text === '-1' ? -1 : parseBytes(text))),
    )
    .option(
      '--memory-reservation <size>',
      'memory it falls back to when the machine runs short',
      parsing(parseBytes),
    )
    .option('--pids-limit <number>', 'processes it may have; -1 = no limit', parsing(parsePids))
    .option('--blkio-weight <weight>', 'its part of a busy disk, 10 to 1000', integerParser)
    .addOption(throttle('--device-read-bps <device:rate>', 'bytes per second read', parseBytes))
    .addOption(throttle('--device-write-bps <device:rate>', 'bytes per second written', parseBytes))
    .addOption(throttle('--device-read-iops <device:rate>', 'reads per second', parseInteger))
    .addOption(throttle('--device-write-iops <device:rate>', 'writes per second', parseInteger));
}

/**
 * @param before what stays where no flag says otherwise
 * @returns limits as they were asked for; the engine checks whether they can be
 */
export function toLimit(flags: LimitFlags, before: Limit = Limit.fromPartial({})): Limit {
  return {
    nanoCpus: nanoCpusOf(flags) ?? before.nanoCpus,
    memoryBytes: flags.memory ?? before.memoryBytes,
    pids: flags.pidsLimit ?? before.pids,
    cpuShares: flags.cpuShares ?? before.cpuShares,
    cpusetCpus: flags.cpusetCpus ?? before.cpusetCpus,
    cpusetMems: flags.cpusetMems ?? before.cpusetMems,
    memorySwapBytes: flags.memorySwap ?? before.memorySwapBytes,
    memoryReservationBytes: flags.memoryReservation ?? before.memoryReservationBytes,
    blkioWeight: flags.blkioWeight ?? before.blkioWeight,
    blkioDeviceReadBps: flags.deviceReadBps ?? before.blkioDeviceReadBps,
    blkioDeviceWriteBps: flags.deviceWriteBps ?? before.blkioDeviceWriteBps,
    blkioDeviceReadIops: flags.deviceReadIops ?? before.blkioDeviceReadIops,
    blkioDeviceWriteIops: flags.deviceWriteIops ?? before.blkioDeviceWriteIops,
  };
}

function nanoCpusOf({ cpus, cpuQuota, cpuPeriod }: LimitFlags): number | undefined {
  const isByPeriod = cpuQuota !== undefined || cpuPeriod !== undefined;
  if (cpus !== undefined) {
    if (isByPeriod) throw new UsageError('--cpus and --cpu-quota, --cpu-period exclude each other');
    return Math.round(cpus * NANOS);
  }
  if (!isByPeriod) return undefined;
  if (cpuQuota === undefined || cpuPeriod === 0) {
    throw new UsageError('--cpu-period needs --cpu-quota, and must not be 0');
  }
  return Math.round((cpuQuota / (cpuPeriod ?? USUAL_PERIOD)) * NANOS);
}

function parseCpus(text: string): number {
  if (!/^(\d+(\.\d*)?|\.\d+)$/.test(text))
    throw new InvalidArgumentError('must be a number like 1.5.');
  return Number(text);
}

/** -1 and 0 are both "no limit", as Docker has it. */
function parsePids(text: string): number {
  return text === '-1' ? 0 : parseInteger(text);
}

function parseInteger(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('must be a whole number.');
  return Number(text);
}

const integerParser = parsing(parseInteger);

/** commander hands the former value to a parser too, and shows only its own kind of error. */
function parsing<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(
        error instanceof InvalidArgumentError ? error.message : `${describeError(error)}.`,
      );
    }
  };
}

/** "/dev/sda:1mb"; repeatable. */
function throttle(flags: string, what: string, parseRate: (text: string) => number): Option {
  const parse = (text: string): ThrottleDevice => {
    const colon = text.lastIndexOf(':');
    if (!text.startsWith('/') || colon < 0) {
      throw new InvalidArgumentError('must be DEVICE:RATE like /dev/sda:10.');
    }
    return { path: text.slice(0, colon), rate: parseRate(text.slice(colon + 1)) };
  };
  return new Option(flags, `${what} by a device; repeatable`).argParser(
    (text: string, former: ThrottleDevice[] | undefined) => [
      ...(former ?? []),
      parsing(parse)(text),
    ],
  );
}
