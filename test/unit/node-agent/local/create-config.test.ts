import assert from 'node:assert/strict';
import type { Attachment } from '../../../../node-agent/local/attachment.js';
import {
  restartRule,
  toLocalConfig,
  type CreateContext,
} from '../../../../node-agent/local/create-config.js';
import { toContainer } from '../../../../node-agent/local/to-container.js';
import { NetworkAttachment, PortConfig } from '../../../../proto/gen/hatoba/v1/types.js';
import { createdContainer } from '../../../support/container-state.js';
import { assignedTask } from '../tasks.js';
import { aConfig, aRequest } from './fakes.js';

const id = '0123456789abcdef'.repeat(4);
const ports = [PortConfig.fromPartial({ targetPort: 80, publishedPort: 8080 })];
const onBridge: Attachment = {
  mode: 'bridge',
  address: '172.30.0.2/16',
  gateway: '172.30.0.1',
  ports,
};
const context = (change: Partial<CreateContext> = {}): CreateContext => ({
  id,
  name: 'web',
  attachment: onBridge,
  wiring: { netns: '/run/netns/local-1', nameservers: ['172.30.0.1'] },
  hostname: 'box',
  ...change,
});

describe('the container that a local user asks for', () => {
  it('is named by its short id, knows itself and asks its network for names', () => {
    const labels = { a: 'b' };
    const config = toLocalConfig(aRequest({ spec: { labels } }), context());
    assert.equal(config.spec.hostname, '0123456789ab');
    assert.deepEqual(config.hosts, [{ address: '172.30.0.2', names: ['0123456789ab'] }]);
    assert.deepEqual(config.dns, {
      nameservers: ['172.30.0.1'],
      search: [],
      options: ['ndots:0'],
    });
    assert.deepEqual(config.labels, labels);
    assert.equal(config.netns, '/run/netns/local-1');
    assert.equal(config.cgroupGroup, 'containers');
    assert.equal(config.log.maxFiles, 3);
    assert.ok(!('restart' in config) && !('autoRemove' in config));
  });

  it('has what it asks for', () => {
    const config = toLocalConfig(
      aRequest({
        spec: {
          hostname: 'shop',
          domainname: 'example.org',
          dnsConfig: { nameservers: ['9.9.9.9'], search: ['example.org'], options: [] },
          hosts: ['host-gateway host.docker.internal', '10.0.0.9 db'],
        },
        limits: { memoryBytes: 5 },
        log: { name: 'local', options: { 'max-file': '7' } },
        restartPolicy: { name: 'on-failure', maximumRetryCount: 3 },
        cgroupGroup: 'tools',
      }),
      context(),
    );
    assert.deepEqual(config.hosts[0]?.names, ['shop.example.org', 'shop']);
    assert.deepEqual(
      config.dns.nameservers,
      ['9.9.9.9'],
      'its own resolvers alone, as with Docker',
    );
    assert.deepEqual(config.spec.hosts, ['172.30.0.1 host.docker.internal', '10.0.0.9 db']);
    assert.equal(config.limits.memoryBytes, 5);
    assert.equal(config.log.maxFiles, 7);
    assert.deepEqual(config.restart, { name: 'on-failure', maximumRetryCount: 3 });
    assert.equal(config.cgroupGroup, 'tools');
  });

  it('is called as the host on its network, and as another container on that one', () => {
    const wiring = { netns: 'host', nameservers: [] };
    const onHost = context({ attachment: { mode: 'host' }, wiring });
    assert.equal(toLocalConfig(aRequest(), onHost).spec.hostname, 'box');
    const other = toLocalConfig(aRequest({ spec: { hostname: 'shop' } }), context());
    const shared = toLocalConfig(
      aRequest(),
      context({
        attachment: { mode: 'container', id },
        wiring: { netns: `container:${id}`, nameservers: [] },
        other,
      }),
    );
    assert.equal(shared.spec.hostname, 'shop');
    assert.deepEqual(shared.hosts, other.hosts);
    assert.deepEqual(shared.dns, other.dns);
  });

  const mistakes: [Parameters<typeof aRequest>[0], RegExp][] = [
    [{ spec: { image: '' } }, /needs an image/],
    [{ restartPolicy: { name: 'sometimes' } }, /"sometimes" is not known/],
    [{ restartPolicy: { name: 'always', maximumRetryCount: 2 } }, /no maximum of retries/],
    [{ autoRemove: true, restartPolicy: { name: 'always' } }, /leave out --rm/],
    [{ cgroupGroup: '../up' }, /cannot be a group/],
    [{ log: { name: 'syslog' } }, /log driver "syslog"/],
  ];
  for (const [request, message] of mistakes) {
    it(`is refused: ${String(message)}`, () => {
      assert.throws(() => toLocalConfig(aRequest(request), context()), {
        kind: 'invalid-argument',
        message,
      });
    });
  }

  it('is not restarted by the policy "no", which --rm may have', () => {
    assert.deepEqual(restartRule({ name: '', maximumRetryCount: 0 }), restartRule({ name: 'no', maximumRetryCount: 0 })); // prettier-ignore
    const restartPolicy = { name: 'no' };
    assert.equal(
      toLocalConfig(aRequest({ autoRemove: true, restartPolicy }), context()).autoRemove,
      true,
    );
  });
});

