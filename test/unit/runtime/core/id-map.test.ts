import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseSubordinateIds, planIdMap, planIdMappings } from '../../../../runtime/core/id-map.js';

const OFFERED = {
  uids: { firstId: 100_000, count: 65_536 },
  gids: { firstId: 200_000, count: 65_536 },
};
const OWN = { pid: 'own', network: 'own' } as const;

describe('users of a container', () => {
  it('are the first subordinate ids of the first user that has some', () => {
    const text = [
      'anna:100000:65536',
      '# hatoba:1:1',
      'dockremap:165536:65536',
      'hatoba:x:65536',
      'hatoba:0:65536',
      'hatoba:4294967290:65536',
      'hatoba:231072:65536',
      'hatoba:1:1',
      '',
    ].join('\n');
    const names = ['hatoba', 'dockremap'];
    assert.deepEqual(parseSubordinateIds(text, names), { firstId: 231_072, count: 65_536 });
    assert.deepEqual(parseSubordinateIds(text, ['dockremap']), { firstId: 165_536, count: 65_536 });
    assert.equal(parseSubordinateIds(text, ['nobody']), undefined);
  });

  it('never come from outside of all ids, whatever the file says', () => {
    const line = fc.tuple(fc.constantFrom('hatoba', 'x', ''), fc.integer(), fc.maxSafeNat());
    fc.assert(
      fc.property(fc.array(fc.oneof(line, fc.string())), (lines) => {
        const text = lines.map((l) => (typeof l === 'string' ? l : l.join(':'))).join('\n');
        const range = parseSubordinateIds(text, ['hatoba']);
        if (range === undefined) return;
        assert.ok(range.firstId > 0 && range.count > 0);
        assert.ok(range.firstId + range.count <= 0xffff_ffff);
      }),
    );
  });

  it("are the machine's unless asked for", () => {
    for (const usernsMode of ['', 'host']) {
      assert.equal(planIdMap({ usernsMode, privileged: true }, OWN, OFFERED), undefined);
    }
    const spec = { usernsMode: 'remap', privileged: false };
    assert.equal(planIdMap(spec, OWN, OFFERED), OFFERED);
    assert.equal(planIdMap(spec, { ...OWN, pid: { container: 'a' } }, OFFERED), OFFERED);
  });

  const refused = [
    { spec: { usernsMode: 'keep-id', privileged: false }, modes: OWN, message: /"keep-id"/ },
    { spec: { usernsMode: 'remap', privileged: true }, modes: OWN, message: /privileged/ },
    {
      spec: { usernsMode: 'remap', privileged: false },
      modes: { ...OWN, pid: 'host' as const },
      message: /host's pid namespace/,
    },
    {
      spec: { usernsMode: 'remap', privileged: false },
      modes: { ...OWN, network: 'host' as const },
      message: /host's network namespace/,
    },
  ];
  for (const { spec, modes, message } of refused) {
    it(`are refused: ${message.source}`, () => {
      assert.throws(() => planIdMap(spec, modes, OFFERED), { kind: 'invalid-argument', message });
    });
  }

  it('are given to the OCI runtime as mappings', () => {
    assert.deepEqual(planIdMappings(OFFERED), {
      uidMappings: [{ containerID: 0, hostID: 100_000, size: 65_536 }],
      gidMappings: [{ containerID: 0, hostID: 200_000, size: 65_536 }],
    });
  });
});
