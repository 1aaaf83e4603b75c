import assert from 'node:assert/strict';
import { nodeSpecProblems } from '../../../../../manager/core/validate/node-spec.js';
import {
  NodeRole,
  NodeSpec,
  TaintEffect,
  type Taint,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, type Some } from '../../../../support/builders.js';

const worker = aNode({ id: 'w1', spec: { role: NodeRole.WORKER } });
const manager = aNode({ id: 'm1', spec: { role: NodeRole.MANAGER, name: 'boss' } });
const second = aNode({ id: 'm2', spec: { role: NodeRole.MANAGER } });

function problems(some: Some<NodeSpec>, node = worker, nodes = [worker, manager]): string[] {
  const spec = { ...node.spec, ...NodeSpec.fromPartial({ ...node.spec, ...some }) };
  return nodeSpecProblems(node, spec, nodes).map((p) => `${p.path}: ${p.message} (${p.kind})`);
}

function taint(key: string, value = '', effect: TaintEffect = TaintEffect.NO_SCHEDULE): Taint {
  return { key, value, effect, addedAtMs: 0 };
}

describe('the spec of a node', () => {
  const right: [name: string, some: Some<NodeSpec>][] = [
    ['as it is', {}],
    [
      'labels of many forms',
      { labels: { zone: 'a', 'example.com/disk-type': 'ssd, fast', é: '' } },
    ],
    ['a name', { name: 'rack-1.left' }],
    ['a taint', { taints: [taint('gpu', 'a100'), taint('maintenance')] }],
    [
      'one key with two effects',
      { taints: [taint('gpu'), taint('gpu', '', TaintEffect.NO_EXECUTE)] },
    ],
  ];
  for (const [name, some] of right) {
    it(`may have ${name}`, () => assert.deepEqual(problems(some), []));
  }

  const wrong: [name: string, some: Some<NodeSpec>, said: RegExp][] = [
    ['a name of two words', { name: 'rack 1' }, /^name: "rack 1" must be .*invalid-argument/],
    ['the name of another', { name: 'boss' }, /^name: node m1 is called "boss" .*already-exists/],
    ['a label without a name', { labels: { '': 'x' } }, /^labels: "" is not the name of a label/],
    ['a label that constraints cannot name', { labels: { 'a b': '' } }, /^labels: "a b" is not/],
    ['a label with an operator in it', { labels: { 'a!': '' } }, /none of = ! < >/],
    ['a label of several lines', { labels: { a: 'x\ny' } }, /^labels: the value of "a" .*control/],
    [
      'an endless label',
      { labels: { ['a'.repeat(254)]: '' } },
      /^labels: "a{57}…" is not the name/,
    ],
    ['an endless value', { labels: { a: 'x'.repeat(1025) } }, /longer than 1024/],
    [
      'endless labels',
      { labels: Object.fromEntries(Array.from({ length: 201 }, (_, i) => [`l${i}`, ''])) },
      /^labels: 201 are more than the 200/,
    ],
    ['a taint without a key', { taints: [taint('')] }, /^taints\[0\].key: "" is not the key/],
    ['a taint that is two words', { taints: [taint('a:b')] }, /^taints\[0\].key: "a:b" is not/],
    ['a value that is two words', { taints: [taint('a', 'b c')] }, /^taints\[0\].value: "b c"/],
    [
      'a taint twice',
      { taints: [taint('gpu', 'a'), taint('gpu', 'b')] },
      /^taints\[1\]: there is another taint "gpu" with the effect no-schedule/,
    ],
    [
      'endless taints',
      { taints: Array.from({ length: 51 }, (_, i) => taint(`t${i}`)) },
      /^taints: 51 are more than the 50/,
    ],
    [
      'another role, as yet',
      { role: NodeRole.MANAGER },
      /^role: w1 is a worker and cannot become a manager: a cluster cannot change .*unimplemented/,
    ],
  ];
  for (const [name, some, said] of wrong) {
    it(`may not have ${name}`, () => {
      const found = problems(some);
      assert.equal(found.length, 1, found.join('\n'));
      assert.match(found[0] ?? '', said);
    });
  }

  it('says all that is wrong at once', () => {
    const some = {
      name: '-',
      role: NodeRole.MANAGER,
      labels: { '': '' },
      taints: [taint('', ' ')],
    };
    assert.deepEqual(
      problems(some).map((p) => p.slice(0, p.indexOf(':'))),
      ['role', 'name', 'labels', 'taints[0].key', 'taints[0].value'],
    );
  });

  it('leaves the cluster a manager', () => {
    const demoted = { role: NodeRole.WORKER };
    assert.match(
      problems(demoted, manager)[0] ?? '',
      /boss cannot become a worker: it is the only manager.*failed-precondition/,
    );
    const [one] = problems(demoted, manager, [worker, manager, second]);
    assert.match(one ?? '', /boss is a manager and cannot become a worker.*unimplemented/);
  });
});
