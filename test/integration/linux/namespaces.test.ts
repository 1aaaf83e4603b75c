import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { eventually } from '../../support/eventually.js';
import { requiresRoot } from '../../support/requires.js';
import { type KernelRig, jsonIn, openRig, runIn } from './rig.js';

/** Runs a command in a mount namespace and gives what it printed. */
function runMounted(mountNamespace: string, ...command: readonly string[]): string {
  const args = [`--mount=${mountNamespace}`, ...command];
  return execFileSync('/usr/bin/nsenter', args, { encoding: 'utf8' });
}

describe('Namespaces port', () => {
  let rig: KernelRig;
  before(async function () {
    requiresRoot(this);
    rig = await openRig();
  });
  after(() => rig.close());

  describe('network', () => {
    it('makes one with lo up, keeps it, and stays out of it', async () => {
      const path = `${rig.folder}/deep/ht-linux-a`;
      const own = readlinkSync('/proc/self/ns/net');
      for (let i = 0; i < 2; i++) {
        await rig.kernel.namespaces.createNetns(path);
        assert.equal(await rig.kernel.namespaces.hasNetns(path), true);
      }
      assert.notEqual(runIn(path, 'readlink', '/proc/self/ns/net').trim(), own);
      const [lo] = jsonIn(path, 'ip', '-j', 'link', 'show', 'lo');
      assert.ok((lo?.['flags'] as string[]).includes('UP'));
      const child = await rig.kernel.spawner.spawn({
        file: '/bin/sh',
        args: ['-c', `[ "$(readlink /proc/self/ns/net)" = "${own}" ]`],
        env: { PATH: '/usr/bin:/bin' },
      });
      assert.equal(await child.exited, 0);
      for (let i = 0; i < 2; i++) await rig.kernel.namespaces.dropNetns(path);
      assert.equal(existsSync(path), false);
      assert.equal(await rig.kernel.namespaces.hasNetns(path), false);
    });

    it('takes over the file of one that is gone', async () => {
      const path = `${rig.folder}/ht-linux-b`;
      await rig.kernel.namespaces.createNetns(path);
      await rig.kernel.mounts.unmount(path);
      assert.equal(await rig.kernel.namespaces.hasNetns(path), false);
      await rig.kernel.namespaces.createNetns(path);
      assert.equal(await rig.kernel.namespaces.hasNetns(path), true);
      await rig.kernel.namespaces.dropNetns(path);
    });

    it('says no to what is no namespace', async () => {
      for (const path of [rig.folder, '/etc/passwd', '/ht-none', '/etc/passwd/x']) {
        assert.equal(await rig.kernel.namespaces.hasNetns(path), false, path);
      }
    });

    it('ends links elsewhere with the namespace of their peer', async () => {
      const [a, b] = [`${rig.folder}/ht-linux-c`, `${rig.folder}/ht-linux-d`];
      await rig.kernel.namespaces.createNetns(a);
      await rig.kernel.namespaces.createNetns(b);
      const peer = { name: 'eth0', netns: b };
      await rig.kernel.netlink.apply([{ op: 'link-add', kind: 'veth', name: 'v0', peer }], a);
      await rig.kernel.namespaces.dropNetns(b);
      await eventually(async () => {
        assert.equal((await rig.kernel.netlink.links(a)).length, 1);
      });
      await rig.kernel.namespaces.dropNetns(a);
    });

    it('sets kernel parameters in one namespace and no other', async () => {
      const path = `${rig.folder}/ht-linux-e`;
      const file = '/proc/sys/net/ipv4/ip_unprivileged_port_start';
      const own = readFileSync(file, 'utf8');
      await rig.kernel.namespaces.createNetns(path);
      await rig.kernel.netlink.apply([{ op: 'link-add', kind: 'bridge', name: 'br.5' }], path);
      await rig.kernel.namespaces.setSysctls(
        { 'net.ipv4.ip_unprivileged_port_start': '7', 'net/ipv4/conf/br.5/rp_filter': '0' },
        path,
      );
      assert.equal(runIn(path, 'cat', file), '7\n');
      assert.equal(runIn(path, 'cat', '/proc/sys/net/ipv4/conf/br.5/rp_filter'), '0\n');
      assert.equal(readFileSync(file, 'utf8'), own);
      await assert.rejects(rig.kernel.namespaces.setSysctls({ 'net.ipv4.none': '1' }, path), {
        kind: 'not-found',
        message: /net\.ipv4\.none.*ENOENT/,
      });
      await assert.rejects(rig.kernel.namespaces.setSysctls({ '../../etc/passwd': '1' }), {
        kind: 'invalid-argument',
      });
      await rig.kernel.namespaces.dropNetns(path);
    });
  });

  describe('mount', () => {
    it('pins one that hides cgroup2 of a hybrid host and sees later shared mounts', async () => {
      const [pin, shared] = [`${rig.folder}/pin/mnt`, `${rig.folder}/shared`];
      const { namespaces, mounts } = rig.kernel;
      const own = readlinkSync('/proc/self/ns/mnt');
      await namespaces.pinCrunMountNamespace(pin, [shared]);
      const inode = statSync(pin).ino;
      await namespaces.pinCrunMountNamespace(pin, [shared]);
      assert.equal(statSync(pin).ino, inode, 'kept');
      assert.notEqual(runMounted(pin, 'readlink', '/proc/self/ns/mnt').trim(), own);
      assert.equal(readlinkSync('/proc/self/ns/mnt'), own);

      mkdirSync(`${shared}/late`);
      await mounts.tmpfs(`${shared}/late`, { sizeBytes: 4096 });
      const netns = `${shared}/ht-linux-f`;
      await namespaces.createNetns(netns);
      assert.equal(runMounted(pin, 'stat', '-fc', '%T', `${shared}/late`).trim(), 'tmpfs');
      assert.equal(runMounted(pin, 'stat', '-fc', '%T', netns).trim(), 'nsfs');
      assert.match(runMounted(pin, '/usr/bin/nsenter', `--net=${netns}`, 'ip', 'link'), /lo/);
      if (existsSync('/sys/fs/cgroup/unified')) {
        const type = runMounted(pin, 'stat', '-fc', '%T', '/sys/fs/cgroup/unified').trim();
        assert.notEqual(type, 'cgroup2fs');
        runMounted(pin, 'mkdir', '-p', '/sys/fs/cgroup/unified/what/crun/leaves');
        assert.ok(existsSync('/sys/fs/cgroup/unified/cgroup.controllers'), 'still there outside');
      }

      runMounted(pin, 'mount', '-t', 'tmpfs', 'inside', `${shared}/late`);
      assert.equal((await mounts.list(`${shared}/late`)).length, 1, 'inside stays inside');
      assert.doesNotMatch(readFileSync('/proc/self/mountinfo', 'utf8'), / inside /);

      await namespaces.dropNetns(netns);
      for (let i = 0; i < 2; i++) await namespaces.unpinMountNamespace(pin);
      assert.deepEqual(await mounts.list(`${rig.folder}/pin`), []);
      assert.deepEqual(readdirSync(`${rig.folder}/pin`), []);
    });

    it('replaces one that cannot see a folder shared since', async () => {
      const [pin, late] = [`${rig.folder}/pin2/mnt`, `${rig.folder}/shared-late`];
      await rig.kernel.namespaces.pinCrunMountNamespace(pin);
      await rig.kernel.namespaces.pinCrunMountNamespace(pin, [late]);
      mkdirSync(`${late}/x`);
      await rig.kernel.mounts.tmpfs(`${late}/x`);
      assert.equal(runMounted(pin, 'stat', '-fc', '%T', `${late}/x`).trim(), 'tmpfs');
      await rig.kernel.namespaces.unpinMountNamespace(pin);
    });

    it('refuses a folder with mounts in it, which it would hide', async () => {
      mkdirSync(`${rig.folder}/full/inner`, { recursive: true });
      await rig.kernel.mounts.tmpfs(`${rig.folder}/full/inner`);
      await assert.rejects(rig.kernel.namespaces.pinCrunMountNamespace(`${rig.folder}/full/mnt`), {
        kind: 'failed-precondition',
        message: /folder of its own/,
      });
    });
  });
});
