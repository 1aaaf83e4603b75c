import assert from 'node:assert/strict';
import {
  planForward,
  TRAFFIC,
  USER_CHAIN,
  type ForeignChain,
  type ForeignRule,
} from '../../../../overlay-net/core/foreign-forward.js';

const chain = (
  name: string,
  policy: ForeignChain['policy'] | undefined,
  ...rules: Omit<ForeignRule, 'handle'>[]
): ForeignChain => ({
  name,
  ...(policy === undefined ? {} : { policy }),
  rules: rules.map((rule, i) => ({ handle: 10 + i, ...rule })),
});
const OURS = TRAFFIC.map((ours) => ({ ours }));
const TO_USER = { jump: USER_CHAIN };
const removalsOf = (name: string, ...handles: number[]): { chain: string; handle: number }[] =>
  handles.map((handle) => ({ chain: name, handle }));

describe('rules in the forward chains of others', () => {
  const cases: {
    name: string;
    base: ForeignChain;
    user?: ForeignChain;
    expected: ReturnType<typeof planForward>;
  }[] = [
    {
      name: 'are not needed where what is unknown passes',
      base: chain('FORWARD', 'accept', {}),
      expected: { removed: [] },
    },
    {
      name: 'go to the head of a chain that drops',
      base: chain('FORWARD', 'drop', {}, {}),
      expected: { removed: [], added: { chain: 'FORWARD', before: 10 } },
    },
    {
      name: 'are all there is in an empty one',
      base: chain('FORWARD', 'drop'),
      expected: { removed: [], added: { chain: 'FORWARD', before: undefined } },
    },
    {
      name: 'are needed where the last rule refuses the rest',
      base: chain('FORWARD', 'accept', {}, { verdict: 'refuse' }),
      expected: { removed: [], added: { chain: 'FORWARD', before: 10 } },
    },
    {
      name: "go behind the user's own rules in the chain made for them",
      base: chain('FORWARD', 'drop', TO_USER, {}),
      user: chain(USER_CHAIN, undefined, { verdict: 'refuse' }, {}, { verdict: 'return' }),
      expected: { removed: [], added: { chain: USER_CHAIN, before: 12 } },
    },
    {
      name: 'go to the end of it where it has none',
      base: chain('FORWARD', 'drop', TO_USER),
      user: chain(USER_CHAIN, undefined),
      expected: { removed: [], added: { chain: USER_CHAIN, before: undefined } },
    },
    {
      name: 'are of no use in a chain that nothing leads to',
      base: chain('FORWARD', 'drop', {}),
      user: chain(USER_CHAIN, undefined, ...OURS),
      expected: {
        removed: removalsOf(USER_CHAIN, 10, 11, 12, 13),
        added: { chain: 'FORWARD', before: 10 },
      },
    },
    {
      name: 'stay as they are',
      base: chain('FORWARD', 'drop', ...OURS, {}),
      expected: { removed: [] },
    },
    {
      name: 'are put anew when one is missing or doubled',
      base: chain('FORWARD', 'drop', { ours: 'in hb' }, { ours: 'in hb' }, {}),
      expected: {
        removed: removalsOf('FORWARD', 10, 11),
        added: { chain: 'FORWARD', before: 12 },
      },
    },
    {
      name: 'are removed when they are needed no more, those of other versions too',
      base: chain('FORWARD', 'accept', ...OURS, { ours: 'other' }, {}),
      expected: { removed: removalsOf('FORWARD', 10, 11, 12, 13, 14) },
    },
  ];
  for (const { name, base, user, expected } of cases) {
    it(name, () => assert.deepEqual(planForward(base, user), expected));
  }
});
