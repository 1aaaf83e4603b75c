import assert from 'node:assert/strict';
import fc from 'fast-check';
import { checkVolumeName, planVolumeMount } from '../../../../runtime/core/volume-options.js';

describe("options of a volume's driver", () => {
  it('are nothing for a folder of its own', () => {
    assert.equal(planVolumeMount('v', {}), undefined);
  });

  it('are what mount takes', () => {
    assert.deepEqual(planVolumeMount('v', { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=3' }), {
      type: 'tmpfs',
      device: 'tmpfs',
      options: ['size=1m', 'uid=3'],
    });
    assert.deepEqual(planVolumeMount('v', { type: 'none', device: '/srv', o: 'bind,ro' }), {
      type: 'none',
      device: '/srv',
      options: ['bind', 'ro'],
    });
    assert.deepEqual(
      planVolumeMount('v', { type: 'nfs', device: ':/x', o: 'addr=10.0.0.1' })?.options,
      ['addr=10.0.0.1'],
    );
  });

  const wrong: [Record<string, string>, RegExp][] = [
    [{ size: '1m' }, /"size" is none of type, device, o/],
    [{ device: '/srv', o: 'bind' }, /"type" is missing/],
    [{ type: 'tmpfs' }, /"device" is missing/],
    [{ type: 'none', device: 'srv', o: 'bind' }, /absolute/],
    [{ type: 'none', device: '/srv' }, /o=bind/],
  ];
  for (const [options, message] of wrong) {
    it(`refuse ${JSON.stringify(options)}`, () => {
      assert.throws(() => planVolumeMount('v', options), { kind: 'invalid-argument', message });
    });
  }

  it('never make a name a path', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.constantFrom('.', '..', 'a/b', '.new-x', '')),
        (name) => {
          try {
            checkVolumeName(name);
          } catch {
            return;
          }
          assert.match(name, /^[a-zA-Z0-9]/);
          assert.ok(!name.includes('/') && !name.includes('\0'));
        },
      ),
    );
  });
});