describe('a container as users see it', () => {
  it('has the network it was given', () => {
    const state = createdContainer(toLocalConfig(aRequest(), context()));
    const shown = toContainer({ ...state, exitCode: 3, error: 'no such file' }, undefined, 12);
    assert.deepEqual(shown.networks, [
      {
        name: 'bridge',
        ipAddress: '172.30.0.2',
        gateway: '172.30.0.1',
        macAddress: '02:42:ac:1e:00:02',
        networkId: 'local-bridge',
        aliases: [],
        prefixLength: 16,
      },
    ]);
    assert.deepEqual(shown.ports, ports);
    assert.equal(shown.networkMode, 'bridge');
    assert.equal(shown.sizeRwBytes, 12);
    assert.equal(shown.state?.exitCode, 3);
    assert.equal(shown.state.error, 'no such file');
    assert.deepEqual([shown.taskId, shown.taskName], ['', '']);
  });

  it('has the networks of the cluster that it joined', () => {
    const joined = { networkId: 'id-1', name: 'front', gateway: '10.0.1.1', aliases: ['www'] };
    const attachment: Attachment = {
      mode: 'cluster',
      networks: [
        { ...joined, address: '10.0.1.7/24' },
        { networkId: 'id-2', name: 'back', gateway: '10.0.2.1', aliases: [], address: '10.0.2.9/24' },
      ],
      ports,
    }; // prettier-ignore
    const dnsConfig = { nameservers: ['9.9.9.9'] };
    const config = toLocalConfig(
      aRequest({ spec: { dnsConfig, hosts: ['host-gateway node'] } }),
      context({ attachment, wiring: { netns: '/n', nameservers: ['10.0.1.1'] } }),
    );
    assert.deepEqual(config.dns.nameservers, ['10.0.1.1'], 'which passes on what it does not know');
    assert.deepEqual(
      config.hosts.map(({ address }) => address),
      ['10.0.1.7', '10.0.2.9'],
    );
    assert.deepEqual(config.spec.hosts, ['10.0.1.1 node']);
    const shown = toContainer(createdContainer(config), undefined);
    assert.equal(shown.networkMode, 'front');
    assert.deepEqual(shown.ports, ports);
    assert.deepEqual(
      shown.networks.map(({ name, ipAddress, aliases }) => [name, ipAddress, ...aliases]),
      [
        ['front', '10.0.1.7', 'www'],
        ['back', '10.0.2.9'],
      ],
    );
  });

  it('is told as a task where it runs one', () => {
    const task = assignedTask({
      networksAttachments: [
        NetworkAttachment.fromPartial({ networkName: 'front', addresses: ['10.0.1.7/24'] }),
      ],
      hostPorts: ports,
    });
    const labels = {
      'com.docker.swarm.task.id': 't1',
      'com.docker.swarm.task.name': 'shop.2.t1',
    };
    const state = createdContainer(aConfig({ id: 't1', netns: '/run/netns/t1', labels }));
    const shown = toContainer(state, task);
    assert.deepEqual(
      [
        shown.taskId,
        shown.taskName,
        shown.networkMode,
        shown.networks[0]?.name,
        shown.networks[0]?.ipAddress,
      ],
      ['t1', 'shop.2', 'overlay', 'front', '10.0.1.7'],
    );
    assert.deepEqual(shown.ports, ports);
    const copied = toContainer(createdContainer(aConfig({ id: 'other', labels })), undefined);
    assert.equal(copied.taskId, '', "a task's labels make no task");
  });
});
