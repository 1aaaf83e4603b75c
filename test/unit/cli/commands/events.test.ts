import assert from 'node:assert/strict';
import { readAll, type Source } from '../../../../cli/commands/events.js';
import type { Happened } from '../../../../cli/output/events.js';
import { HatobaError, type ErrorKind } from '../../../../common/errors.js';
import { Event } from '../../../../proto/gen/hatoba/v1/types.js';

const SPAN = { sinceMs: 0, untilMs: 1 };

function telling(message: string): Source {
  return (_, onEvent) => {
    onEvent({ scope: 'cluster', event: Event.fromPartial({ message }) });
    return Promise.resolve();
  };
}

function failing(kind: ErrorKind): Source {
  return () => Promise.reject(new HatobaError(kind, `it is ${kind}`));
}

describe('events of several sources', () => {
  const read = async (...sources: Source[]): Promise<{ heard: number; left: Source[] }> => {
    const heard: Happened[] = [];
    const left = await readAll(sources, SPAN, (happened) => heard.push(happened));
    return { heard: heard.length, left };
  };

  it('are all heard', async () => {
    const sources = [telling('a'), telling('b')];
    assert.deepEqual(await read(...sources), { heard: 2, left: sources });
  });

  it('are heard where one has none to tell, and that one is not asked again', async () => {
    const there = telling('a');
    assert.deepEqual(await read(failing('unavailable'), there), { heard: 1, left: [there] });
  });

  it('fail when all fail, and when the user has had enough', async () => {
    const down = failing('unavailable');
    await assert.rejects(read(down, failing('unavailable')), { kind: 'unavailable' });
    await assert.rejects(read(telling('a'), failing('cancelled')), { kind: 'cancelled' });
  });
});
