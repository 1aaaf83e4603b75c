import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openKernel } from '../../../linux/kernel.js';
import type { Kernel } from '../../../linux/ports.js';

/** A real kernel and a folder of the test's own, in which all that it makes lives. */
export interface KernelRig {
  kernel: Kernel;
  folder: string;
  /** Ends the kernel, takes away what is left under the folder, and the folder. */
  close: () => Promise<void>;
}

export async function openRig(): Promise<KernelRig> {
  const kernel = await openKernel({
    onFailure: (error) => {
      throw error;
    },
  });
  const folder = mkdtempSync('/tmp/ht-linux-');
  const close = async (): Promise<void> => {
    const left = await kernel.mounts.list(folder);
    for (const target of left.reverse()) await kernel.mounts.unmount(target);
    await kernel[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  };
  return { kernel, folder, close };
}

/** Runs a command inside a network namespace and gives what it printed. */
export function runIn(netns: string, ...command: readonly string[]): string {
  return execFileSync('/usr/bin/nsenter', [`--net=${netns}`, ...command], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The JSON that `ip`, `bridge` or `nft` prints inside a network namespace. */
export function jsonIn(netns: string, ...command: readonly string[]): Record<string, unknown>[] {
  return JSON.parse(runIn(netns, ...command)) as Record<string, unknown>[];
}

/** What a leak would show in: mounts under the folder, open descriptors, children, namespaces. */
export function inventory(folder: string): {
  mounts: string[];
  descriptors: number;
  children: string;
} {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(` ${folder}`));
  return {
    mounts,
    descriptors: readdirSync('/proc/self/fd').length,
    children: childrenOf(process.pid),
  };
}

function childrenOf(pid: number): string {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => readFileSync(join('/proc', `${pid}`, 'task', task, 'children'), 'utf8').trim())
    .filter((line) => line !== '')
    .join(' ');
}
