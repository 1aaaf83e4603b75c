import { HatobaError } from '../../common/errors.js';
import type { HostPort } from '../executor/host-ports.js';

/** A port of this host that somebody has. */
export interface PortUse {
  readonly protocol: HostPort['protocol'];
  /** Empty: on every address. */
  readonly hostIp: string;
  readonly port: number;
  /** For people: 'container "web"', 'service "shop_web"', "a program of this host". */
  readonly holder: string;
}

const EPHEMERAL = { first: 32768, last: 60999 } as const;

/** Ports as asked for, with those that are left open chosen among the free ones. */
export function choosePorts(
  wanted: readonly HostPort[],
  used: readonly PortUse[],
  startAt: number,
): HostPort[] {
  const taken = [...used];
  const take = (port: HostPort): HostPort => {
    checkFree(port, taken);
    const { protocol, hostIp, publishedPort } = port;
    taken.push({ protocol, hostIp, port: publishedPort, holder: 'this container itself' });
    return port;
  };
  for (const port of wanted) if (port.publishedPort !== 0) take(port);
  return wanted.map((port) =>
    port.publishedPort === 0
      ? take({ ...port, publishedPort: freePort(port, taken, startAt) })
      : port,
  );
}

/** @throws {HatobaError} failed-precondition, naming who has the port */
export function checkFree(port: HostPort, used: readonly PortUse[]): void {
  const other = used.find((use) => isSamePlace(port, use) && use.port === port.publishedPort);
  if (other === undefined) return;
  const where = isEvery(port.hostIp) ? '' : `${port.hostIp}:`;
  throw new HatobaError(
    'failed-precondition',
    `port ${where}${port.publishedPort}/${port.protocol} is taken by ${other.holder}: publish another one`,
  );
}

function freePort(port: HostPort, used: readonly PortUse[], startAt: number): number {
  const taken = new Set(used.filter((use) => isSamePlace(port, use)).map((use) => use.port));
  const count = EPHEMERAL.last - EPHEMERAL.first + 1;
  for (let i = 0; i < count; i++) {
    const candidate = EPHEMERAL.first + ((startAt + i) % count);
    if (!taken.has(candidate)) return candidate;
  }
  throw new HatobaError(
    'resource-exhausted',
    `no ${port.protocol} port from ${EPHEMERAL.first} to ${EPHEMERAL.last} is free on this host`,
  );
}

function isSamePlace(port: HostPort, use: PortUse): boolean {
  if (port.protocol !== use.protocol) return false;
  return isEvery(port.hostIp) || isEvery(use.hostIp) || port.hostIp === use.hostIp;
}

function isEvery(address: string): boolean {
  return address === '' || address === '0.0.0.0';
}
