import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TASK_ID_LABEL } from '../../../../node-agent/executor/container-config.js';
import { hostSubnetsOf } from '../../../../node-agent/local/host-network.js';
import type { HostListener } from '../../../../node-agent/local/host-listeners.js';
import type { PortUse } from '../../../../node-agent/local/port-use.js';
import { SocketOwners, type SocketOwner } from '../../../../node-agent/local/socket-owners.js';
import { usedPorts } from '../../../../node-agent/local/used-ports.js';
import { parseCidr } from '../../../../overlay-net/core/ipam.js';
import { NetworkConfig, NetworkService } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import type { ContainerState } from '../../../../runtime/engine.js';

function listener(port: number, inode: number, some: Partial<HostListener> = {}): HostListener {
  return { protocol: 'tcp', hostIp: '', port, inode, holder: 'a program', ...some };
}

function container(id: string, labels: Record<string, string> = {}): ContainerState {
  const config = { id, name: `name-${id}`, labels };
  return { config, cgroupPath: `/hatoba/x/${id}` } as unknown as ContainerState;
}

const OWNERS: Record<number, SocketOwner> = {
  1: { pid: 812, program: 'sshd', cgroup: '0::/system.slice/ssh.service\n' },
  2: { pid: 900, program: 'nginx', cgroup: '12:pids:/hatoba/x/task\n0::/\n' },
  3: { pid: 901, program: 'redis', cgroup: '0::/hatoba/x/own/sub\n' },
  4: { pid: 902, program: 'other', cgroup: '0::/hatoba/x/owner\n' },
};

async function list(listeners: HostListener[], published: PortUse[] = []): Promise<string[]> {
  const ports = await usedPorts({
    containers: { list: () => [container('task', { [TASK_ID_LABEL]: 'task' }), container('own')] },
    ports: {
      ofContainers: () => Promise.resolve(published),
      ofTasks: () =>
        Promise.resolve([{ protocol: 'tcp', hostIp: '', port: 8081, holder: 'a task' }]),
    },
    owners: { of: () => Promise.resolve(new Map(Object.entries(OWNERS).map(([i, o]) => [+i, o]))) },
    networks: () => ({
      networks: [
        NetworkConfig.fromPartial({ networkId: 'ingress', ingress: true }),
        NetworkConfig.fromPartial({ subnets: [{ subnet: '10.0.1.0/24', gateway: '10.0.1.1' }] }),
      ],
      services: [
        NetworkService.fromPartial({
          networkId: 'ingress',
          ports: [{ targetPort: 80, publishedPort: 8080 }],
        }),
      ],
    }),
    ephemeralPorts: { first: 32_768, last: 60_999 },
    listeners: () => Promise.resolve(listeners),
  });
  return ports.map((p) => `${p.hostIp}:${p.port}/${p.protocol.slice(14)} ${p.holder}`);
}

describe('the ports of a host that are used', () => {
  it('are told with who has them, sorted, each once', async () => {
    const ports = [listener(22, 1), listener(6379, 3), listener(9, 4), listener(22, 1)];
    const published: PortUse[] = [
      { protocol: 'udp', hostIp: '0.0.0.0', port: 53, holder: 'container "dns"' },
    ];
    assert.deepEqual(await list(ports, published), [
      ':9/TCP other (pid 902)',
      ':22/TCP sshd (pid 812)',
      ':53/UDP container "dns"',
      ':6379/TCP container "name-own"',
    ]);
  });

  it('are not those of tasks, of published ports, or of names on gateways', async () => {
    const ports = [
      listener(80, 2),
      listener(8080, 1),
      listener(8081, 1),
      listener(53, 1, { hostIp: '10.0.1.1', protocol: 'udp' }),
    ];
    assert.deepEqual(await list(ports), []);
  });

  it('are not those of clients that wait for an answer', async () => {
    const udp = { protocol: 'udp' } as const;
    const ports = [listener(40_000, 1, udp), listener(4789, 77, udp), listener(40_000, 1)];
    assert.deepEqual(await list(ports), [
      ':4789/UDP the kernel, or a process that is hidden from the agent',
      ':40000/TCP sshd (pid 812)',
    ]);
  });
});

describe('owners of sockets', () => {
  let proc: string;
  beforeEach(async () => {
    proc = await mkdtemp(join(tmpdir(), 'ht-proc-'));
  });
  afterEach(() => rm(proc, { recursive: true, force: true }));

  async function process(
    pid: number,
    program: string,
    inodes: number[],
    cmdline = [program],
  ): Promise<void> {
    await mkdir(join(proc, String(pid), 'fd'), { recursive: true });
    await writeFile(join(proc, String(pid), 'comm'), `${program}\n`);
    await writeFile(join(proc, String(pid), 'cgroup'), '0::/\n');
    await writeFile(join(proc, String(pid), 'cmdline'), cmdline.join('\0'));
    await symlink('/dev/null', join(proc, String(pid), 'fd', '0'));
    for (const inode of inodes) {
      await symlink(`socket:[${inode}]`, join(proc, String(pid), 'fd', String(inode)));
    }
  }

  it('are looked for when a socket is new, and forgotten with it', async () => {
    const owners = new SocketOwners(proc);
    await process(7, 'sshd', [70, 71]);
    const first = await owners.of([70, 0, 99]);
    assert.equal(first.get(70)?.program, 'sshd');
    assert.equal(first.get(70)?.pid, 7);
    assert.equal(first.get(99), undefined);
    await process(
      8,
      'MainThread',
      [80],
      ['/usr/bin/node', '--enable-source-maps', '/x/manager/main.js'],
    );
    assert.equal((await owners.of([70, 80])).get(80)?.program, 'node manager/main.js');
    await rm(join(proc, '7'), { recursive: true });
    assert.equal((await owners.of([70])).get(70)?.pid, 7, 'known');
    await owners.of([]);
    assert.equal((await owners.of([70])).get(70), undefined, 'looked for again');
  });
});

describe('the subnets of a host', () => {
  it('are where its routes lead, but for what every host has and what leads anywhere', () => {
    const subnets = [
      ...['192.168.4.0/22', '192.168.5.0/24', '192.168.5.7/32', '192.168.4.0/22', '172.17.0.0/16'],
      ...['127.0.0.0/8', '169.254.0.0/16', '128.0.0.0/1', '224.0.0.0/4'],
    ].map(parseCidr);
    assert.deepEqual(hostSubnetsOf({ subnets }), ['172.17.0.0/16', '192.168.4.0/22']);
  });
});
