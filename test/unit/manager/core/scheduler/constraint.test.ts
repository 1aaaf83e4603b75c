import assert from 'node:assert/strict';
import type { HatobaError } from '../../../../../common/errors.js';
import {
  brokenConstraints,
  constraintsOf,
  fitsPlacement,
  matchesConstraint,
  parseConstraint,
} from '../../../../../manager/core/scheduler/constraint.js';
import { NodeRole, Placement } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode } from '../../../../support/builders.js';

const node = aNode({
  id: 'n1',
  spec: { labels: { zone: 'A', empty: '', cores: '8', size: 'big' }, role: NodeRole.MANAGER },
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
    ['node.ip in (192.168.0.0/16, 10.0.0.0/24)', true],
    ['node.labels.zone in (a, b)', true],
    ['node.labels.zone in (b)', false],
    ['node.labels.zone not in (b, c)', true],
    ['node.labels.zone  not  in ( a , c )', false],
    ['node.labels.missing not in (a)', true],
    ['node.platform.arch in (arm64, x86_64)', true],
    ['node.labels.zone exists', true],
    ['node.labels.empty exists', true],
    ['node.labels.missing exists', false],
    ['node.labels.missing not exists', true],
    ['engine.labels.disk not exists', false],
    ['node.labels.cores > 7.5', true],
    ['node.labels.cores>8', false],
    ['node.labels.cores < 16', true],
    ['node.labels.size < 16', false],
    ['node.labels.missing < 16', false],
    ['node.labels.empty > -1', false],
  ];
  for (const [expression, matches] of cases) {
    it(`${expression} is ${matches}`, () => {
      assert.equal(matchesConstraint(parseConstraint(expression), node), matches);
    });
  }

  const refused: readonly [string, RegExp][] = [
    ['', /is not of the form KEY==VALUE/],
    ['node.id', /is not of the form/],
    ['node.id=n1', /is not of the form/],
    ['node.labels.zone in a, b', /"KEY in \(A, B\)"/],
    ['node.colour==red', /has the unknown key "node.colour" \(known are node.id, /],
    ['node.labels.==a', /has the unknown key/],
    ['node.labels.zone in ()', /has an empty value in its list/],
    ['node.labels.zone in (a,,b)', /has an empty value in its list/],
    ['node.labels.cores < many', /compares with "many", which is no number/],
    ['node.labels.cores >= 4', /compares with "= 4", which is no number \(there is no <= or >=\)/],
    ['node.ip==10.0.0.0/33', /no IPv4 address or CIDR/],
    ['node.ip not in (10.0.0.0/8, x)', /compares node.ip with "x", which is no IPv4 address/],
  ];
  for (const [expression, why] of refused) {
    it(`refuses "${expression}" by name`, () => {
      assert.throws(
        () => parseConstraint(expression),
        (error: HatobaError) => {
          assert.equal(error.kind, 'invalid-argument');
          assert.ok(error.message.startsWith(`constraint "${expression}" `));
          assert.match(error.message, why);
          return true;
        },
      );
    });
  }

  it('of a placement are read once, however many nodes are asked about it', () => {
    const constraints = ['node.labels.zone==a', 'node.role == worker', 'node.labels.size exists'];
    const placement = Placement.fromPartial({ constraints });
    assert.equal(fitsPlacement(node, placement), false);
    const broken = brokenConstraints(node, placement).map((c) => c.expression);
    assert.deepEqual(broken, ['node.role == worker']);
    assert.equal(constraintsOf(placement), constraintsOf(placement));
    const other = Placement.fromPartial({ constraints: constraints.slice(0, 1) });
    assert.equal(fitsPlacement(node, other), true);
  });
});
