import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Task } from '../../../../common/model/objects.js';
import { decodeObject, encodeObject } from '../../../../manager/store/codec.js';
import { deepFreeze } from '../../../../manager/store/freeze.js';
import { Task as Message, TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aTask } from '../../../support/builders.js';

const tasks = fc
  .record({
    slot: fc.nat(9),
    image: fc.string({ maxLength: 40 }),
    // lengths of one, two and three bytes
    env: fc.oneof(
      fc.array(fc.string(), { maxLength: 3 }),
      fc.constant(Array.from({ length: 2000 }, (_, i) => `SETTING_${i}=${'x'.repeat(9)}`)),
    ),
    labels: fc.dictionary(fc.string(), fc.string(), { maxKeys: 2 }),
    state: fc.constantFrom(...Object.values(TaskState)),
  })
  .map(({ slot, image, env, labels, state }) =>
    aTask({
      slot,
      serviceLabels: labels,
      spec: { containerSpec: { image, env } },
      status: { state, message: 'said' },
    }),
  );

function stored(task: Task): Task {
  return decodeObject('task', encodeObject('task', task), task.version);
}

describe('stored tasks', () => {
  it('come back as they were, beside others of other specs', () => {
    fc.assert(
      fc.property(fc.array(tasks, { maxLength: 5 }), (all) => {
        assert.deepEqual(all.map(stored), all);
      }),
    );
  });

  it('are messages that every decoder of the model reads', () => {
    fc.assert(
      fc.property(tasks, (task) => {
        const message = Message.decode(encodeObject('task', task));
        assert.deepEqual(message, { ...Message.fromPartial(task), version: 0 });
      }),
    );
  });

  it('are read as older versions wrote them', () => {
    fc.assert(
      fc.property(tasks, (task) => {
        const bytes = Message.encode({ ...task, version: 0 }).finish();
        assert.deepEqual(decodeObject('task', bytes, task.version), task);
      }),
    );
  });

  it('share what they have in common in memory', () => {
    const spec = { containerSpec: { image: 'shared:1', env: ['A=1'] } };
    const one = stored(aTask({ slot: 1, spec }));
    const two = stored(aTask({ slot: 2, spec }));
    const other = stored(aTask({ slot: 3, spec: { containerSpec: { image: 'shared:2' } } }));
    assert.equal(one.spec, two.spec);
    assert.equal(other.spec.containerSpec.image, 'shared:2');
    assert.ok(Object.isFrozen(one.spec.containerSpec.env));
  });

  it('are written as their spec is now, where it can still change', () => {
    const task = aTask();
    encodeObject('task', task);
    task.spec.containerSpec.image = 'web:2';
    assert.equal(stored(task).spec.containerSpec.image, 'web:2');
    const frozen = deepFreeze(aTask({ spec: { containerSpec: { image: 'web:3' } } }));
    assert.deepEqual(encodeObject('task', frozen), encodeObject('task', frozen));
    assert.deepEqual(stored(frozen), frozen);
  });

  it('that are cut off or empty are refused', () => {
    const bytes = encodeObject('task', aTask());
    assert.throws(
      () => decodeObject('task', bytes.subarray(0, 20), 7),
      /stored task of revision 7/,
    );
    assert.throws(() => decodeObject('task', new Uint8Array(), 7), /task\.spec is missing/);
  });
});
