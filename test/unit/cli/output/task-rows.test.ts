import assert from 'node:assert/strict';
import type { ListingOptions } from '../../../../cli/output/listing.js';
import { serviceText } from '../../../../cli/output/service-details.js';
import { ofSamePlace, taskText } from '../../../../cli/output/task-details.js';
import { formatTasks } from '../../../../cli/output/task-rows.js';
import { taskRow } from '../../../../cli/output/rows.js';
import {
  PlacementStrategy,
  TaintEffect,
  TaskState,
  UpdateOrder,
  UpdateState,
} from '../../../../proto/gen/hatoba/v1/types.js';
import { aService, aTask } from '../../../support/builders.js';

const { RUNNING, FAILED, PENDING, SHUTDOWN } = TaskState;
const names = new Map([['n1', 'east']]);
const failed = aTask({
  ...{ nodeId: 'n1', cause: 'service created', desiredState: SHUTDOWN },
  desiredReason: 'failed: exit code 1',
  status: { state: FAILED, err: 'exit code 1', containerStatus: { exitCode: 1 } },
});
const retried = aTask({
  ...{ generation: 2, nodeId: 'n1', cause: 'web.1 failed: exit code 1', specVersion: 2 },
  desiredReason: 'nothing is in its way any more',
  status: { state: RUNNING, message: 'started' },
});
const waiting = aTask({
  ...{ slot: 2, cause: 'scaled up to 2' },
  status: { state: PENDING, message: 'no suitable node: needs 64 CPUs' },
});
const all = [failed, retried, waiting];
const rows = all.map((t) => taskRow(t, names));

const options = (some: Partial<ListingOptions> = {}): ListingOptions => ({
  ...{ output: 'table', quiet: false, filter: [] },
  ...some,
});
/** The lines under the head, with single blanks. */
const lines = (text: string): string[] =>
  text
    .split('\n')
    .slice(1)
    .map((line) => line.replace(/\d+ days ago/, '…').replace(/ {2,}/g, '  '));

describe('a table of tasks', () => {
  it('shows the former ones under the one that stands for their place, with reasons', () => {
    assert.deepEqual(lines(formatTasks(rows, options())), [
      't-web-1-2  web.1  web:1  east  running  running …  web.1 failed: exit code 1',
      't-web-1-1  \\_ web.1  web:1  east  shutdown  failed …  exit code 1  failed: exit code 1',
      't-web-2-1  web.2  web:1  running  pending …  no suitable node: needs 64 CPUs  scaled up to 2',
    ]);
  });

  it('is filtered as in docker', () => {
    const ids = (...filter: string[]): string[] =>
      lines(formatTasks(rows, options({ filter }))).map((line) => line.slice(0, 9));
    assert.deepEqual(ids('desired-state=running'), ['t-web-1-2', 't-web-2-1']);
    assert.deepEqual(ids('name=web.1'), ['t-web-1-2', 't-web-1-1']);
    assert.deepEqual(ids('node=east'), ['t-web-1-2', 't-web-1-1']);
    assert.deepEqual(ids('node=n1', 'desired-state=shutdown'), ['t-web-1-1']);
  });

  it('calls tasks of global services by their nodes', () => {
    const global = taskRow(aTask({ slot: 0, nodeId: 'n1' }), names);
    const shown = (...filter: string[]): string[] =>
      lines(formatTasks([global], options({ filter })));
    assert.match(shown()[0] ?? '', / web\.east /);
    assert.equal(shown('name=web.east').length, 1);
    assert.equal(shown('name=web.n1').length, 1);
    assert.equal(shown('name=web.n2').length, 0);
  });

  it('is for people: what scripts read has tasks in order of time, by their names', () => {
    const read = JSON.parse(formatTasks(rows, options({ output: 'json' }))) as typeof rows;
    assert.deepEqual(
      read.map(({ id, name, cause, desiredReason }) => [id, name, cause, desiredReason]),
      [
        ['t-web-1-1', 'web.1', 'service created', 'failed: exit code 1'],
        ['t-web-1-2', 'web.1', 'web.1 failed: exit code 1', 'nothing is in its way any more'],
        ['t-web-2-1', 'web.2', 'scaled up to 2', ''],
      ],
    );
    const format = '{{.Name}} {{.Error}}';
    assert.equal(
      formatTasks(rows, options({ format })),
      'web.1 exit code 1\nweb.1 \nweb.2 no suitable node: needs 64 CPUs',
    );
    assert.equal(formatTasks(rows, options({ quiet: true })), 't-web-1-1\nt-web-1-2\nt-web-2-1');
  });
});

