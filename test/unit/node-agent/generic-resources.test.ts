import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  genericResourceEnv,
  parseGenericResources,
} from '../../../node-agent/core/generic-resources.js';

describe('generic resources of a node', () => {
  const right: [words: string[], parsed: [kind: string, count: number, names: string[]][]][] = [
    [[], []],
    [['ssd=4'], [['ssd', 4, []]]],
    [['gpu=UUID1', 'ssd=4', 'gpu=UUID2'], [['gpu', 0, ['UUID1', 'UUID2']], ['ssd', 4, []]]],
    [['NVIDIA-GPU=GPU-5d1f:0'], [['NVIDIA-GPU', 0, ['GPU-5d1f:0']]]],
  ]; // prettier-ignore
  for (const [words, parsed] of right) {
    it(`reads ${JSON.stringify(words)}`, () => {
      assert.deepEqual(
        parseGenericResources(words),
        parsed.map(([kind, count, names]) => ({ kind, count, names })),
      );
    });
  }

  const wrong: [words: string[], said: RegExp][] = [
    [['gpu'], /"gpu" is not KIND=COUNT or KIND=NAME/],
    [['=4'], /"=4" is not/],
    [['gpu='], /"gpu=" is not/],
    [['a b=4'], /"a b=4" is not/],
    [['ssd=0'], /"ssd=0": is no count above 0/],
    [['ssd=99999999999999999999'], /is no count above 0/],
    [['ssd=1', 'ssd=2'], /"ssd=2": ssd is counted already/],
    [['gpu=a', 'gpu=a'], /"gpu=a": there is a gpu of this name already/],
    [['gpu=a', 'gpu=2'], /"gpu=2": other gpus have names, so this needs one, too/],
    [['gpu=2', 'gpu=a'], /"gpu=a": gpu is counted already, so it has no names/],
  ];
  for (const [words, said] of wrong) {
    it(`refuses ${JSON.stringify(words)}`, () => {
      assert.throws(() => parseGenericResources(words), said);
    });
  }

  it('says all that is wrong at once', () => {
    assert.throws(() => parseGenericResources(['x', 'ssd=1', 'y']), {
      kind: 'invalid-argument',
      message: /^nodeGenericResources: "x" is not .*\nnodeGenericResources: "y" is not/,
    });
  });

  it('are told to a container as Swarm tells them', () => {
    const given = [
      { kind: 'ssd', count: 2, names: [] },
      { kind: 'gpu', count: 0, names: ['UUID2', 'UUID1'] },
      { kind: 'none', count: 0, names: [] },
    ];
    assert.deepEqual(genericResourceEnv(given), [
      'DOCKER_RESOURCE_GPU=UUID2,UUID1',
      'DOCKER_RESOURCE_SSD=2',
    ]);
  });

  it('are all in the environment, none twice', () => {
    const kind = fc.constantFrom('gpu', 'ssd', 'fpga');
    const name = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/);
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(kind, name), { selector: String }), (all) => {
        const parsed = parseGenericResources(all.map(([k, n]) => `${k}=${n}`));
        const told = genericResourceEnv(parsed).flatMap((line) => {
          const [key = '', values = ''] = line.split('=');
          const of = key.slice('DOCKER_RESOURCE_'.length).toLowerCase();
          return values.split(',').map((value) => `${of},${value}`);
        });
        assert.deepEqual(told.sort(), all.map(String).sort());
      }),
    );
  });
});
