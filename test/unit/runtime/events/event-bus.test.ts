import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logger.js';
import type { EngineEvent } from '../../../../runtime/engine.js';
import { EventBus, type NewEvent } from '../../../../runtime/events/event-bus.js';
import { FakeClock } from '../../../support/fake-clock.js';

const pull = (id: string): NewEvent => ({ type: 'image', action: 'pull', id, attributes: {} });

describe('the event bus', () => {
  it('adds the time and tells every listener, also when one of them fails', () => {
    const bus = new EventBus({ clock: new FakeClock(5), log: silentLogger });
    const heard: EngineEvent[] = [];
    bus.onEvent(() => {
      throw new Error('broken');
    });
    const end = bus.onEvent((event) => heard.push(event));
    bus.emit(pull('a'));
    end();
    bus.emit(pull('b'));
    assert.deepEqual(heard, [{ ...pull('a'), timeMs: 5 }]);
  });

  it('keeps the latest thousand, oldest first', () => {
    const bus = new EventBus({ clock: new FakeClock(0), log: silentLogger });
    for (let i = 0; i < 3500; i++) bus.emit(pull(String(i)));
    const ids = bus.recent().map((event) => event.id);
    assert.deepEqual([ids.length, ids[0], ids.at(-1)], [1000, '2500', '3499']);
  });
});
