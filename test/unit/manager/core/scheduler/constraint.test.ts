import assert from 'node:assert/strict';
import {
  matchesConstraint,
  parseConstraint,
} from '../../../../../manager/core/scheduler/constraint.js';
import { NodeRole } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode } from '../../../../support/builders.js';

const node = aNode({
  id: 'n1',
  spec: { labels: { zone: 'A', empty: '' }, role: NodeRole.MANAGER },
  description: {
    platform: { architecture: 'x86_64', os: 'linux' },
    engine: { labels: { disk: 'ssd' } },
  },
  status: { addr: '10.0.0.7' },
});

describe('placement constraints', () => {
  const cases: readonly [string, boolean][] = [
    ['node.hostname==n1', true],
    ['node.hostname != n1', false],
    ['node.id==N1', true],
    ['node.role==manager', true],
    ['node.role==worker', false],
    ['node.labels.zone==a', true],
    ['node.labels.zone!=b', true],
    ['node.labels.zone==ab', false],
    ['node.labels.missing==a', false],
    ['node.labels.missing!=a', true],
    ['engine.labels.disk==ssd', true],
    ['node.platform.os==Linux', true],
    ['node.platform.arch==amd64', true],
    ['node.platform.arch==x86_64', true],
    ['node.platform.arch==arm64', false],
    ['node.ip==10.0.0.7', true],
    ['node.ip==10.0.0.0/8', true],
    ['node.ip!=10.0.0.0/8', false],
    ['node.ip==192.168.0.0/16', false],
  ];
  for (const [expression, matches] of cases) {
    it(`${expression} is ${matches}`, () => {
      assert.equal(matchesConstraint(parseConstraint(expression), node), matches);
    });
  }

  for (const expression of ['', 'node.id', 'node.id=n1', 'node.colour==red', 'node.labels.==a']) {
    it(`refuses "${expression}" by name`, () => {
      assert.throws(() => parseConstraint(expression), {
        kind: 'invalid-argument',
        message: new RegExp(`^constraint "${expression}" `),
      });
    });
  }

  it('refuses an address that is none', () => {
    assert.throws(() => parseConstraint('node.ip==10.0.0.0/33'), /no IPv4 address or CIDR/);
  });
});
