import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import { digestOfHex } from '../../../../runtime/core/digest.js';
import {
  planRemoval,
  type ImageUser,
  type Removal,
} from '../../../../runtime/core/image-removal.js';

const ID = digestOfHex('1'.repeat(64));
const WEB1 = 'docker.io/library/web:1';
const WEB2 = 'docker.io/library/web:2';
const OTHER = '127.0.0.1:5000/team/web:1';
const DIGEST = `docker.io/library/web@sha256:${'d'.repeat(64)}`;
const STOPPED: ImageUser = { container: 'old', isRunning: false };
const RUNNING: ImageUser = { container: 'app', isRunning: true };

interface Case {
  name: string;
  by: string | undefined;
  has: string[];
  users?: ImageUser[];
  force?: boolean;
  gives: Removal | RegExp;
}

const cases: Case[] = [
  { name: 'one of two tags', by: WEB1, has: [WEB1, WEB2], gives: keep(WEB1) },
  {
    name: 'one of two tags of a used image',
    by: WEB1,
    has: [WEB1, WEB2],
    users: [RUNNING],
    gives: keep(WEB1),
  },
  { name: 'the last tag', by: WEB1, has: [WEB1], gives: all(WEB1) },
  {
    name: 'the last tag, and the digest with it',
    by: WEB1,
    has: [WEB1, DIGEST],
    gives: all(WEB1, DIGEST),
  },
  {
    name: 'a tag beside a digest of another name',
    by: OTHER,
    has: [OTHER, DIGEST],
    gives: keep(OTHER),
  },
  { name: 'a digest beside its tag', by: DIGEST, has: [WEB1, DIGEST], gives: keep(DIGEST) },
  {
    name: 'the last tag of a used image',
    by: WEB1,
    has: [WEB1],
    users: [STOPPED],
    gives: /image "web:1" is used by container old/,
  },
  {
    name: 'the last tag of a used image by force',
    by: WEB1,
    has: [WEB1],
    users: [RUNNING],
    force: true,
    gives: keep(WEB1),
  },
  { name: 'an id with one tag', by: undefined, has: [WEB1, DIGEST], gives: all(WEB1, DIGEST) },
  { name: 'an id without names', by: undefined, has: [], gives: all() },
  {
    name: 'an id with two tags',
    by: undefined,
    has: [WEB1, WEB2],
    gives: /several names \(web:1, web:2\)/,
  },
  {
    name: 'an id with two repositories',
    by: undefined,
    has: [OTHER, DIGEST],
    gives: /several names/,
  },
  {
    name: 'an id with two tags by force',
    by: undefined,
    has: [WEB1, OTHER],
    force: true,
    gives: all(WEB1, OTHER),
  },
  {
    name: 'an id of a stopped container',
    by: undefined,
    has: [WEB1],
    users: [STOPPED],
    gives: /used by container old/,
  },
  {
    name: 'an id of a stopped container by force',
    by: undefined,
    has: [WEB1],
    users: [STOPPED],
    force: true,
    gives: keep(WEB1),
  },
  {
    name: 'an id of a running container by force',
    by: undefined,
    has: [WEB1],
    users: [STOPPED, RUNNING],
    force: true,
    gives: /container app \(running\).*by force/,
  },
];

function keep(...untag: string[]): Removal {
  return { untag, deletesImage: false };
}

function all(...untag: string[]): Removal {
  return { untag, deletesImage: true };
}

describe('planning the removal of an image', () => {
  for (const { name, by, has, users = [], force = false, gives } of cases) {
    it(name, () => {
      const plan = (): Removal =>
        planRemoval({ id: ID, reference: by, references: has, users, force });
      if (gives instanceof RegExp)
        assert.throws(plan, { kind: 'failed-precondition', message: gives });
      else assert.deepEqual(plan(), gives);
    });
  }

  it('never deletes an image that is used or still named; by force only a running one refuses', () => {
    const names = [WEB1, WEB2, OTHER, DIGEST];
    const request = fc
      .record({
        references: fc.subarray(names),
        byId: fc.boolean(),
        pick: fc.nat(3),
        users: fc.subarray([STOPPED, RUNNING]),
        force: fc.boolean(),
      })
      .map(({ byId, pick, ...rest }) => ({
        ...rest,
        id: ID,
        reference: byId ? undefined : rest.references[pick % Math.max(1, rest.references.length)],
      }));
    fc.assert(
      fc.property(request, (asked) => {
        try {
          const { untag, deletesImage } = planRemoval(asked);
          assert.ok(untag.every((key) => asked.references.includes(key)));
          const isNamed = untag.length < asked.references.length;
          if (deletesImage) assert.ok(!isNamed && asked.users.length === 0);
          else assert.ok(isNamed || asked.users.length > 0);
          if (asked.reference !== undefined) assert.ok(untag.includes(asked.reference));
        } catch (error) {
          if (!(error instanceof HatobaError)) throw error;
          if (asked.force)
            assert.ok(asked.users.includes(RUNNING) && asked.reference === undefined);
        }
      }),
    );
  });
});
