import assert from 'node:assert/strict';
import { encode } from 'dns-packet';
import { silentLogger } from '../../../../common/logger.js';
import type { Exchange, ExchangeEvents } from '../../../../overlay-net/dns/exchange.js';
import { Forwarder } from '../../../../overlay-net/dns/forwarder.js';
import { parseQuery, type Query } from '../../../../overlay-net/dns/query.js';
import { FakeClock } from '../../../support/fake-clock.js';

const A = '192.0.2.1';
const B = '192.0.2.2';
const C = '192.0.2.3';
/** Fails while it is being asked. */
const DEAD = '192.0.2.66';

function question(name = 'example.org'): Query {
  const message = encode({ type: 'query', id: 7, questions: [{ name, type: 'A' }] });
  return parseQuery(message) ?? assert.fail();
}

/** The answer to a question, with a response code. */
function answerTo({ message }: Query, rcode = 0): Buffer {
  const answer = Buffer.from(message);
  answer.writeUInt8(0x80, 2);
  answer.writeUInt8(rcode, 3);
  return answer;
}

describe('questions to other resolvers', () => {
  const query = question();
  let clock: FakeClock;
  let upstreams: readonly string[];
  /** Who was asked, in order. */
  let asked: string[];
  let open: Map<string, ExchangeEvents>;
  let forwarder: Forwarder;

  const exchange: Exchange = ({ address }, _message, events) => {
    asked.push(address);
    open.set(address, events);
    if (address === DEAD) events.onError(new Error('ENETUNREACH'));
    return () => void open.delete(address);
  };
  const ask = (address = '10.0.0.9', own?: readonly string[]): Promise<Buffer> =>
    forwarder.forward(query, 'udp', {
      address,
      ...(own === undefined ? {} : { upstreams: own }),
    });
  const answer = (address: string, rcode = 0): void => {
    const events = open.get(address) ?? assert.fail(`${address} is not being asked`);
    events.onMessage(answerTo(query, rcode));
  };
  const ends = { kind: 'unavailable' };

  beforeEach(() => {
    clock = new FakeClock();
    upstreams = [A, B];
    asked = [];
    open = new Map();
    forwarder = new Forwarder(
      { upstreams: () => upstreams, isOwn: (address) => address === '10.0.0.1' },
      { clock, logger: silentLogger, exchange },
    );
  });
  afterEach(() => {
    assert.equal(clock.pendingTimers, 0, 'timers are left');
    assert.equal(open.size, 0, 'sockets are left');
  });

  it('go to the first one', async () => {
    const result = ask();
    answer(A);
    assert.deepEqual(await result, answerTo(query));
    assert.deepEqual(asked, [A]);
  });

  it('go to the second one too after 300 ms; whoever answers first counts', async () => {
    const result = ask();
    await clock.advance(299);
    assert.deepEqual(asked, [A]);
    await clock.advance(1);
    assert.deepEqual(asked, [A, B]);
    answer(B);
    await result;
  });

  it('go on at once from one that refuses the connection, or knows no help', async () => {
    const refused = ask();
    open.get(A)?.onError(new Error('ECONNREFUSED'));
    answer(B);
    await refused;
    for (const rcode of [2, 5]) {
      asked = [];
      upstreams = [B, C];
      const result = ask();
      answer(B, rcode);
      answer(C);
      assert.deepEqual(await result, answerTo(query));
      assert.deepEqual(asked, [B, C]);
    }
  });

  it('go on, and leave no socket, when there is no way to one', async () => {
    upstreams = [DEAD, B];
    const result = ask();
    answer(B);
    await result;
    upstreams = [DEAD];
    await assert.rejects(ask(), ends);
    assert.deepEqual(asked, [DEAD, B, DEAD]);
  });

  it('end with what the resolvers say when none knows help', async () => {
    const result = ask();
    answer(A, 2);
    answer(B, 5);
    assert.deepEqual(await result, answerTo(query, 2));
  });

  it('take "no such name" for an answer', async () => {
    const result = ask();
    answer(A, 3);
    assert.deepEqual(await result, answerTo(query, 3));
    assert.deepEqual(asked, [A]);
  });

  it('pass over what is forged or late', async () => {
    const result = ask();
    const other = Buffer.from(answerTo(query));
    other.writeUInt16BE(8, 0);
    open.get(A)?.onMessage(other);
    open.get(A)?.onMessage(answerTo(question('example.com')));
    open.get(A)?.onMessage(query.message);
    open.get(A)?.onMessage(Buffer.alloc(2));
    const capital = Buffer.from(answerTo(query).toString('latin1').replace('org', 'ORG'), 'latin1');
    open.get(A)?.onMessage(capital);
    assert.deepEqual(await result, capital);
  });

  it('go twice to a single resolver, as a message may be lost', async () => {
    upstreams = [A];
    const result = ask();
    await clock.advance(300);
    assert.deepEqual(asked, [A, A]);
    const rejected = assert.rejects(result, ends);
    await clock.advance(3000);
    await rejected;
  });

  it('go to three at most, for 3 s each', async () => {
    upstreams = [A, B, C, '192.0.2.4'];
    const rejected = assert.rejects(ask(), ends);
    await clock.advance(3599);
    assert.deepEqual(asked, [A, B, C]);
    await clock.advance(1);
    await rejected;
  });

  it('come back to the first one ten seconds after it failed', async () => {
    const fails = ask();
    open.get(A)?.onError(new Error('ECONNREFUSED'));
    answer(B);
    await fails;
    asked = [];
    const healthy = ask();
    answer(B);
    await healthy;
    assert.deepEqual(asked, [B]);
    await clock.advance(10_000);
    const back = ask();
    answer(A);
    await back;
    assert.deepEqual(asked, [B, A]);
  });

  it('avoid one that has said nothing for a second', async () => {
    for (let i = 0; i < 4; i++) {
      const result = ask();
      await clock.advance(300);
      answer(B);
      await result;
    }
    asked = [];
    const result = ask();
    answer(B);
    await result;
    assert.deepEqual(asked, [B]);
  });

  it('never come back to this server, and fail at once without any other', async () => {
    upstreams = ['10.0.0.1', 'resolver.example'];
    await assert.rejects(ask(), ends);
    upstreams = [];
    await assert.rejects(ask(), ends);
    assert.deepEqual(asked, []);
  });

  it("go to the container's own resolvers instead", async () => {
    const result = ask('10.0.0.9', [C]);
    answer(C);
    await result;
    assert.deepEqual(asked, [C]);
  });

  it('of one that asks too much do not stand in the way of others', async () => {
    const flood = Array.from({ length: 200 }, () => ask('10.0.0.66').catch(() => 'refused'));
    const refused = flood.slice(128);
    assert.deepEqual([...new Set(await Promise.all(refused))], ['refused']);
    assert.equal(asked.length, 128);
    const other = ask('10.0.0.9');
    answer(A);
    await other;
    await clock.advance(5000);
    await Promise.all(flood);
    const again = ask('10.0.0.66');
    answer(asked.at(-1) ?? '');
    await again;
  });
});
