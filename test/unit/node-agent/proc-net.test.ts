import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseListeners } from '../../../node-agent/core/proc-net.js';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid';
const line = (local: string, state: string): string =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 71 1 0`;

const PIECES = ['0:', ' ', '\n', '00000000:1F90', '0A', '07', ':', 'FFFF', '0100007F:', 'zz', '\0'];
const anyText = fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((p) => p.join(''));

describe('listening sockets in /proc/net', () => {
  it('are those that wait for others, at an address or at every one', () => {
    const tcp = [
      HEAD,
      line('00000000:1F90', '0A'),
      line('0100007F:0CEA', '0A'),
      line('0100007F:0CEB', '01'),
      line('00000000000000000000000000000000:0016', '0A'),
      line('0000000000000000FFFF00000100000A:0017', '0A'),
      line('00000000000000000000000001000000:0019', '0A'),
      '',
    ].join('\n');
    assert.deepEqual(parseListeners(tcp, 'tcp'), [
      { address: '', port: 8080, inode: 71 },
      { address: '127.0.0.1', port: 3306, inode: 71 },
      { address: '', port: 22, inode: 71 },
      { address: '10.0.0.1', port: 23, inode: 71 },
    ]);
    assert.deepEqual(parseListeners(line('0101000A:0035', '07'), 'udp'), [
      { address: '10.0.1.1', port: 53, inode: 71 },
    ]);
  });

  it('are read from any text without complaint', () => {
    fc.assert(
      fc.property(anyText, fc.constantFrom('tcp', 'udp'), (text, protocol) => {
        for (const { port } of parseListeners(text, protocol)) {
          assert.ok(port >= 0 && port < 65536);
        }
      }),
    );
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), fc.nat(65535), (address, port) => {
        const bytes = [24, 16, 8, 0].map((shift) => (address >>> shift) & 255);
        const hex = (value: number, digits: number): string =>
          value.toString(16).toUpperCase().padStart(digits, '0');
        const local = [...bytes].reverse().map((byte) => hex(byte, 2)).join(''); // prettier-ignore
        assert.deepEqual(parseListeners(line(`${local}:${hex(port, 4)}`, '0A'), 'tcp'), [
          { address: address === 0 ? '' : bytes.join('.'), port, inode: 71 },
        ]);
      }),
    );
  });
});
