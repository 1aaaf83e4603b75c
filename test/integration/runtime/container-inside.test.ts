import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerSpec, DeepPartial } from '../../../proto/gen/hatoba/v1/types.js';
import { aContainer, readOutput, runExec, runToEnd } from '../../support/container-rig.js';
import { useContainerRig } from '../../support/container-suite.js';
import { eventually } from '../../support/eventually.js';

const IDLE = ['sleep', '1000'];

describe('containers on crun: inside', function () {
  const rig = useContainerRig();

  async function start(id: string, spec: DeepPartial<ContainerSpec> = {}): Promise<void> {
    await rig().containers.create(aContainer(id, IDLE, spec));
    await rig().containers.start(id);
  }

  describe('what a process finds', () => {
    it('is the user, directory and command of the image', async () => {
      const { output } = await runToEnd(
        rig().containers,
        aContainer('web', [], { image: 'box-web' }),
      );
      assert.deepEqual(output, ['stdout: /srv/new', 'stdout: 33']);
    });

    it('is its names, hosts and name servers', async () => {
      const { output } = await runToEnd(
        rig().containers,
        aContainer(
          'files',
          [
            'sh',
            '-c',
            'hostname; cat /etc/hostname /etc/resolv.conf; grep -e other -e mine /etc/hosts; cat /proc/sys/kernel/domainname',
          ],
          { hostname: 'box', domainname: 'example.net', hosts: ['10.0.0.8 mine'] },
        ),
      );
      assert.deepEqual(output, [
        'stdout: box',
        'stdout: box',
        'stdout: nameserver 127.0.0.1',
        'stdout: search example.org',
        'stdout: options ndots:0',
        'stdout: 10.0.0.9\tother',
        'stdout: 10.0.0.8 mine',
        'stdout: example.net',
      ]);
    });

    it('is a seccomp filter, few capabilities and masked paths', async () => {
      const status = [
        'sh',
        '-c',
        'grep -e Seccomp: -e CapEff /proc/self/status; wc -c < /proc/interrupts',
      ];
      const first = await runToEnd(rig().containers, aContainer('sec1', status));
      const second = await runToEnd(rig().containers, aContainer('sec2', status));
      const want = ['stdout: CapEff:\t00000000a80425fb', 'stdout: Seccomp:\t2', 'stdout: 0'];
      assert.deepEqual(first.output, want);
      assert.deepEqual(second.output, want, 'also with the program compiled before');
      const program = readFileSync(join(rig().runDir, 'containers/sec2/config.json'), 'utf8');
      assert.ok(program.includes('run.oci.seccomp_bpf_data'), 'and it was that program');
      const free = await runToEnd(
        rig().containers,
        aContainer('sec3', status, { seccomp: 'unconfined', capabilityDrop: ['ALL'] }),
      );
      assert.deepEqual(free.output.slice(0, 2), [
        'stdout: CapEff:\t0000000000000000',
        'stdout: Seccomp:\t0',
      ]);
    });

    it('is a system call refused by the filter, and allowed without it', async () => {
      const mount = ['sh', '-c', 'mount -t tmpfs none /tmp 2>/dev/null; echo $?'];
      const spec = { capabilityAdd: ['SYS_ADMIN'] };
      const without = await runToEnd(rig().containers, aContainer('mnt1', mount));
      const withIt = await runToEnd(rig().containers, aContainer('mnt2', mount, spec));
      assert.deepEqual([without.output, withIt.output], [['stdout: 1'], ['stdout: 0']]);
    });

    it('is a root it cannot write, when so asked', async () => {
      const { output } = await runToEnd(
        rig().containers,
        aContainer('ro', ['sh', '-c', 'touch /x 2>/dev/null; echo $?; touch /scratch/x; echo $?'], {
          readOnly: true,
          mounts: [
            { type: 'MOUNT_TYPE_TMPFS', target: '/scratch', tmpfsOptions: { sizeBytes: 65536 } },
          ],
        }),
      );
      assert.deepEqual(output, ['stdout: 1', 'stdout: 0']);
    });

    it('is a terminal, when so asked', async () => {
      const { output } = await runToEnd(
        rig().containers,
        aContainer('tty', ['sh', '-c', 'tty; echo $TERM'], { tty: true }),
      );
      assert.deepEqual(output, ['stdout: /dev/pts/0\r', 'stdout: xterm\r']);
    });
  });

  describe('mounts', () => {
    it('binds folders of the host, made only on demand', async () => {
      const source = join(rig().root, 'bound');
      mkdirSync(source);
      writeFileSync(join(source, 'file'), 'from the host');
      const made = join(rig().root, 'made/here');
      const { output } = await runToEnd(
        rig().containers,
        aContainer(
          'bind',
          ['sh', '-c', 'cat /b/file; echo; touch /b/x 2>/dev/null; echo $?; touch /m/y'],
          {
            mounts: [
              { type: 'MOUNT_TYPE_BIND', source, target: '/b', readOnly: true },
              {
                type: 'MOUNT_TYPE_BIND',
                source: made,
                target: '/m',
                bindOptions: { createMountpoint: true },
              },
            ],
          },
        ),
      );
      assert.deepEqual(output, ['stdout: from the host', 'stdout: 1']);
      assert.ok(existsSync(join(made, 'y')));
    });

    it('keeps a named volume, filled from the image on first use', async () => {
      const volume = (id: string, script: string): ReturnType<typeof aContainer> =>
        aContainer(id, ['sh', '-c', script], {
          mounts: [{ type: 'MOUNT_TYPE_VOLUME', source: 'keep-me', target: '/data' }],
        });
      const first = await runToEnd(
        rig().containers,
        volume('vol1', 'cat /data/deep/seed; echo; stat -c %a /data; echo mine > /data/deep/seed'),
      );
      assert.deepEqual(first.output, ['stdout: from the image', 'stdout: 750']);
      await rig().containers.remove('vol1');
      const second = await runToEnd(rig().containers, volume('vol2', 'cat /data/deep/seed'));
      assert.deepEqual(second.output, ['stdout: mine']);
    });

    it('removes an anonymous volume with its container', async () => {
      await start('anon', { image: 'box-volume' });
      const { stdout } = await runExec(rig().containers, 'anon', ['cat', '/data/deep/seed']);
      assert.equal(stdout, 'from the image');
      const volumes = join(rig().stateDir, 'volumes');
      const source = /volumes\/([0-9a-f]{64})/.exec(
        readFileSync(join(rig().runDir, 'containers/anon/config.json'), 'utf8'),
      )?.[1];
      assert.ok(source !== undefined && statSync(join(volumes, source)).isDirectory());
      await rig().containers.remove('anon', { force: true });
      assert.ok(!existsSync(join(volumes, source)));
    });
  });

  describe('exec', () => {
    it('joins the container, with streams and exit code', async () => {
      await start('ex');
      const result = await runExec(
        rig().containers,
        'ex',
        ['sh', '-c', 'cat; echo err >&2; pwd; id -u; echo $EXTRA $FROM $HOME; exit 5'],
        { input: 'in\n', user: 'web', dir: '/tmp', env: ['EXTRA=more'] },
      );
      assert.deepEqual(result, {
        exitCode: 5,
        stdout: 'in\n/tmp\n33\nmore image /home/web\n',
        stderr: 'err\n',
      });
    });

    it('passes much through without losing any', async () => {
      await start('much');
      const { stdout } = await runExec(rig().containers, 'much', ['seq', '200000']);
      assert.equal(stdout, Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join(''));
    });

    it('says 127 for a command that is not there, 137 for one that was killed', async () => {
      await start('codes');
      const missing = await runExec(rig().containers, 'codes', ['no-such-program']);
      assert.equal(missing.exitCode, 127);
      assert.match(missing.stderr, /no-such-program/);
      const killed = await runExec(rig().containers, 'codes', ['sh', '-c', 'kill -9 $$']);
      assert.equal(killed.exitCode, 137);
    });

    it('can be killed', async () => {
      await start('kx');
      const session = await rig().containers.exec('kx', {
        command: ['sh', '-c', 'echo up; exec sleep 1000'],
        env: [],
        user: '',
        dir: '',
        tty: false,
        stdin: false,
      });
      session.stderr.resume();
      await new Promise((resolve) => session.stdout.once('data', resolve));
      await session.kill();
      assert.equal(await session.exitCode, 137);
      const { stdout } = await runExec(rig().containers, 'kx', ['ps']);
      assert.equal(stdout.split('\n').filter((l) => l.includes('sleep 1000')).length, 1);
    });

    it('has a terminal whose size can change', async () => {
      await start('tx');
      const session = await rig().containers.exec('tx', {
        command: ['sh'],
        env: [],
        user: '',
        dir: '',
        tty: true,
        stdin: true,
        size: { rows: 33, columns: 99 },
      });
      let output = '';
      session.stdout.on('data', (part: Buffer) => (output += part.toString()));
      session.stdin.write('stty size\n');
      await eventually(() => assert.match(output, /33 99/));
      await session.resize({ rows: 44, columns: 111 });
      session.stdin.write('stty size\n');
      await eventually(() => assert.match(output, /44 111/));
      session.stdin.write('exit 6\n');
      assert.equal(await session.exitCode, 6);
    });

    it('refuses a container that does not run', async () => {
      await rig().containers.create(aContainer('still', IDLE));
      await assert.rejects(runExec(rig().containers, 'still', ['true']), {
        kind: 'failed-precondition',
      });
    });
  });

  describe('health', () => {
    it('turns healthy and unhealthy by what the probe says', async () => {
      const seen: string[] = [];
      const end = rig().containers.onEvent(({ id, type, state }) => {
        if (id === 'hc' && type === 'health' && state.health !== seen.at(-1)) {
          seen.push(state.health);
        }
      });
      await start('hc', {
        healthcheck: {
          test: ['CMD-SHELL', 'echo checked; test -e /tmp/well'],
          intervalMs: 50,
          timeoutMs: 60_000,
          startPeriodMs: 600_000, // it stays "starting" for as long as this test is at it
          startIntervalMs: 50,
          retries: 2,
        },
      });
      assert.equal(rig().containers.get('hc')?.health, 'starting');
      await runExec(rig().containers, 'hc', ['touch', '/tmp/well']);
      await eventually(() => assert.equal(rig().containers.get('hc')?.health, 'healthy'));
      assert.equal(rig().containers.get('hc')?.healthOutput, 'checked');
      await runExec(rig().containers, 'hc', ['rm', '/tmp/well']);
      await eventually(() => assert.equal(rig().containers.get('hc')?.health, 'unhealthy'));
      end();
      assert.deepEqual(seen.slice(-2), ['healthy', 'unhealthy']);
    });

    it('counts a probe that takes too long as failed, and ends it', async () => {
      await start('slow', {
        healthcheck: { test: ['CMD', 'sleep', '777'], intervalMs: 20, timeoutMs: 200, retries: 1 },
      });
      await eventually(() => assert.equal(rig().containers.get('slow')?.health, 'unhealthy'));
      assert.match(rig().containers.get('slow')?.healthOutput ?? '', /exceeded timeout/);
      await rig().containers.stop('slow', { graceMs: 0 });
    });
  });

  describe('logs', () => {
    it('follows, and survives many rotations without losing or doubling a line', async () => {
      const total = 60_000;
      const script = 'for i in 0 1 2; do seq $((i*20000+1)) $((i*20000+20000)); read x; done';
      const log = { maxSizeBytes: 100_000, maxFiles: 1000 };
      await rig().containers.create(
        aContainer('rot', ['sh', '-c', script], { openStdin: true }, { log }),
      );
      const { stdin, stdout } = await rig().containers.attach('rot', { stdin: true });
      stdout.resume();
      await rig().containers.start('rot');
      const following = readOutput(rig().containers, 'rot', { follow: true });
      const dir = join(rig().stateDir, 'containers/rot/log');
      for (const rotations of [1, 2, 3]) {
        await eventually(() => assert.ok(existsSync(join(dir, `container.log.${rotations}`))));
        stdin.write('go on\n');
      }
      const lines = await following;
      assert.equal(lines.length, total);
      assert.ok(lines.every((line, i) => line === `stdout: ${i + 1}`));
      assert.deepEqual(
        await readOutput(rig().containers, 'rot'),
        lines,
        'all of it is still there',
      );
      assert.deepEqual(await readOutput(rig().containers, 'rot', { tail: 3 }), lines.slice(-3));
    });
  });
});
