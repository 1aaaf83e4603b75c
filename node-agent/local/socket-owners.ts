import { readdir, readFile, readlink } from 'node:fs/promises';

/** Whose a socket is. */
export interface SocketOwner {
  readonly pid: number;
  /** Name of the program: "sshd", "node manager/main.js". */
  readonly program: string;
  /** What /proc/<pid>/cgroup says. */
  readonly cgroup: string;
}

/**
 * Finds the processes that hold sockets. To look through the open files of all processes takes
 * time, so it is done only for sockets that were not there the last time.
 */
export class SocketOwners {
  #known = new Map<number, SocketOwner | undefined>();
  readonly #proc: string;

  constructor(proc = '/proc') {
    this.#proc = proc;
  }

  /** @returns by inode; a socket of the kernel, or of a process that has just ended, has none */
  async of(inodes: Iterable<number>): Promise<ReadonlyMap<number, SocketOwner | undefined>> {
    const wanted = new Set(inodes);
    const unknown = new Set([...wanted].filter((inode) => inode > 0 && !this.#known.has(inode)));
    const known = new Map([...this.#known].filter(([inode]) => wanted.has(inode)));
    for (const inode of unknown) known.set(inode, undefined);
    if (unknown.size > 0) await this.#search(unknown, known);
    this.#known = known;
    return known;
  }

  async #search(unknown: Set<number>, found: Map<number, SocketOwner | undefined>): Promise<void> {
    const names = await readdir(this.#proc);
    const pids = names.filter((name) => /^\d+$/.test(name));
    pids.sort((a, b) => Number(b) - Number(a)); // what is new is mostly of who is new
    for (const pid of pids) {
      if (unknown.size === 0) return;
      const sockets = (await this.#socketsOf(pid)).filter((inode) => unknown.has(inode));
      if (sockets.length === 0) continue;
      const owner = await this.#owner(pid);
      for (const inode of sockets) {
        found.set(inode, owner);
        unknown.delete(inode);
      }
    }
  }

  async #socketsOf(pid: string): Promise<number[]> {
    const folder = `${this.#proc}/${pid}/fd`;
    const names = await readdir(folder).catch(() => []); // it has ended
    const links = await Promise.all(
      names.map((name) => readlink(`${folder}/${name}`).catch(() => '')),
    );
    return links.flatMap((link) => {
      const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
      return inode === undefined ? [] : [Number(inode)];
    });
  }

  async #owner(pid: string): Promise<SocketOwner> {
    const read = (file: string): Promise<string> =>
      readFile(`${this.#proc}/${pid}/${file}`, 'utf8').catch(() => '');
    const files = [read('comm'), read('cmdline'), read('cgroup')] as const;
    const [comm, cmdline, cgroup] = await Promise.all(files);
    return { pid: Number(pid), program: programOf(comm.trim(), cmdline), cgroup };
  }
}

/** Node.js names all its programs alike, so those go by what it runs: "node manager/main.js". */
function programOf(comm: string, cmdline: string): string {
  const [command = '', script = ''] = cmdline.split('\0').filter((arg) => !arg.startsWith('-'));
  if (!command.endsWith('node') || script === '') return comm;
  return `node ${script.split('/').slice(-2).join('/')}`;
}
