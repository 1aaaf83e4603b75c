import assert from 'node:assert/strict';
import type { ServiceSpec } from '../../../../common/model/objects.js';
import { formatProblems, parseStackFile } from '../../../../cli/compose/stack-file.js';

/** Service `web` of stack shop with this `deploy:`, beside a service `db`. */
function read(deploy: string): { spec: ServiceSpec | undefined; problems: string } {
  const { spec, problems } = parseStackFile('shop', {
    file: 'c.yaml',
    text: `services:\n  web: {image: x, deploy: {${deploy}}}\n  db: {image: x}`,
    baseDir: '/',
    variables: {},
    readEnvFile: () => [],
  });
  return { spec: spec.services[0], problems: formatProblems(problems) };
}

function specOf(deploy: string): ServiceSpec {
  const { spec, problems } = read(deploy);
  assert.equal(problems, '');
  assert.ok(spec !== undefined);
  return spec;
}
const placementOf = (keys: string) => specOf(`placement: {${keys}}`).taskTemplate.placement;

describe('deploy: of a compose file', () => {
  it('reads every form of constraint as it is written', () => {
    const constraints = [
      'node.labels.zone in (a, b)',
      'node.labels.gpu exists',
      'node.labels.cpus > 4',
    ];
    assert.deepEqual(
      placementOf(`constraints: ${JSON.stringify(constraints)}`).constraints,
      constraints,
    );
  });

  const affinity = (expression: string, topology = '', weight = 0) => ({
    expression,
    topology,
    weight,
  });
  const affinities: [text: string, expected: unknown][] = [
    ['"service!=web"', affinity('service!=shop_web')],
    ['"service == db"', affinity('service == shop_db')],
    ['"service==other_db"', affinity('service==other_db')],
    ['"service.labels.tier!=batch"', affinity('service.labels.tier!=batch')],
    ['"node.labels.disk==ssd"', affinity('node.labels.disk==ssd')],
    [
      '{expression: service==db, topology: node.labels.zone, weight: 50}',
      affinity('service==shop_db', 'node.labels.zone', 50),
    ],
  ];
  for (const [text, expected] of affinities) {
    it(`reads the affinity ${text}`, () => {
      assert.deepEqual(placementOf(`affinities: [${text}]`).affinities, [expected]);
    });
  }

  it('reads spreads, each a wish unless it is required', () => {
    const { spreads, strategy } = placementOf(
      'spreads: [node.labels.zone, {key: node.hostname, max_skew: 2, required: true}], strategy: binpack',
    );
    assert.deepEqual(spreads, [
      { key: 'node.labels.zone', maxSkew: 0, required: false },
      { key: 'node.hostname', maxSkew: 2, required: true },
    ]);
    assert.equal(strategy, 'PLACEMENT_STRATEGY_BINPACK');
    assert.equal(placementOf('strategy: spread').strategy, 'PLACEMENT_STRATEGY_SPREAD');
  });

  const toleration = (key: string, value = '', effect?: string, tolerationMs?: number) => ({
    key,
    value,
    effect: effect && `TAINT_EFFECT_${effect}`,
    tolerationMs,
  });
  const tolerations: [text: string, expected: unknown][] = [
    ['gpu', toleration('gpu')],
    ['example.com/gpu=a100', toleration('example.com/gpu', 'a100')],
    ['"gpu:no-execute"', toleration('gpu', '', 'NO_EXECUTE')],
    ['"gpu=a100:prefer-no-schedule"', toleration('gpu', 'a100', 'PREFER_NO_SCHEDULE')],
    ['{key: gpu, value: a100, effect: no-schedule}', toleration('gpu', 'a100', 'NO_SCHEDULE')],
    ['{key: flaky, effect: no-execute, for: 5m}', toleration('flaky', '', 'NO_EXECUTE', 300_000)],
    ['{}', toleration('')],
  ];
  for (const [text, expected] of tolerations) {
    it(`reads the toleration ${text}`, () => {
      assert.deepEqual(placementOf(`tolerations: [${text}]`).tolerations, [expected]);
    });
  }

  it('reads what is reserved beside CPUs and memory', () => {
    const gpus = '{discrete_resource_spec: {kind: gpu, value: 2}}';
    const { resources } = specOf(
      `resources: {reservations: {pids: 5, generic_resources: [${gpus}]}}`,
    ).taskTemplate;
    const { reservations } = resources;
    assert.deepEqual(reservations.generic, [{ kind: 'gpu', count: 2, names: [] }]);
    assert.equal(reservations.pids, 5);
  });

  it('reads priority, rebalancing, revisions, deadlines and the longest pause', () => {
    const spec = specOf(
      'priority: -10, rebalance: true, revision_limit: 3, update_config: {progress_deadline: 90s}, ' +
        'rollback_config: {progress_deadline: 0s}, restart_policy: {delay: 1s, max_delay: 1m}',
    );
    assert.deepEqual(
      [spec.taskTemplate.priority, spec.rebalance, spec.revisionLimit],
      [-10, true, 3],
    );
    assert.equal(spec.updateConfig.progressDeadlineMs, 90_000);
    assert.equal(spec.rollbackConfig.progressDeadlineMs, 0);
    assert.equal(spec.taskTemplate.restartPolicy.maxDelayMs, 60_000);
  });

  it('leaves to the managers what is not said', () => {
    const { taskTemplate, rebalance, revisionLimit, updateConfig } = specOf('replicas: 1');
    assert.deepEqual([taskTemplate.priority, rebalance, revisionLimit], [0, false, undefined]);
    assert.equal(updateConfig.progressDeadlineMs, undefined);
    assert.equal(taskTemplate.restartPolicy.maxDelayMs, undefined);
  });

  const mistakes: [deploy: string, column: number, problem: string][] = [
    ['placement: {afinities: []}', 40, 'placement.afinities: unknown key "afinities"; did you mean "affinities"?'],
      ['placement: {affinities: [{weight: 5}]}', 53, 'placement.affinities[0]: needs "expression", such as "service!=web"'],
    ['placement: {affinities: [{expression: a==b, weight: 0}]}', 80, 'placement.affinities[0].weight: must be between 1 and 100, not 0'],
    ['placement: {spreads: [{key: node.id, max_skew: 0}]}', 75, 'placement.spreads[0].max_skew: must be at least 1, not 0'],
    ['placement: {spreads: [{}]}', 50, 'placement.spreads[0]: needs "key", such as "node.labels.zone"'],
    ['placement: {tolerations: ["a=b=c"]}', 54, 'placement.tolerations[0]: "a=b=c" is not a taint like "gpu", "gpu=a100" or "gpu=a100:no-schedule"'],
    ['placement: {tolerations: ["a:never"]}', 54, 'placement.tolerations[0]: "a:never" has the unknown effect "never" (known are no-schedule, prefer-no-schedule, no-execute)'],
    ['placement: {tolerations: [{effect: no}]}', 63, 'placement.tolerations[0].effect: must be "no-schedule" or "prefer-no-schedule" or "no-execute", not "no"'],
    ['placement: {tolerations: [{for: 5}]}', 60, 'placement.tolerations[0].for: "5" is not a duration like 10s, 1m30s or 500ms'],
    ['placement: {strategy: random}', 50, 'placement.strategy: must be "spread" or "binpack", not "random"'],
    ['priority: 2000', 38, 'priority: must be between -1000 and 1000, not 2000'],
    ['rebalance: perhaps', 39, 'rebalance: must be true or false, not "perhaps"'],
    ['update_config: {progress_dedline: 5m}', 44, 'update_config.progress_dedline: unknown key "progress_dedline"; did you mean "progress_deadline"?'],
    ['resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: gpu}}]}}', 75, 'resources.reservations.generic_resources[0]: needs "discrete_resource_spec" with "kind" and "value"'],
    ['resources: {limits: {generic_resources: []}}', 49, 'resources.limits.generic_resources: unknown key "generic_resources"; known keys: cpus, memory, pids'],
  ]; // prettier-ignore
  for (const [deploy, column, problem] of mistakes) {
    it(`says of ${deploy}`, () => {
      assert.equal(read(deploy).problems, `c.yaml:2:${column}: services.web.deploy.${problem}`);
    });
  }
});
