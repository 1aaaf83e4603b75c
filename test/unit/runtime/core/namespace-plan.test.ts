import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ContainerSpec, type DeepPartial } from '../../../../proto/gen/hatoba/v1/types.js';
import {
  joinedContainers,
  parseNamespaceModes,
  planNamespaces,
  type NamespaceModes,
} from '../../../../runtime/core/namespace-plan.js';
import { planSysctls } from '../../../../runtime/core/sysctls.js';

function modesOf(spec: DeepPartial<ContainerSpec>, netns = '/run/netns/a'): NamespaceModes {
  return parseNamespaceModes(ContainerSpec.fromPartial(spec), netns);
}

describe('parseNamespaceModes', () => {
  it('gives a container all of its own', () => {
    const own = { pid: 'own', ipc: 'own', uts: 'own', cgroup: 'own', network: 'own' };
    assert.deepEqual(modesOf({}), own);
    assert.deepEqual(modesOf({ pidMode: 'private', ipcMode: 'private', utsMode: 'private' }), own);
  });

  it("reads the machine's and those of others", () => {
    const modes = modesOf(
      { pidMode: 'container:a', ipcMode: 'shareable', utsMode: 'host', cgroupnsMode: 'host' },
      'container:b',
    );
    assert.deepEqual(modes, {
      pid: { container: 'a' },
      ipc: 'shareable',
      uts: 'host',
      cgroup: 'host',
      network: { container: 'b' },
    });
    assert.deepEqual(joinedContainers(modes), [
      { kind: 'pid', container: 'a' },
      { kind: 'network', container: 'b' },
    ]);
  });

  it('shows a privileged container the cgroups of the machine, unless it says otherwise', () => {
    assert.equal(modesOf({ privileged: true }).cgroup, 'host');
    assert.equal(modesOf({ privileged: true, cgroupnsMode: 'private' }).cgroup, 'own');
  });

  for (const wrong of [
    { pidMode: 'none' },
    { pidMode: 'container:' },
    { ipcMode: 'shared' },
    { utsMode: 'container:x' },
    { cgroupnsMode: 'x' },
    { utsMode: 'host', hostname: 'x' },
    { utsMode: 'host', domainname: 'x' },
  ]) {
    it(`refuses ${JSON.stringify(wrong)}`, () => {
      assert.throws(() => modesOf(wrong), { kind: 'invalid-argument' });
    });
  }

  it('refuses a network that is neither a file nor a mode', () => {
    assert.throws(() => modesOf({}, 'run/netns/a'), { kind: 'invalid-argument' });
  });
});

describe('planNamespaces', () => {
  const mode = fc.constantFrom('', 'host', 'container:x');
  it('always has a mount namespace, each kind at most once, and paths only for what is joined', () => {
    fc.assert(
      fc.property(
        mode,
        mode,
        fc.constantFrom('', 'host'),
        fc.constantFrom('', 'host'),
        fc.constantFrom('host', 'container:x', '/run/n'),
        (pidMode, ipcMode, utsMode, cgroupnsMode, netns) => {
          const modes = modesOf({ pidMode, ipcMode, utsMode, cgroupnsMode }, netns);
          const paths = Object.fromEntries(
            joinedContainers(modes).map(({ kind }) => [kind, `/proc/1/ns/${kind}`]),
          );
          const list = planNamespaces(modes, paths);
          const types = list.map((n) => n.type);
          assert.equal(new Set(types).size, types.length);
          assert.ok(types.includes('mount'));
          for (const kind of ['pid', 'ipc', 'uts', 'cgroup', 'network'] as const) {
            assert.equal(types.includes(kind), modes[kind] !== 'host', kind);
          }
          for (const { type, path } of list) {
            const joined = joinedContainers(modes).some(({ kind }) => kind === type);
            assert.equal(path !== undefined, joined, type);
          }
        },
      ),
    );
  });
});

describe('planSysctls', () => {
  const own = modesOf({});

  it("takes those of the container's own namespaces", () => {
    const sysctls = {
      'net.ipv4.ip_forward': '1',
      'net/ipv4/conf/eth0.5/rp_filter': '0',
      'kernel.shmmax': '1000',
      'fs.mqueue.msg_max': '20',
      'kernel.domainname': 'example.org',
    };
    const { 'net/ipv4/conf/eth0.5/rp_filter': slashed, ...rest } = sysctls;
    assert.deepEqual(planSysctls(sysctls, own), {
      ...rest,
      'net.ipv4.conf.eth0/5.rp_filter': slashed,
    });
  });

  const refused: [string, NamespaceModes, RegExp][] = [
    ['vm.swappiness', own, /whole machine/],
    ['kernel.panic', own, /whole machine/],
    ['kernel.hostname', own, /hostname of the container/],
    ['kernel/../net.ipv4', own, /no name/],
    ['net', own, /no name/],
    ['net.ipv4.ip_forward', modesOf({}, 'host'), /host's network namespace/],
    ['net.ipv4.ip_forward', modesOf({}, 'container:x'), /network namespace of x; set it there/],
    ['kernel.sem', modesOf({ ipcMode: 'host' }), /host's ipc namespace/],
    ['kernel.domainname', modesOf({ utsMode: 'host' }), /host's uts namespace/],
  ];
  for (const [name, modes, message] of refused) {
    it(`refuses ${name} (${String(message)})`, () => {
      assert.throws(() => planSysctls({ [name]: '1' }, modes), {
        kind: 'invalid-argument',
        message,
      });
    });
  }

  it('never lets a name out of its folder', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^(net|kernel)[./][a-z./]{0,12}$/), (name) => {
        try {
          for (const key of Object.keys(planSysctls({ [name]: '1' }, own))) {
            assert.doesNotMatch(`/${key.replaceAll('.', '\0').replaceAll('\0', '/')}/`, /\/\//);
          }
        } catch (error) {
          assert.equal((error as { kind: string }).kind, 'invalid-argument');
        }
      }),
    );
  });
});
