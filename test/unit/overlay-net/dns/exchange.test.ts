import assert from 'node:assert/strict';
import { exchange } from '../../../../overlay-net/dns/exchange.js';

describe('a question to a resolver', () => {
  it('fails, and nothing else does, where there is no way to it', async () => {
    const to = { address: '255.255.255.255', port: 53, transport: 'udp' as const };
    let close = (): void => undefined;
    const error = await new Promise<Error>((onError) => {
      close = exchange(to, Buffer.from('question'), { onMessage: () => undefined, onError });
    });
    close();
    assert.match(error.message, /EACCES|ENETUNREACH/);
  });
});
