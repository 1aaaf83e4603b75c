import assert from 'node:assert/strict';
import { formatListing, type ListingOptions } from '../../../../cli/output/listing.js';
import { nodeText } from '../../../../cli/output/node-details.js';
import { NODES } from '../../../../cli/output/node-rows.js';
import { nodeRow } from '../../../../cli/output/rows.js';
import {
  NodeAvailability,
  NodeRole,
  NodeState,
  TaintEffect,
  TaskState,
  type Task as TaskMessage,
} from '../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, type Some } from '../../../support/builders.js';

const NOW = 1_700_000_600_000;
const GIB = 1024 ** 3;
const taint = { key: 'gpu', value: 'a100', effect: TaintEffect.NO_SCHEDULE };

const boss = aNode({
  id: 'boss-0123456789',
  spec: { role: NodeRole.MANAGER },
  description: { hostname: 'n1', engine: { engineVersion: '1.0' } },
  managerStatus: { leader: true, addr: '10.0.0.1:4400' },
});
const lost = aNode({
  id: 'lost',
  spec: { role: NodeRole.MANAGER },
  description: { hostname: 'n2' },
  status: { state: NodeState.DOWN, message: 'no heartbeat for 3.0 s' },
});
const worker = aNode({
  id: 'worker',
  createdAtMs: NOW - 7_200_000,
  spec: {
    ...{ name: 'gpu-box', availability: NodeAvailability.DRAIN },
    ...{ labels: { zone: 'a' }, taints: [taint] },
  },
  description: {
    hostname: 'n3',
    platform: { os: 'linux', architecture: 'amd64' },
    resources: {
      ...{ nanoCpus: 4e9, memoryBytes: 8 * GIB, pids: 1000 },
      generic: [
        { kind: 'gpu', names: ['u1', 'u2'] },
        { kind: 'ssd', count: 4 },
      ],
    },
    engine: { engineVersion: '1.0', labels: { disk: 'ssd' } },
    images: Array.from({ length: 7 }, (_, i) => `web:${i}`),
  },
  status: { stateChangedAtMs: NOW - 60_000, lostAtMs: [NOW - 180_000] },
});

function table(options: Partial<ListingOptions> = {}): string[] {
  const rows = [boss, lost, worker].map((n) => ({ ...nodeRow(n), self: n === boss }));
  const all = { output: 'table' as const, quiet: false, filter: [], ...options };
  return formatListing(rows, NODES, all).split('\n');
}

describe('hatoba node ls', () => {
  it('has the columns of docker', () => {
    assert.deepEqual(
      table().map((line) => line.split(/ {2,}/)),
      [
        ['ID', 'HOSTNAME', 'STATUS', 'AVAILABILITY', 'MANAGER STATUS', 'ENGINE VERSION'],
        ['boss-0123456 *', 'n1', 'ready', 'active', 'leader', '1.0'],
        ['lost', 'n2', 'down', 'active', 'unreachable'],
        ['worker', 'n3', 'ready', 'drain', '1.0'],
      ],
    );
  });

  const filters: [filter: string, ids: string[]][] = [
    ['role=manager', ['boss-0123456789', 'lost']],
    ['name=gpu', ['worker']],
    ['name=n1', ['boss-0123456789']],
    ['node.label=zone=a', ['worker']],
    ['label=disk', ['worker']],
    ['taint=gpu', ['worker']],
    ['taint=gpu=a100:no-schedule', ['worker']],
    ['state=down', ['lost']],
  ];
  for (const [filter, ids] of filters) {
    it(`shows only those of ${filter}`, () => {
      assert.deepEqual(table({ quiet: true, filter: [filter] }), ids);
    });
  }

  it('answers templates of docker', () => {
    const format = '{{.Hostname}} {{.Self}} {{.ManagerStatus}}';
    assert.deepEqual(table({ format }), ['n1 true leader', 'n2 false unreachable', 'n3 false ']);
  });
});

describe('hatoba node inspect --pretty', () => {
  function task(
    serviceName: string,
    slot: number,
    some: Some<TaskMessage> = {},
  ): ReturnType<typeof aTask> {
    const reservations = { nanoCpus: 1.5e9, memoryBytes: GIB };
    return aTask({
      ...{ serviceName, slot, nodeId: 'worker' },
      spec: { resources: { reservations } },
      status: { state: TaskState.RUNNING },
      ...some,
    });
  }

  it('says what a node is, what is reserved of it, and by whom', () => {
    const tasks = [
      task('web', 1, { assignedGenericResources: [{ kind: 'gpu', names: ['u2'] }] }),
      task('db', 1, { assignedGenericResources: [{ kind: 'ssd', count: 3 }] }),
      task('web', 2, { status: { state: TaskState.SHUTDOWN } }),
      task('web', 3, { status: { state: TaskState.PENDING } }),
    ];
    const lines = nodeText(worker, tasks, NOW).split('\n');
    for (const line of [
      'Name:            gpu-box',
      'Labels:          zone=a',
      'Taints:          gpu=a100:no-schedule',
      'Joined:          2 hours ago',
      '  State:         ready, changed 1 minute ago',
      '  Lost of late:  3 minutes ago',
      '  Availability:  drain',
      '  CPUs:          4, 3 reserved, 1 free',
      '  Memory:        8GiB, 2GiB reserved, 6GiB free',
      '  PIDs:          1000, 0 reserved, 1000 free',
      '  gpu:           2 (u1, u2), 1 reserved (u2), 1 free',
      '  ssd:           4, 3 reserved, 1 free',
      'Tasks:           2 (db 1, web 1)',
      '  Images:        web:0 web:1 web:2 web:3 web:4 and 2 more',
    ]) {
      assert.ok(lines.includes(line), `${line}\nis not in\n${lines.join('\n')}`);
    }
  });

  it('leaves out what there is not', () => {
    const text = nodeText(boss, [], NOW);
    assert.doesNotMatch(text, /Taints|Message|Lost/);
    assert.match(text, /Leader: +yes/);
    assert.match(text, /Tasks: +0\n/);
  });
});
