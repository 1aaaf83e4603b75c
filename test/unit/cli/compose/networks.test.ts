import assert from 'node:assert/strict';
import { formatProblems, parseStackFile } from '../../../../cli/compose/stack-file.js';
import type { ServiceSpec, StackSpec } from '../../../../common/model/objects.js';

function parse(text: string): { spec: StackSpec; problems: string } {
  const input = { file: 'c.yaml', text, baseDir: '/srv', variables: {}, readEnvFile: () => [] };
  const { spec, problems } = parseStackFile('shop', input);
  return { spec, problems: formatProblems(problems) };
}

/** The one service of a file that must be right. */
function service(lines: string, networks = '{}'): ServiceSpec {
  const { spec, problems } = parse(`services: {w: {image: x, ${lines}}}\nnetworks: ${networks}`);
  assert.equal(problems, '');
  return spec.services[0] ?? assert.fail();
}

describe('networks of a compose file', () => {
  it('are made as the file says', () => {
    const { spec, problems } = parse(`
services: {w: {image: x, networks: [front, back]}}
networks:
  front:
    name: edge
    driver: bridge
    internal: true
    attachable: true
    labels: {tier: a}
    x-note: this is nobody's business
    driver_opts: {com.docker.network.driver.mtu: 1400, team: blue}
    ipam:
      driver: default
      config:
        - {subnet: 10.1.0.0/24, gateway: 10.1.0.9}
        - {subnet: 10.2.0.0/16, ip_range: 10.2.128.0/17}
  back:
  other: {external: true, name: host, driver: host}
  unused: {driver: overlay}
`);
    assert.equal(problems, '');
    const [edge, back, unused, none] = spec.networks;
    assert.deepEqual(edge, {
      name: 'edge',
      labels: { 'com.docker.stack.namespace': 'shop', tier: 'a' },
      driver: 'bridge',
      internal: true,
      attachable: true,
      ingress: false,
      ipam: [
        { subnet: '10.1.0.0/24', gateway: '10.1.0.9', ipRange: '' },
        { subnet: '10.2.0.0/16', gateway: '', ipRange: '10.2.128.0/17' },
      ],
      mtuBytes: 1400,
      options: { team: 'blue' },
      vni: 0,
      hostAccess: false,
    });
    assert.deepEqual([back?.name, back?.driver], ['shop_back', 'overlay']);
    assert.equal(unused?.name, 'shop_unused');
    assert.equal(none, undefined);
  });

  it('are joined with all the aliases of a service', () => {
    const { taskTemplate } = service(
      'networks: {front: {aliases: [www, web]}, back: }',
      '{front: , back: {external: true}}',
    );
    assert.deepEqual(taskTemplate.networks, [
      { target: 'shop_front', aliases: ['w', 'www', 'web'] },
      { target: 'back', aliases: ['w'] },
    ]);
  });

  it("may be the host's own, or none", () => {
    for (const mode of ['host', 'none']) {
      const { spec, problems } = parse(`services: {w: {image: x, network_mode: ${mode}}}`);
      assert.equal(problems, '');
      assert.deepEqual(spec.networks, []);
      assert.deepEqual(spec.services[0]?.taskTemplate.networks, [{ target: mode, aliases: [] }]);
    }
    const named = service('networks: [own]', '{own: {external: true, name: host}}');
    assert.deepEqual(named.taskTemplate.networks, [{ target: 'host', aliases: ['w'] }]);
  });

  it('have their names asked for as the service says', () => {
    const { containerSpec } = service(
      'dns: 9.9.9.9, dns_search: [a.example, b.example], dns_opt: ["ndots:2"], extra_hosts: {db: 10.0.0.5}',
    ).taskTemplate;
    assert.deepEqual(containerSpec.dnsConfig, {
      nameservers: ['9.9.9.9'],
      search: ['a.example', 'b.example'],
      options: ['ndots:2'],
    });
    assert.deepEqual(containerSpec.hosts, ['10.0.0.5 db']);
  });

  it('say how connections are spread, and how long they may go on', () => {
    const { endpointSpec } = service(
      'deploy: {endpoint_mode: dnsrr, session_affinity: client_ip, drain: 1m30s}',
    );
    assert.equal(endpointSpec.mode, 'ENDPOINT_MODE_DNSRR');
    assert.equal(endpointSpec.sessionAffinity, 'SESSION_AFFINITY_CLIENT_IP');
    assert.equal(endpointSpec.drainMs, 90_000);
    const usual = service('deploy: {session_affinity: none, drain: 0s}').endpointSpec;
    assert.equal(usual.sessionAffinity, 'SESSION_AFFINITY_NONE');
    assert.equal(usual.drainMs, 0);
    assert.equal(service('tty: false').endpointSpec.drainMs, undefined);
  });

  it('publish ranges of ports, in the long form too', () => {
    const { ports } = service(
      'ports: [{target: "80-82", published: "8000-8002", protocol: udp, mode: host}]',
    ).endpointSpec;
    assert.deepEqual(
      ports.map((p) => [p.publishedPort, p.targetPort, p.protocol, p.publishMode]),
      [0, 1, 2].map((i) => [8000 + i, 80 + i, 'PORT_PROTOCOL_UDP', 'PUBLISH_MODE_HOST']),
    );
  });

  const w = 'services: {w: {image: x}}';
  const MISTAKES: readonly [text: string, problem: string][] = [
    ['services: {w: {image: x, network_mode: bridge}}', 'c.yaml:1:40: services.w.network_mode: must be "host" or "none", not "bridge"; others are named under "networks"'],
    ['services: {w: {image: x, networks: [a], network_mode: host}}\nnetworks: {a: }', 'c.yaml:1:55: services.w.network_mode: cannot be together with "networks": leave one of them out'],
    [`${w}\nnetworks: {a: {driver: macvlan}}`, 'c.yaml:2:24: networks.a.driver: must be "overlay" or "bridge" or "host" or "none", not "macvlan"'],
    [`${w}\nnetworks: {a: {driver: host}}`, 'c.yaml:2:12: networks.a: every cluster has the network "host", and no other: say "name: host" and "external: true", or "network_mode: host" in the service'],
    [`${w}\nnetworks: {a: {external: true, internal: true}}`, 'c.yaml:2:42: networks.a.internal: an external network is made elsewhere: this cannot be said of it here'],
    [`${w}\nnetworks: {a: {driver_opts: {encrypted: ""}}}`, 'c.yaml:2:16: networks.a.driver_opts: encrypted networks are not supported yet: leave the option "encrypted" out'],
    ['services: {w: {image: x, deploy: {session_affinity: cookie}}}', 'c.yaml:1:53: services.w.deploy.session_affinity: must be "none" or "client_ip", not "cookie"'],
    ['services: {w: {image: x, deploy: {drain: 5}}}', 'c.yaml:1:42: services.w.deploy.drain: "5" is not a duration like 10s, 1m30s or 500ms'],
    ['services: {w: {image: x, ports: [{target: 80, published: "8000-8010"}]}}', 'c.yaml:1:34: services.w.ports[0]: publishes 11 ports for 1 in the container; the ranges must be equally long'],
  ]; // prettier-ignore
  for (const [text, problem] of MISTAKES) {
    it(`have a mistake: ${text.replace('\n', ' ')}`, () => {
      assert.equal(parse(text).problems, problem);
    });
  }
});
