import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { HostPort } from '../../../../node-agent/executor/host-ports.js';
import { choosePorts, type PortUse } from '../../../../node-agent/local/port-use.js';

const anyPort: fc.Arbitrary<HostPort> = fc.record({
  protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  hostIp: fc.constantFrom('', '0.0.0.0', '127.0.0.1', '10.0.0.1'),
  publishedPort: fc.constantFrom(0, 80, 81, 32768, 60999),
  targetPort: fc.constant(80),
});
const anyUse: fc.Arbitrary<PortUse> = anyPort.map(({ protocol, hostIp, publishedPort: port }) => {
  return { protocol, hostIp, port, holder: 'somebody' };
});
const isEvery = (address: string): boolean => address === '' || address === '0.0.0.0';
const clash = (a: Omit<PortUse, 'holder'>, b: Omit<PortUse, 'holder'>): boolean =>
  a.protocol === b.protocol &&
  a.port === b.port &&
  (isEvery(a.hostIp) || isEvery(b.hostIp) || a.hostIp === b.hostIp);

describe('published ports of a container', () => {
  it('never clash with those in use nor with each other, and are refused only when they would', () => {
    fc.assert(
      fc.property(
        fc.array(anyPort, { maxLength: 5 }),
        fc.array(anyUse, { maxLength: 8 }),
        fc.nat(),
        (wanted, used, startAt) => {
          const asked = wanted.map(({ publishedPort, ...p }) => ({ ...p, port: publishedPort }));
          let chosen: HostPort[];
          try {
            chosen = choosePorts(wanted, used, startAt);
          } catch {
            const fixed = asked.filter(({ port }) => port !== 0);
            const isNeeded = fixed.some(
              (p, i) => used.some((u) => clash(p, u)) || fixed.slice(0, i).some((q) => clash(p, q)),
            );
            assert.ok(isNeeded);
            return;
          }
          for (const [i, { protocol, hostIp, publishedPort }] of chosen.entries()) {
            const use = { protocol, hostIp, port: publishedPort };
            const others = chosen.filter((_, j) => j !== i);
            const taken = others.map(({ publishedPort: port, ...p }) => ({ ...p, port }));
            assert.ok(![...used, ...taken].some((other) => clash(use, other)));
            const wish = wanted[i]?.publishedPort ?? 0;
            if (wish !== 0) assert.equal(publishedPort, wish);
            else assert.ok(publishedPort >= 32768 && publishedPort <= 60999);
          }
        },
      ),
    );
  });

  it('are not to be had when all are in use', () => {
    const used = Array.from({ length: 60999 - 32768 + 1 }, (_, i): PortUse => {
      return { protocol: 'udp', hostIp: '127.0.0.1', port: 32768 + i, holder: 'x' };
    });
    const port: HostPort = { protocol: 'udp', hostIp: '', publishedPort: 0, targetPort: 53 };
    assert.throws(() => choosePorts([port], used, 5), { kind: 'resource-exhausted' });
    const [other] = choosePorts([{ ...port, hostIp: '10.0.0.1' }], used, 5);
    assert.equal(other?.publishedPort, 32773, 'free on another address');
  });

  it('name who has them', () => {
    const used: PortUse[] = [{ protocol: 'tcp', hostIp: '', port: 80, holder: 'service "web"' }];
    const port: HostPort = {
      protocol: 'tcp',
      hostIp: '10.0.0.1',
      publishedPort: 80,
      targetPort: 1,
    };
    assert.throws(() => choosePorts([port], used, 0), {
      kind: 'failed-precondition',
      message: 'port 10.0.0.1:80/tcp is taken by service "web": publish another one',
    });
  });
});
