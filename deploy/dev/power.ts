import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, HatobaError } from '../../common/errors.js';
import { command } from './command.js';
import { CGROUP, placesOf, type Host } from './layout.js';

const CGROUP_ROOT = '/sys/fs/cgroup';
/** How often a cgroup that still has processes is killed again: each round catches new forks. */
const KILL_ROUNDS = 500;

/**
 * argv that starts a program as a process of the host: in its cgroup (so that a power loss finds
 * it) and its network namespace.
 */
export async function hostLauncher(host: Pick<Host, 'name'>): Promise<string[]> {
  const { cgroup, netnsPath } = placesOf(host);
  const daemons = join(CGROUP_ROOT, processHierarchy(), cgroup, 'daemons');
  await mkdir(daemons, { recursive: true });
  const enter = `echo $$ > ${daemons}/cgroup.procs && exec "$@"`;
  return ['/bin/sh', '-c', enter, 'sh', '/usr/bin/nsenter', `--net=${netnsPath}`, '--'];
}

/** Ends every process of the host at once, as a loss of power does. */
export async function killProcesses(host: Pick<Host, 'name'>): Promise<void> {
  const top = join(CGROUP_ROOT, processHierarchy(), placesOf(host).cgroup);
  for (let round = 0; round < KILL_ROUNDS; round++) {
    const pids = processesUnder(top);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (errnoOf(error) !== 'ESRCH') throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new HatobaError('internal', `processes of ${host.name} cannot be ended: see ${top}`);
}

/** Unmounts everything below a folder, deepest first; mounts in use go when their users do. */
export async function unmountUnder(folder: string): Promise<void> {
  const targets = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, fromOctal))
    .filter((target) => target === folder || target.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length);
  for (let i = 0; i < targets.length; i += 50) {
    await command('umount', ['--lazy', ...targets.slice(i, i + 50)]);
  }
}

/** Empties what does not survive a reboot. */
export async function forgetRunDir(host: Pick<Host, 'name'>): Promise<void> {
  const { runDir, root } = placesOf(host);
  await unmountUnder(runDir);
  await unmountUnder(root);
  rmSync(runDir, { recursive: true, force: true });
}

/** Removes the cgroups of a host, or of all hosts, in every hierarchy. They must be empty. */
export function removeCgroups(host?: Pick<Host, 'name'>): void {
  const path = host === undefined ? CGROUP : placesOf(host).cgroup;
  for (const hierarchy of ['.', ...readdirSync(CGROUP_ROOT)]) {
    const top = join(CGROUP_ROOT, hierarchy, path);
    if (existsSync(top)) removeTree(top);
  }
}

/** Files of a cgroup cannot be removed, only folders: so not by rm. */
function removeTree(folder: string): void {
  for (const entry of readdirSync(folder)) {
    const path = join(folder, entry);
    if (statSync(path).isDirectory()) removeTree(path);
  }
  rmdirSync(folder);
}

/** cgroup v2 has one hierarchy; of v1 the pids hierarchy holds every process. */
function processHierarchy(): string {
  return existsSync(join(CGROUP_ROOT, 'cgroup.controllers')) ? '.' : 'pids';
}

function processesUnder(folder: string): number[] {
  if (!existsSync(folder)) return [];
  const own = readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n');
  const below = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => processesUnder(join(folder, entry.name)));
  return [...own.filter((pid) => pid !== '').map(Number), ...below];
}

function fromOctal(_match: string, digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 8));
}
