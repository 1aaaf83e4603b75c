import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { arch, availableParallelism, totalmem } from 'node:os';
import { HatobaError } from '../../common/errors.js';
import type { NodeDescription } from '../../common/model/objects.js';
import { parseGenericResources } from '../core/generic-resources.js';
import type { Platform } from '../../proto/gen/hatoba/v1/types.js';

export interface DescribeOptions {
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  /** Address at which managers reach this node; empty: the one it has towards the manager. */
  readonly advertiseAddr: string;
  /** Address of the tunnels; empty: the advertised one. */
  readonly dataPathAddr: string;
  readonly agentPort: number;
  /** "ssd=4", "gpu=UUID1" */
  readonly nodeGenericResources: readonly string[];
}

export interface DescribeModules {
  /** MTU of the link that carries an address. */
  readonly mtuOf: (address: string) => Promise<number>;
  readonly hostUse: () => Promise<HostUse>;
  /** What the images of this node are called, those used last first. */
  readonly images: () => Promise<readonly string[]>;
}

/** What this host has already. */
export type HostUse = Pick<NodeDescription, 'hostSubnets' | 'usedPorts'>;

/** What the managers know of this node, as a manager at `managerAddress` would see it. */
export async function describeNode(
  options: DescribeOptions,
  managerAddress: string,
  { mtuOf, hostUse, images }: DescribeModules,
): Promise<NodeDescription> {
  const address =
    options.advertiseAddr !== '' ? options.advertiseAddr : await sourceAddress(managerAddress);
  const dataPathAddress = options.dataPathAddr !== '' ? options.dataPathAddr : address;
  return {
    hostname: options.hostname,
    platform: hostPlatform(),
    resources: {
      nanoCpus: availableParallelism() * 1e9,
      memoryBytes: totalmem(),
      pids: await maxPids(),
      generic: parseGenericResources(options.nodeGenericResources),
    },
    images: [...(await images())],
    engine: { engineVersion: options.version, labels: { ...options.labels } },
    dataPathAddress,
    agentAddress: `${address.includes(':') ? `[${address}]` : address}:${options.agentPort}`,
    underlayMtuBytes: await mtuOf(dataPathAddress),
    ...(await hostUse()),
  };
}

/** Architectures by their OCI names. */
const OCI_ARCHITECTURE: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** Of this host, by its OCI names. */
export function hostPlatform(): Platform {
  const name = arch();
  return {
    architecture: OCI_ARCHITECTURE[name] ?? name,
    os: 'linux',
    variant: name === 'arm64' ? 'v8' : '',
  };
}

async function maxPids(): Promise<number> {
  const text = await readFile('/proc/sys/kernel/pid_max', 'utf8').catch(() => '');
  const pids = Number(text.trim());
  return Number.isInteger(pids) && pids > 0 ? pids : 32_768;
}

/**
 * The address that packets to a manager carry as their source: what the routing table says, no
 * packet is sent.
 */
function sourceAddress(managerAddress: string): Promise<string> {
  const colon = managerAddress.lastIndexOf(':');
  const host = managerAddress.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const port = Number(managerAddress.slice(colon + 1));
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  return new Promise((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      const message = `no route to the manager ${managerAddress}: set advertiseAddr in agent.yaml`;
      reject(new HatobaError('unavailable', message, { cause: error }));
    });
    socket.connect(port, host, () => {
      const { address } = socket.address();
      socket.close();
      resolve(address);
    });
  });
}
