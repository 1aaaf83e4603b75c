import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { inFile } from '../../../../cli/compose/refusal.js';
import { parseStackFile } from '../../../../cli/compose/stack-file.js';

const FILE = `services:
  db: {image: db:1, network_mode: host}
  web:
    image: web:1
    ports: ["8000-8001:80-81"]
    environment: {A: b}
    mem_limit: 1k
    dns: [nowhere]
    networks: {back: , front: {aliases: [www]}}
    healthcheck: {test: NONE, interval: 5s}
    deploy:
      replicas: 3
      endpoint_mode: vip
      update_config: {monitor: 5s, progress_deadline: 1m}
      restart_policy: {max_delay: 1s}
      priority: 5
      resources:
        reservations: {cpus: 1, generic_resources: [{discrete_resource_spec: {kind: gpu, value: 1}}]}
      placement:
        constraints: [node.role==worker, node.zone==a]
        max_replicas_per_node: 1
        spreads:
          - node.labels.zone
          - {key: nothing, max_skew: 2}
networks:
  other: {external: true}
  back:
  front: {ipam: {config: [{subnet: 10.1.0.0/24}]}, driver_opts: {com.docker.network.driver.mtu: 9}}
`;

/** What is shown of a mistake in `path`. */
function shown(...paths: string[]): string {
  const parsed = parseStackFile('shop', {
    file: 'c.yaml',
    text: FILE,
    baseDir: '/',
    variables: {},
    readEnvFile: () => [],
  });
  assert.deepEqual(parsed.problems, []);
  const problems = paths.map((path) => ({ path, message: 'is wrong', kind: 'already-exists' }));
  const error = new HatobaError('already-exists', 'as it came', { detail: { problems } });
  const result = inFile(error, parsed);
  assert.ok(result instanceof HatobaError);
  assert.equal(result.kind, 'already-exists');
  return result.message.trimEnd();
}

describe('what the managers say against a stack', () => {
  const PLACES: [path: string, place: string][] = [
    ['services[0]', '2:3: services.db'],
    ['services[0].taskTemplate.networks[0].target', '2:3: services.db'],
    ['services[1].name', '3:3: services.web'],
    ['services[1].mode.replicas', '12:17: services.web.deploy.replicas'],
    ['services[1].taskTemplate.containerSpec.image', '4:12: services.web.image'],
    ['services[1].taskTemplate.containerSpec.env[0]', '6:5: services.web.environment'],
    ['services[1].taskTemplate.containerSpec.dnsConfig.nameservers[0]', '8:11: services.web.dns[0]'],
    ['services[1].taskTemplate.containerSpec.healthcheck.intervalMs', '10:41: services.web.healthcheck.interval'],
    ['services[1].taskTemplate.networks[1].aliases[0]', '9:5: services.web.networks'],
    ['services[1].taskTemplate.priority', '16:17: services.web.deploy.priority'],
    ['services[1].taskTemplate.restartPolicy.maxDelayMs', '15:35: services.web.deploy.restart_policy.max_delay'],
    ['services[1].taskTemplate.restartPolicy.delayMs', '15:7: services.web.deploy.restart_policy'],
    ['services[1].taskTemplate.resources.reservations.nanoCpus', '18:30: services.web.deploy.resources.reservations.cpus'],
    ['services[1].taskTemplate.resources.reservations.generic[0].kind', '18:53: services.web.deploy.resources.reservations.generic_resources[0]'],
    ['services[1].taskTemplate.resources.limits.memoryBytes', '17:7: services.web.deploy.resources'],
    ['services[1].taskTemplate.placement.constraints[1]', '20:42: services.web.deploy.placement.constraints[1]'],
    ['services[1].taskTemplate.placement.maxReplicas', '21:32: services.web.deploy.placement.max_replicas_per_node'],
    ['services[1].taskTemplate.placement.spreads[0].key', '23:13: services.web.deploy.placement.spreads[0]'],
    ['services[1].taskTemplate.placement.spreads[1].key', '24:19: services.web.deploy.placement.spreads[1].key'],
    ['services[1].updateConfig.progressDeadlineMs', '14:55: services.web.deploy.update_config.progress_deadline'],
    ['services[1].rebalance', '11:5: services.web.deploy'],
    ['services[1].endpointSpec.ports[1].publishedPort', '5:12: services.web.ports'],
    ['services[1].endpointSpec.mode', '13:22: services.web.deploy.endpoint_mode'],
    ['networks[0]', '27:8: networks.back'],
    ['networks[1].ipam[0].subnet', '28:36: networks.front.ipam.config[0].subnet'],
    ['networks[1].mtuBytes', '28:52: networks.front.driver_opts'],
  ]; // prettier-ignore
  for (const [path, place] of PLACES) {
    it(`about ${path} is shown at ${place}`, () => {
      assert.equal(shown(path), `c.yaml:${place}: is wrong`);
    });
  }

  it('stands in the order of the file, what is about no part of it at the end', () => {
    const lines = shown('', 'name', 'services[1].taskTemplate.priority', 'services[0]').split('\n');
    assert.deepEqual(lines, [
      'c.yaml:2:3: services.db: is wrong',
      'c.yaml:16:17: services.web.deploy.priority: is wrong',
      'is wrong',
      'name: is wrong',
    ]);
  });

  it('stays as it came when it is about no part of the file', () => {
    for (const paths of [[], ['name'], ['services[9].name']]) {
      assert.equal(shown(...paths), 'as it came');
    }
  });
});
