import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { NewEvent } from '../../../../manager/core/events/new-event.js';
import { eventFilter } from '../../../../manager/events/event-filter.js';
import { EVENT_LIFE_MS, EventLog } from '../../../../manager/events/event-log.js';
import { MAX_WAITING_EVENTS, readEvents } from '../../../../manager/events/follow-events.js';
import { Event, EventType } from '../../../../proto/gen/hatoba/v1/types.js';

function aNewEvent(some: Partial<NewEvent> = {}): NewEvent {
  return {
    ...{ kind: 'task', objectId: 'id-1', objectName: 'web.1', serviceId: 'id-web', nodeId: 'n1' },
    ...{ type: EventType.WARNING, reason: 'Failed', message: 'exit code 1', atMs: 0 },
    ...some,
  };
}

const request = { kind: '', object: '', sinceMs: 0, follow: false };
const never = (): boolean => false;

describe('the log of events', () => {
  it('counts equal ones, of the tasks of one place together', () => {
    const log = new EventLog();
    log.record(aNewEvent(), 10);
    log.record(aNewEvent({ objectId: 'id-2' }), 20);
    log.record(aNewEvent({ objectId: 'id-3' }), 30);
    const [event, ...others] = log.list();
    assert.deepEqual(others, []);
    assert.deepEqual(
      [event?.count, event?.firstAtMs, event?.lastAtMs, event?.objectId],
      [3, 10, 30, 'id-3'],
    );
  });

  it('tells apart what differs in anything else', () => {
    const log = new EventLog();
    const all: Partial<NewEvent>[] = [
      {},
      { objectName: 'web.2' },
      { serviceId: 'id-other' },
      { nodeId: 'n2' },
      { type: EventType.NORMAL },
      { reason: 'Rejected' },
      { message: 'exit code 2' },
      { kind: 'service' },
      { kind: 'service', objectId: 'id-2' },
    ];
    for (const some of all) log.record(aNewEvent(some), 1);
    assert.equal(log.list().length, all.length);
    assert.ok(log.list().every((e) => e.count === 1));
  });

  it('lists by when it last happened, and forgets after an hour', () => {
    const log = new EventLog();
    for (const [i, message] of ['a', 'b', 'a'].entries()) log.record(aNewEvent({ message }), i);
    const messages = (sinceMs = 0): string[] => log.list(sinceMs).map((e) => e.message);
    assert.deepEqual(messages(), ['b', 'a']);
    assert.deepEqual(messages(2), ['a']);
    log.record(aNewEvent({ kind: 'node' }), EVENT_LIFE_MS + 2);
    assert.deepEqual(messages(), ['a', 'exit code 1']);
  });

  it('counts all, keeps the newest, and never more than its bounds (property)', () => {
    const step = fc.record({
      kind: fc.constantFrom('task', 'node'),
      object: fc.nat(6),
      passMs: fc.oneof(fc.nat(1000), fc.constant(EVENT_LIFE_MS / 2)),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 1, max: 4 }),
        (steps, max) => {
          const log = new EventLog({ maxOfKind: max });
          let nowMs = EVENT_LIFE_MS;
          const history: { key: string; kind: string; atMs: number }[] = [];
          for (const { kind, object, passMs } of steps) {
            nowMs += passMs;
            const name = `${kind}-${object}`;
            log.record(aNewEvent({ kind, objectId: name, objectName: name }), nowMs);
            history.push({ key: name, kind, atMs: nowMs });
          }
          const events = log.list();
          for (const kind of ['task', 'node']) {
            const recent = history.filter(
              (h) => h.kind === kind && h.atMs >= nowMs - EVENT_LIFE_MS,
            );
            const newest = [...new Set(recent.toReversed().map((h) => h.key))].slice(0, max);
            const kept = events.filter((e) => e.kind === kind).map((e) => e.objectName);
            assert.deepEqual(kept.toReversed(), newest);
          }
          for (const event of events) {
            const times = history.filter((h) => h.key === event.objectName).map((h) => h.atMs);
            assert.equal(event.lastAtMs, times.at(-1));
            assert.ok(event.count <= times.length && times.at(-event.count) === event.firstAtMs);
          }
        },
      ),
    );
  });
});

describe('a filter of events', () => {
  const of = (some: Partial<Event>): Event => Event.fromPartial({ ...aNewEvent(), ...some });
  const task = of({});
  const service = of({ kind: 'service', objectId: 'id-web', objectName: 'web', serviceId: '' });
  const node = of({ kind: 'node', objectId: 'idn', objectName: 'n1', serviceId: '' });
  const cases: readonly [string, string, boolean, Event[]][] = [
    ['', '', false, [task, service, node]],
    ['task', '', false, [task]],
    ['', 'web', true, [task, service]],
    ['service', 'web', true, [service]],
    ['', 'web.1', true, [task]],
    ['', 'id-web', false, [task, service]],
    ['', 'id-w', false, [task, service]],
    ['', 'id-1', false, [task]],
    ['', 'id', false, [task, service, node]],
    ['', 'id', true, []],
    ['', 'n1', true, [node]],
    ['node', 'web', true, []],
  ];
  for (const [kind, object, isName, expected] of cases) {
    it(`of kind "${kind}" and object "${object}"${isName ? ', a name' : ''}`, () => {
      const kept = [task, service, node].filter(eventFilter({ kind, object }, isName));
      assert.deepEqual(kept, expected);
    });
  }
});

describe('reading events', () => {
  const messages = async (events: AsyncIterable<Event>): Promise<string[]> => {
    const read: string[] = [];
    for await (const { message, count } of events) read.push(`${message} ${count}`);
    return read;
  };

  it('ends with the known ones, unless it follows', async () => {
    const log = new EventLog();
    for (const [i, message] of ['a', 'b', 'a'].entries()) log.record(aNewEvent({ message }), i);
    const { signal } = new AbortController();
    assert.deepEqual(await messages(readEvents(log, request, never, signal)), ['b 1', 'a 2']);
    const late = { ...request, sinceMs: 2 };
    assert.deepEqual(await messages(readEvents(log, late, never, signal)), ['a 2']);
  });

  it('follows, and gives who reads slowly the latest count only', async () => {
    const log = new EventLog();
    log.record(aNewEvent({ message: 'known' }), 1);
    const end = new AbortController();
    const reader = readEvents(log, { ...request, follow: true }, never, end.signal);
    const next = async (): Promise<string | undefined> => (await reader.next()).value?.message;
    assert.equal(await next(), 'known');
    for (let i = 0; i < 5; i++) log.record(aNewEvent({ message: 'again' }), i);
    log.record(aNewEvent({ message: 'other' }), 9);
    const again = await reader.next();
    assert.deepEqual([again.value?.message, again.value?.count], ['again', 5]);
    assert.equal(await next(), 'other');
    const waiting = next();
    log.record(aNewEvent({ message: 'late' }), 10);
    assert.equal(await waiting, 'late');
    const last = reader.next();
    end.abort();
    assert.equal((await last).done, true);
  });

  it('ends for a reader that is too slow', async () => {
    const log = new EventLog();
    const reader = readEvents(
      log,
      { ...request, follow: true },
      never,
      new AbortController().signal,
    );
    const first = reader.next();
    log.record(aNewEvent({ message: 'first' }), 0);
    await first;
    for (let i = 0; i <= MAX_WAITING_EVENTS; i++) log.record(aNewEvent({ message: `m${i}` }), i);
    await assert.rejects(reader.next(), { kind: 'resource-exhausted' });
  });
});