describe('one task for people', () => {
  it('tells what it is and what was in its place before', () => {
    const history = ofSamePlace(retried, all).map((t) => taskRow(t, names));
    const text = taskText(taskRow(retried, names), history).replace(/ {2,}/g, '  ');
    assert.match(text, /^Task: +web\.1 \(t-web-1-2\)$/m);
    assert.match(text, /^Service: +web, revision 2$/m);
    assert.match(text, /^Made: +2023-11-14T22:13:20.000Z \(web\.1 failed: exit code 1\)$/m);
    assert.doesNotMatch(text, /^Waits for/m);
    const former = text.split('\n').filter((line) => line.startsWith('t-web-'));
    assert.equal(former.length, 2);
    assert.match(former[0] ?? '', /^t-web-1-2 {2}2 {2}east {2}running/);
    assert.match(
      former[1] ?? '',
      /^t-web-1-1 {2}1 {2}east {2}failed .* {2}service created {2}failed: exit code 1 {2}exit code 1$/,
    );
  });

  it('tells what it waits for', () => {
    const row = taskRow(waiting, names);
    assert.match(taskText(row, [row]), /^Waits for: +no suitable node: needs 64 CPUs$/m);
    assert.match(taskText(row, [row]), /^Node: +none yet$/m);
  });
});

describe('one service for people', () => {
  it('tells what was declared, and how its update goes', () => {
    const service = aService({
      ...{ specVersion: 3, serviceStatus: { runningTasks: 1, desiredTasks: 2 } },
      updateStatus: { state: UpdateState.PAUSED, message: 'paused by request' },
      endpoint: { ports: [{ targetPort: 80, publishedPort: 8080 }] },
      spec: {
        labels: { tier: 'front' },
        rebalance: true,
        updateConfig: { parallelism: 2, order: UpdateOrder.START_FIRST, monitorMs: 5000 },
        taskTemplate: {
          containerSpec: { image: 'web:3', env: ['A=1'] },
          resources: {
            limits: { nanoCpus: 5e8, memoryBytes: 64 * 1024 ** 2 },
            reservations: { pids: 9, generic: [{ kind: 'gpu', count: 2 }] },
          },
          placement: {
            constraints: ['node.labels.zone==a'],
            affinities: [
              { expression: 'service!=web' },
              { expression: 'service==db', topology: 'node.labels.zone', weight: 5 },
            ],
            spreads: [{ key: 'node.id' }, { key: 'node.ip', maxSkew: 2, required: true }],
            tolerations: [
              { key: 'gpu', value: 'a100' },
              { effect: TaintEffect.NO_EXECUTE, tolerationMs: 60_000 },
            ],
            strategy: PlacementStrategy.BINPACK,
          },
          priority: -5,
          networks: [{ target: 'net-a' }],
        },
      },
    });
    const text = serviceText(service, new Map([['net-a', 'front']]));
    for (const line of [
      /^Name: +web$/m,
      /^Labels: +tier=front$/m,
      /^Mode: +replicated, 1\/2 running$/m,
      /^Revision: +3, since 2023-11-14T22:13:20.000Z$/m,
      /^Update:\n {2}State: +paused\n {2}Message: +paused by request$/m,
      /^Updates:\n {2}Parallelism: +2\n {2}Order: +start-first\n {2}Monitor: +5s$/m,
      /^ {2}Image: +web:3$/m,
      /^ {2}Environment: +A=1$/m,
      /^ {2}Limits: +0.5 CPUs, 6[47][.\d]* ?Mi?B$/m,
      /^ {2}Reservations: +9 PIDs, 2 gpu$/m,
      /^ {2}Constraints: +node\.labels\.zone==a$/m,
      /^ {2}Affinities: +service!=web, service==db \(by node\.labels\.zone, weight 5\)$/m,
      /^ {2}Spreads: +node\.id, node\.ip \(at most 2 apart, required\)$/m,
      /^ {2}Tolerations: +gpu=a100, everything:no-execute for 1m$/m,
      /^ {2}Strategy: +binpack\n {2}Priority: +-5\n {2}Rebalance: +when nodes come/m,
      /^Networks: +front$/m,
      /^Ports: +\*:8080->80\/tcp$/m,
    ]) {
      assert.match(text, line);
    }
    assert.doesNotMatch(text, /Removal|Virtual IPs/);
  });
});
