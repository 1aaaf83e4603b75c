import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HatobaError } from '../../../../common/errors.js';
import { splitWords } from '../../../../runtime/core/dockerfile-words.js';
import { applyChanges } from '../../../../runtime/core/image-changes.js';

describe('Dockerfile words for an imported image', () => {
  const cases: { name: string; changes: string[]; gives: object }[] = [
    {
      name: 'exec form',
      changes: ['CMD ["nginx", "-g", "daemon off;"]'],
      gives: { Cmd: ['nginx', '-g', 'daemon off;'] },
    },
    {
      name: 'shell form',
      changes: ['cmd echo "hi $NAME"'],
      gives: { Cmd: ['/bin/sh', '-c', 'echo "hi $NAME"'] },
    },
    {
      name: 'what is nearly a list',
      changes: ['ENTRYPOINT [a, b]'],
      gives: { Entrypoint: ['/bin/sh', '-c', '[a, b]'] },
    },
    { name: 'an empty list', changes: ['ENTRYPOINT []'], gives: { Entrypoint: [] } },
    {
      name: 'ENV of old',
      changes: ['ENV GREETING hello  world'],
      gives: { Env: ['GREETING=hello  world'] },
    },
    {
      name: 'ENV pairs',
      changes: ['ENV A=1 B="two words" C=a\\ b', "ENV A='3'"],
      gives: { Env: ['A=3', 'B=two words', 'C=a b'] },
    },
    {
      name: 'variables',
      changes: [
        'ENV HOME=/srv',
        "ENV A=$HOME/x B=${HOME}y C=${NO:-none} D=${HOME:+yes} E='$HOME' F=\\$HOME",
        'WORKDIR $HOME/app',
      ],
      gives: {
        Env: ['HOME=/srv', 'A=/srv/x', 'B=/srvy', 'C=none', 'D=yes', 'E=$HOME', 'F=$HOME'],
        WorkingDir: '/srv/app',
      },
    },
    {
      name: 'EXPOSE',
      changes: ['EXPOSE 80 53/UDP 8000-8002'],
      gives: {
        ExposedPorts: {
          '80/tcp': {},
          '53/udp': {},
          '8000/tcp': {},
          '8001/tcp': {},
          '8002/tcp': {},
        },
      },
    },
    {
      name: 'LABEL',
      changes: ['LABEL a=1 "b c"="d e"', 'LABEL a=2'],
      gives: { Labels: { a: '2', 'b c': 'd e' } },
    },
    {
      name: 'VOLUME',
      changes: ['VOLUME /data /logs', 'VOLUME ["/with blank"]'],
      gives: { Volumes: { '/data': {}, '/logs': {}, '/with blank': {} } },
    },
    {
      name: 'WORKDIR goes on',
      changes: ['WORKDIR /a/b', 'WORKDIR ../c'],
      gives: { WorkingDir: '/a/c' },
    },
    {
      name: 'USER and STOPSIGNAL',
      changes: ['USER web:web', 'STOPSIGNAL SIGQUIT'],
      gives: { User: 'web:web', StopSignal: 'SIGQUIT' },
    },
    {
      name: 'HEALTHCHECK NONE',
      changes: ['HEALTHCHECK NONE'],
      gives: { Healthcheck: { Test: ['NONE'] } },
    },
    {
      name: 'HEALTHCHECK in shell form',
      changes: ['HEALTHCHECK --interval=1m30s --retries=3 CMD wget -q localhost'],
      gives: {
        Healthcheck: {
          Interval: 90_000_000_000,
          Retries: 3,
          Test: ['CMD-SHELL', 'wget -q localhost'],
        },
      },
    },
    {
      name: 'HEALTHCHECK in exec form',
      changes: ['HEALTHCHECK --timeout=5s --start-period=1s CMD ["/check", "me"]'],
      gives: {
        Healthcheck: {
          Timeout: 5_000_000_000,
          StartPeriod: 1_000_000_000,
          Test: ['CMD', '/check', 'me'],
        },
      },
    },
  ];
  for (const { name, changes, gives } of cases) {
    it(name, () => {
      assert.deepEqual(applyChanges(changes), gives);
    });
  }

  const wrong: [string, RegExp][] = [
    ['RUN rm -rf /', /change "RUN rm -rf \/": it must begin with one of CMD, ENTRYPOINT/],
    ['CMD', /nothing follows/],
    ['ENV A', /write A=value/],
    ['ENV A=1 B', /"B" is not NAME=value/],
    ['ENV A="open', /" is not closed/],
    ['ENV A=${B', /\$\{ is not closed/],
    ['EXPOSE 70000', /"70000" is no port/],
    ['EXPOSE 90-80', /"90-80" is no port/],
    ['STOPSIGNAL SIGNONE', /not a signal/],
    ['HEALTHCHECK --often=1s CMD x', /--interval=/],
    ['HEALTHCHECK --interval=soon CMD x', /not a duration/],
    ['HEALTHCHECK wget', /HEALTHCHECK wants NONE/],
    ['VOLUME [" "]', /empty path/],
  ];
  for (const [change, message] of wrong) {
    it(`refuses ${change}`, () => {
      assert.throws(() => applyChanges([change]), { kind: 'invalid-argument', message });
    });
  }

  it('any words that are quoted come back', () => {
    const quote = (word: string): string => `"${word.replace(/["\\$]/g, '\\$&')}"`;
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', minLength: 1 })), (words) => {
        assert.deepEqual(
          splitWords(words.map(quote).join(' \t'), () => 'no'),
          words,
        );
      }),
    );
  });

  it('any text gives a configuration or a refusal that names it', () => {
    const keywords = [
      'CMD',
      'ENTRYPOINT',
      'ENV',
      'EXPOSE',
      'HEALTHCHECK',
      'LABEL',
      'USER',
      'VOLUME',
    ];
    const piece = fc.oneof(
      fc.constantFrom(
        '"',
        "'",
        '\\',
        '$',
        '${',
        '}',
        ':-',
        '=',
        ' ',
        '[',
        ']',
        '--interval=',
        'CMD',
        '1-2',
      ),
      fc.string({ maxLength: 4 }),
    );
    const change = fc
      .tuple(fc.constantFrom(...keywords, '', 'ADD'), fc.array(piece, { maxLength: 12 }))
      .map(([word, pieces]) => `${word} ${pieces.join('')}`);
    fc.assert(
      fc.property(change, (text) => {
        try {
          JSON.stringify(applyChanges([text]));
        } catch (error) {
          assert.ok(error instanceof HatobaError && error.message.startsWith(`change "${text}"`));
        }
      }),
      { numRuns: 1000 },
    );
  });
});
