import assert from 'node:assert/strict';
import { changedNodeSpec, NO_CHANGE, parseNewTaint } from '../../../../cli/words/node.js';
import { parseTaintWords } from '../../../../cli/words/taints.js';
import {
  NodeAvailability,
  NodeSpec,
  TaintEffect,
  type Taint,
} from '../../../../proto/gen/hatoba/v1/types.js';

const { NO_SCHEDULE, NO_EXECUTE } = TaintEffect;

function taint(key: string, value: string, effect: TaintEffect): Taint {
  return { key, value, effect, addedAtMs: 0 };
}

const spec = NodeSpec.fromPartial({
  labels: { zone: 'a', disk: 'ssd' },
  taints: [taint('gpu', 'a100', NO_SCHEDULE), taint('gpu', '', NO_EXECUTE)],
});

describe('changes of a node', () => {
  it('leave alone what they do not name', () => {
    assert.deepEqual(changedNodeSpec(spec, NO_CHANGE), spec);
    const drained = { ...NO_CHANGE, availability: NodeAvailability.DRAIN };
    assert.deepEqual(changedNodeSpec(spec, drained), {
      ...spec,
      availability: NodeAvailability.DRAIN,
    });
  });

  it('take labels away before they add some', () => {
    const change = { ...NO_CHANGE, labelAdd: { zone: 'b', rack: '' }, labelRm: ['zone', 'disk'] };
    assert.deepEqual(changedNodeSpec(spec, change).labels, { zone: 'b', rack: '' });
  });

  it('say which labels there are when one is not there', () => {
    assert.throws(() => changedNodeSpec(spec, { ...NO_CHANGE, labelRm: ['rack'] }), {
      kind: 'not-found',
      message: 'the node has no label "rack" (it has zone, disk)',
    });
  });

  const taints: [name: string, rm: string[], add: string[], left: string[]][] = [
    ['of a key, whatever its effect', ['gpu'], [], []],
    ['of a key and an effect', ['gpu:no-execute'], [], ['gpu=a100:no-schedule']],
    ['of a key and a value', ['gpu=a100'], [], ['gpu:no-execute']],
    [
      'for one of the same key and effect',
      [],
      ['gpu=h100:no-schedule'],
      ['gpu:no-execute', 'gpu=h100:no-schedule'],
    ],
  ];
  for (const [name, rm, add, left] of taints) {
    it(`take a taint away ${name}`, () => {
      const change = {
        ...NO_CHANGE,
        taintRm: rm.map(parseTaintWords),
        taintAdd: add.map(parseNewTaint),
      };
      assert.deepEqual(changedNodeSpec(spec, change).taints, [
        ...spec.taints.filter((t) => left.includes(textOf(t))),
        ...left.filter((text) => add.includes(text)).map(parseNewTaint),
      ]);
    });
  }

  it('say which taints there are when one is not there', () => {
    const taintRm = [parseTaintWords('gpu=h100')];
    assert.throws(() => changedNodeSpec(spec, { ...NO_CHANGE, taintRm }), {
      kind: 'not-found',
      message: 'the node has no taint "gpu" (it has gpu, gpu)',
    });
  });

  it('need to know what a new taint does', () => {
    assert.deepEqual(parseNewTaint('gpu=a100:no-execute'), taint('gpu', 'a100', NO_EXECUTE));
    assert.throws(() => parseNewTaint('gpu=a100'), {
      message: /"gpu=a100" does not say what it does: "gpu=a100:no-schedule", or one of/,
    });
    assert.throws(() => parseNewTaint('gpu:NoWay'), { kind: 'invalid-argument' });
  });
});

function textOf({ key, value, effect }: Taint): string {
  const word = effect === NO_SCHEDULE ? 'no-schedule' : 'no-execute';
  return `${value === '' ? key : `${key}=${value}`}:${word}`;
}
