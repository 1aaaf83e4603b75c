/**
 * A machine of the network tests: opens kernel and network driver in the network namespace it was
 * started in, and takes commands as JSON lines on stdin: {id, method, args} → {id, result | error}.
 * Ends with its stdin, leaving the kernel's state as it is (as a killed agent would).
 */
import { createInterface } from 'node:readline';
import { systemClock } from '../../common/adapters/system-clock.js';
import { createWinstonLogger } from '../../common/adapters/winston-logger.js';
import { describeError, kindOf } from '../../common/errors.js';
import { openKernel } from '../../linux/kernel.js';
import type { Logger } from '../../common/logger.js';
import type { NetworkState, SandboxConfig } from '../../overlay-net/driver.js';
import { openNetworkDriver, type NetworkDriverOptions } from '../../overlay-net/linux-driver.js';

export type HostMethod =
  | 'apply'
  | 'attach'
  | 'detach'
  | 'list'
  | 'teardown'
  | 'openConnections'
  | 'endStaleConnections'
  | 'checkDrift';
export interface HostRequest {
  id: number;
  method: HostMethod;
  args: readonly unknown[];
}
export type HostReply =
  { id: number; result: unknown; ms: number } | { id: number; error: string; kind: string };

const options = JSON.parse(process.argv[2] ?? '{}') as NetworkDriverOptions;
const kernel = await openKernel({
  onFailure: (error) => {
    throw error;
  },
});
/** What was repaired, as it was logged: "added neigh hb1001 10.0.1.7". */
const repairs: string[] = [];
const log = createWinstonLogger({ level: 'info', format: 'text' });
const logger: Logger = {
  ...log,
  debug: () => undefined,
  info: (...line) => log.info(...line),
  error: (...line) => log.error(...line),
  warn: (message, fields = {}, error) => {
    const { change, what, count } = fields;
    if (typeof what === 'string') repairs.push(`${String(change)} ${what}`);
    else if (typeof count === 'number') repairs.push(`${count} more`);
    else log.warn(message, fields, error);
  },
};
const driver = await openNetworkDriver(options, { kernel, clock: systemClock, logger });

async function run({ method, args }: HostRequest): Promise<unknown> {
  switch (method) {
    case 'apply':
      return driver.apply(args[0] as NetworkState);
    case 'attach':
      return driver.attach(args[0] as SandboxConfig);
    case 'detach':
      return driver.detach(args[0] as string);
    case 'list':
      return driver.list();
    case 'teardown':
      return driver.teardown();
    case 'openConnections':
      return driver.openConnections(args[0] as readonly string[]);
    case 'endStaleConnections':
      return driver.endStaleConnections();
    case 'checkDrift':
      await driver.checkDrift();
      return repairs.splice(0);
  }
}

function reply(message: HostReply): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

reply({ id: 0, result: 'ready', ms: 0 });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as HostRequest;
  const startedAt = performance.now();
  run(request).then(
    (result) =>
      reply({ id: request.id, result: result ?? null, ms: performance.now() - startedAt }),
    (error: unknown) => reply({ id: request.id, error: describeError(error), kind: kindOf(error) }),
  );
}
await driver[Symbol.asyncDispose]();
await kernel[Symbol.asyncDispose]();
