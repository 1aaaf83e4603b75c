import assert from 'node:assert/strict';
import { withTaintTimes } from '../../../../manager/core/node-taints.js';
import { TaintEffect, type Taint } from '../../../../proto/gen/hatoba/v1/types.js';
import { aNode } from '../../../support/builders.js';

describe('taints of a node', () => {
  const { NO_EXECUTE, NO_SCHEDULE } = TaintEffect;
  const taint = (value: string, addedAtMs: number, effect: TaintEffect = NO_EXECUTE): Taint => ({
    ...{ key: 'disk', value, effect, addedAtMs },
  });

  it('are dated when they come, and keep that date', () => {
    const { spec } = aNode({ spec: { taints: [taint('slow', 100)] } });
    const next = {
      ...spec,
      taints: [taint('slow', 0), taint('broken', 0), taint('slow', 7, NO_SCHEDULE)],
    };
    assert.deepEqual(withTaintTimes(spec, next, 500).taints, [
      taint('slow', 100),
      taint('broken', 500),
      taint('slow', 500, NO_SCHEDULE),
    ]);
  });
});
