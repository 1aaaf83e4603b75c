import assert from 'node:assert/strict';
import {
  eventFormat,
  isEventWanted,
  parseEventFilters,
  scopesOf,
  type Happened,
} from '../../../../cli/output/events.js';
import { EngineEvent } from '../../../../proto/gen/hatoba/v1/engine.js';
import { Event, EventType } from '../../../../proto/gen/hatoba/v1/types.js';

const START: Happened = {
  scope: 'node',
  event: EngineEvent.fromPartial({
    timeMs: 1_700_000_000_000,
    type: 'container',
    action: 'start',
    id: 'abc123',
    attributes: { image: 'web:1', name: 'web', tier: 'front' },
  }),
};
const FAILED: Happened = {
  scope: 'cluster',
  event: Event.fromPartial({
    ...{ kind: 'task', objectId: 'abc123', objectName: 'web.1' },
    ...{ type: EventType.WARNING, reason: 'Failed', message: 'exit code 1', count: 3 },
    ...{ firstAtMs: 1_699_999_999_000, lastAtMs: 1_700_000_000_000 },
    ...{ serviceId: 'serv1ce', nodeId: 'n0de1' },
  }),
};

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
      assert.equal(isEventWanted(START, parseEventFilters(filters)), isKept);
    });
  }

  const OF_CLUSTER: readonly [filters: string[], isKept: boolean][] = [
    [[], true],
    [['kind=task'], true],
    [['type=task'], true],
    [['type=warning'], true],
    [['type=normal'], false],
    [['event=failed'], true],
    [['event=Running', 'event=Failed'], true],
    [['service=web'], true],
    [['service=serv'], true],
    [['service=s'], false],
    [['task=web.1'], true],
    [['task=web.2'], false],
    [['node=n0de'], true],
    [['scope=swarm'], true],
    [['scope=local'], false],
    [['container=abc123'], false],
  ];
  for (const [filters, isKept] of OF_CLUSTER) {
    it(`of the cluster: ${filters.join(' ')} ${isKept ? 'keeps' : 'drops'} it`, () => {
      assert.equal(isEventWanted(FAILED, parseEventFilters(filters)), isKept);
    });
  }

  it('of the cluster are a line each, too', () => {
    assert.equal(
      eventFormat({ output: 'table' })(FAILED),
      '2023-11-14T22:13:20.000Z task web.1 Failed: exit code 1 (warning, 3 times)',
    );
    const format = '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.message}}';
    assert.equal(eventFormat({ output: '', format })(FAILED), 'task Failed web.1 exit code 1');
    const shown = JSON.parse(eventFormat({ output: 'json' })(FAILED)) as unknown;
    assert.deepEqual(shown, {
      ...{ time: '2023-11-14T22:13:20.000Z', scope: 'cluster', kind: 'task', type: 'warning' },
      ...{ reason: 'Failed', message: 'exit code 1', count: 3 },
      ...{ firstTime: '2023-11-14T22:13:19.000Z', id: 'abc123', name: 'web.1' },
      ...{ serviceId: 'serv1ce', nodeId: 'n0de1' },
    });
  });

  it('are asked for only where the filters leave some', () => {
    const scopes = (...filters: string[]): string =>
      scopesOf(parseEventFilters(filters)).join(' and ');
    assert.equal(scopes(), 'node and cluster');
    assert.equal(scopes('type=container'), 'node');
    assert.equal(scopes('type=container', 'type=warning'), 'node and cluster');
    assert.equal(scopes('container=web'), 'node');
    assert.equal(scopes('service=web'), 'cluster');
    assert.equal(scopes('scope=local'), 'node');
    assert.equal(scopes('kind=task', 'event=die'), 'cluster');
  });

  it('have no other filters', () => {
    const wrong = (filter: string) => () => parseEventFilters([filter]);
    assert.throws(wrong('colour=red'), /--filter takes type=, event=.*"colour=red"/);
    assert.throws(wrong('container'), /--filter takes/);
  });
});
