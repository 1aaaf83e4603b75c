import assert from 'node:assert/strict';
import { eventFilter, eventFormat } from '../../../../cli/output/events.js';
import { EngineEvent } from '../../../../proto/gen/hatoba/v1/engine.js';

const START = EngineEvent.fromPartial({
  timeMs: 1_700_000_000_000,
  type: 'container',
  action: 'start',
  id: 'abc123',
  attributes: { image: 'web:1', name: 'web', tier: 'front' },
});

describe('events', () => {
  it('are a line each: by default, by a template, as JSON', () => {
    assert.equal(
      eventFormat({ output: 'table' })(START),
      '2023-11-14T22:13:20.000Z container start abc123 (image=web:1, name=web, tier=front)',
    );
    const format = '{{.Time}} {{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}';
    assert.equal(eventFormat({ output: 'table', format })(START), '1700000000 container start abc123 web'); // prettier-ignore
    assert.match(eventFormat({ output: 'json' })(START), /"time":"2023-11-14T22:13:20.000Z"/);
  });

  const FILTERS: readonly [filters: string[], isKept: boolean][] = [
    [[], true],
    [['type=container'], true],
    [['type=image'], false],
    [['event=die', 'event=start'], true],
    [['event=die', 'type=container'], false],
    [['container=web'], true],
    [['container=abc'], true],
    [['container=db'], false],
    [['image=web:1'], true],
    [['label=tier'], true],
    [['label=tier=back'], false],
    [['volume=web'], false],
  ];
  for (const [filters, isKept] of FILTERS) {
    it(`${filters.join(' ')} ${isKept ? 'keeps' : 'drops'} it`, () => {
      assert.equal(eventFilter(filters)(START), isKept);
    });
  }

  it('have no other filters', () => {
    assert.throws(() => eventFilter(['colour=red']), /--filter takes type=, event=.*"colour=red"/);
    assert.throws(() => eventFilter(['container']), /--filter takes/);
  });
});
