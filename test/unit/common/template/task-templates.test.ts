import assert from 'node:assert/strict';
import {
  expandContainer,
  templateDataOf,
  type TaskTemplateData,
} from '../../../../common/template/task-templates.js';
import { ContainerSpec, MountType } from '../../../../proto/gen/hatoba/v1/types.js';
import { aTask } from '../../../support/builders.js';

const NODE = { hostname: 'host-a', os: 'linux', architecture: 'arm64' };
const TASK = aTask({
  id: 't1',
  slot: 3,
  nodeId: 'n1',
  serviceLabels: { tier: 'front', 'a.b': 'c' },
});
const DATA = templateDataOf(TASK, NODE);

function expandEnv(text: string, data: TaskTemplateData = DATA): string | undefined {
  const spec = ContainerSpec.fromPartial({ env: [text] });
  return expandContainer(spec, data, (path, error) => {
    throw new Error(`${path}: ${error.message}`);
  }).env[0];
}

describe('templates of tasks', () => {
  const CASES: readonly [template: string, text: string][] = [
    ['{{.Service.ID}} {{.Service.Name}}', 'id-web web'],
    ['{{index .Service.Labels "a.b"}}{{.Service.Labels.tier}}', 'cfront'],
    ['{{.Node.ID}} {{.Node.Hostname}}', 'n1 host-a'],
    ['{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}', 'linux/arm64'],
    ['{{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}', 't1 web.3.t1 3'],
    ['A={{if eq .Task.Slot "3"}}third{{end}}', 'A=third'],
    ['A={{"{{"}}', 'A={{'],
    ['plain', 'plain'],
  ];
  for (const [template, text] of CASES) {
    it(template, () => assert.equal(expandEnv(template), text));
  }

  it('give a task of a global service its node for a slot', () => {
    const data = templateDataOf({ ...TASK, slot: 0 }, NODE);
    assert.equal(expandEnv('{{.Task.Slot}} {{.Task.Name}}', data), 'n1 web.n1.t1');
  });

  it('are expanded in hostname, env, and of mounts all but the options of binds', () => {
    const spec = ContainerSpec.fromPartial({
      hostname: 'web-{{.Task.Slot}}',
      env: ['N={{.Node.Hostname}}', 'B=1'],
      args: ['{{.Task.Slot}}'],
      mounts: [
        {
          type: MountType.VOLUME,
          source: 'data-{{.Task.Slot}}',
          target: '/data/{{.Service.Name}}',
          volumeOptions: { labels: { slot: '{{.Task.Slot}}' }, driverOpts: { o: '{{.Node.ID}}' } },
        },
        { type: MountType.TMPFS, target: '/tmp' },
      ],
    });
    const expanded = expandContainer(spec, DATA, () => assert.fail());
    assert.equal(expanded.hostname, 'web-3');
    assert.deepEqual(expanded.env, ['N=host-a', 'B=1']);
    assert.deepEqual(expanded.args, ['{{.Task.Slot}}']);
    const [volume, tmpfs] = expanded.mounts;
    assert.deepEqual([volume?.source, volume?.target], ['data-3', '/data/web']);
    assert.deepEqual(volume?.volumeOptions?.labels, { slot: '3' });
    assert.deepEqual(volume.volumeOptions.driverOpts, { o: 'n1' });
    assert.deepEqual(tmpfs, spec.mounts[1]);
  });

  it('tell of every field that cannot be expanded, and leave it as it is', () => {
    const spec = ContainerSpec.fromPartial({
      hostname: '{{.Task.Number}}',
      env: ['A={{.Node.Name', 'B={{.Task.Slot}}', 'C={{index .Service.Labels "nope"}}'],
      mounts: [{ type: MountType.VOLUME, source: '{{shout .Task.ID}}', target: '/{{.Nope}}' }],
    });
    const mistakes: string[] = [];
    const expanded = expandContainer(spec, DATA, (path, { message }) => {
      mistakes.push(`${path}: ${message.split(/[;:]/)[0] ?? ''}`);
    });
    assert.deepEqual(mistakes, [
      'hostname: there is no field "Task.Number"',
      'env[0]: "{{.Node.Name" is not closed by "}}"',
      'env[2]: there is nothing to print',
      'mounts[0].source: unknown function "shout"',
      'mounts[0].target: there is no field "Nope"',
    ]);
    assert.equal(expanded.hostname, '{{.Task.Number}}');
    assert.equal(expanded.env[1], 'B=3');
  });
});
