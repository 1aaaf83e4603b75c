import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { ContainerSpec, DeepPartial } from '../../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig } from '../../../runtime/engine.js';
import { aContainer, runExec, runToEnd } from '../../support/container-rig.js';
import { useContainerRig } from '../../support/container-suite.js';
import { eventually } from '../../support/eventually.js';

const IDLE = ['sleep', '1000'];

describe('containers on crun: namespaces shared', function () {
  const rig = useContainerRig();

  async function start(
    id: string,
    spec: DeepPartial<ContainerSpec> = {},
    other: Partial<Omit<ContainerConfig, 'limits'>> = {},
    args: readonly string[] = IDLE,
  ): Promise<void> {
    await rig().containers.create(aContainer(id, args, spec, other));
    await rig().containers.start(id);
  }

  async function inside(id: string, script: string): Promise<string> {
    return (await runExec(rig().containers, id, ['sh', '-c', script])).stdout.trim();
  }

  function namespaceOf(id: string, kind: string): string {
    return readlinkSync(`/proc/${rig().containers.get(id)?.pid ?? 0}/ns/${kind}`);
  }

  describe('with the machine', () => {
    it('sees its processes', async () => {
      await start('pid', { pidMode: 'host' });
      assert.equal(namespaceOf('pid', 'pid'), readlinkSync('/proc/self/ns/pid'));
      assert.equal(await inside('pid', `test -d /proc/${process.pid}; echo $?`), '0');
    });

    it('has its name, and no other', async () => {
      await start('uts', { utsMode: 'host' });
      const script = 'hostname; cat /etc/hostname; echo $HOSTNAME';
      assert.equal(await inside('uts', script), `${hostname()}\n${hostname()}\n${hostname()}`);
      await assert.rejects(start('uts2', { utsMode: 'host', hostname: 'mine' }), {
        kind: 'invalid-argument',
      });
    });

    it('has its shared memory', async () => {
      await start('ipc', { ipcMode: 'host' });
      assert.equal(namespaceOf('ipc', 'ipc'), readlinkSync('/proc/self/ns/ipc'));
      const name = `/dev/shm/ht-ipc-${process.pid}`;
      assert.equal(await inside('ipc', `touch ${name}; test -e ${name}; echo $?; rm ${name}`), '0');
    });

    it('sees its cgroups', async () => {
      await start('cgroupns', { cgroupnsMode: 'host' });
      assert.equal(namespaceOf('cgroupns', 'cgroup'), readlinkSync('/proc/self/ns/cgroup'));
      assert.match(await inside('cgroupns', 'cat /proc/self/cgroup'), /\/group\/cgroupns/);
    });
  });

  describe('with another container', () => {
    it('is seen by it, and ends when that does', async () => {
      await start('first');
      await start('second', { pidMode: 'container:first' }, {}, [
        'sh',
        '-c',
        'sleep 1234 & sleep 1235',
      ]);
      assert.equal(namespaceOf('second', 'pid'), namespaceOf('first', 'pid'));
      await eventually(async () => assert.match(await inside('first', 'ps'), /sleep 1234/));
      await rig().containers.stop('first', { graceMs: 0 });
      const { exitCode } = await rig().containers.wait('second');
      assert.equal(exitCode, 137);
    });

    it('leaves nothing running in it when it ends itself', async () => {
      await start('host-of-it');
      await start('guest', { pidMode: 'container:host-of-it' }, {}, [
        'sh',
        '-c',
        'sleep 1236 & sleep 0.1',
      ]);
      await rig().containers.wait('guest');
      await eventually(async () =>
        assert.doesNotMatch(await inside('host-of-it', 'ps'), /sleep 1236/),
      );
      assert.equal(rig().containers.get('host-of-it')?.status, 'running');
    });

    it('has its network, also after it has ended', async () => {
      const netns = await rig().netns();
      await start('server', {}, { netns });
      await start('side', {}, { netns: 'container:server' });
      assert.equal(namespaceOf('side', 'net'), namespaceOf('server', 'net'));
      await rig().containers.stop('server', { graceMs: 0 });
      assert.match(await inside('side', 'ip link'), /lo:/);
      await rig().containers.stop('side', { graceMs: 0 });
      await assert.rejects(rig().containers.start('side'), {
        kind: 'failed-precondition',
        message: /server cannot be joined: it is not running \(exited\)/,
      });
      await rig().containers.start('server');
      await rig().containers.start('side');
      assert.equal(namespaceOf('side', 'net'), namespaceOf('server', 'net'));
    });

    it('shares memory with one that is shareable, and with no other', async () => {
      await start('owner', { ipcMode: 'shareable', shmSizeBytes: 1 << 20 });
      await start('user', { ipcMode: 'container:owner' });
      assert.equal(namespaceOf('user', 'ipc'), namespaceOf('owner', 'ipc'));
      await inside('owner', 'echo hello > /dev/shm/x');
      assert.equal(await inside('user', 'cat /dev/shm/x'), 'hello');
      assert.match(await inside('user', 'grep /dev/shm /proc/mounts'), /size=1024k/);
      await start('private');
      await assert.rejects(start('third', { ipcMode: 'container:private' }), {
        kind: 'failed-precondition',
        message: /create it with ipc mode "shareable"/,
      });
      await rig().containers.stop('owner', { graceMs: 0 });
      await rig().containers.start('owner');
      assert.equal(await inside('owner', 'cat /dev/shm/x'), 'hello', 'kept over its own restart');
    });

    it('needs one that is there, and not itself', async () => {
      await assert.rejects(start('alone', { pidMode: 'container:nobody' }), { kind: 'not-found' });
      assert.equal(rig().containers.get('alone'), undefined);
      await rig().containers.create(aContainer('waiting', IDLE));
      await assert.rejects(start('early', { pidMode: 'container:waiting' }), {
        kind: 'failed-precondition',
        message: /not running \(created\)/,
      });
    });
  });

  it('has no shared memory when so asked', async () => {
    const { output } = await runToEnd(
      rig().containers,
      aContainer('none', ['sh', '-c', 'test -e /dev/shm; echo $?'], { ipcMode: 'none' }),
    );
    assert.deepEqual(output, ['stdout: 1']);
  });
});
