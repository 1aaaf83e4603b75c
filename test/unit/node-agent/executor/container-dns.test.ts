import assert from 'node:assert/strict';
import { containerDns, toSandboxDns } from '../../../../node-agent/executor/container-dns.js';
import { DNSConfig } from '../../../../proto/gen/hatoba/v1/types.js';
import {
  completeDns,
  formatResolvConf,
  parseResolvConf,
} from '../../../../runtime/core/host-files.js';

const HOST = `# of systemd-resolved
nameserver 127.0.0.53
search lan example.org
options edns0 trust-ad
`;
const GATEWAYS = ['10.0.1.1', '10.0.2.1'];

/** The resolv.conf of a container with these settings, by lines. */
function resolvConf(
  own: Partial<DNSConfig> | undefined,
  gateways: readonly string[],
  { host = HOST, isOnHost = false } = {},
): string[] {
  const dns = containerDns(own && DNSConfig.fromPartial(own), gateways);
  const text = formatResolvConf(completeDns(dns, parseResolvConf(host), isOnHost));
  return text.split('\n').filter((line) => line !== '');
}

describe('resolv.conf of a container', () => {
  it('names the gateways, and the search domains of the host', () => {
    assert.deepEqual(resolvConf(undefined, GATEWAYS), [
      'nameserver 10.0.1.1',
      'nameserver 10.0.2.1',
      'search lan example.org',
      'options ndots:0',
    ]);
  });

  it('has the search domains and options of the user', () => {
    assert.deepEqual(
      resolvConf({ search: ['a.example', 'b.example'], options: ['timeout:1'] }, ['10.0.1.1']),
      ['nameserver 10.0.1.1', 'search a.example b.example', 'options timeout:1 ndots:0'],
    );
    assert.deepEqual(resolvConf({ options: ['ndots:2'] }, ['10.0.1.1']).at(-1), 'options ndots:2');
  });

  it('has no search domain for "."', () => {
    const lines = ['nameserver 10.0.1.1', 'options ndots:0'];
    assert.deepEqual(resolvConf({ search: ['.'] }, ['10.0.1.1']), lines);
    assert.deepEqual(resolvConf(undefined, ['10.0.1.1'], { host: 'search .\n' }), lines);
    assert.deepEqual(resolvConf(undefined, ['10.0.1.1'], { host: '' }), lines);
  });

  it('leaves servers of the user to the gateways, but for those inside the container', () => {
    const nameservers = ['192.0.2.53', '127.0.0.1', '2001:db8::53'];
    assert.deepEqual(resolvConf({ nameservers }, ['10.0.1.1']).slice(0, 2), [
      'nameserver 127.0.0.1',
      'nameserver 10.0.1.1',
    ]);
    assert.deepEqual(toSandboxDns(DNSConfig.fromPartial({ nameservers })), {
      dns: { upstreams: ['192.0.2.53', '2001:db8::53'] },
    });
    assert.deepEqual(toSandboxDns(DNSConfig.fromPartial({ nameservers: ['127.0.0.1'] })), {});
    assert.deepEqual(toSandboxDns(undefined), {});
  });

  it('refuses servers that are no addresses', () => {
    assert.throws(() => toSandboxDns(DNSConfig.fromPartial({ nameservers: ['dns.example'] })), {
      kind: 'invalid-argument',
      message: /"dns.example" is not an IP address/,
    });
  });

  it('is what the host has on the network of the host, where the user says nothing else', () => {
    const isOnHost = true;
    assert.deepEqual(resolvConf({ search: ['corp'] }, [], { isOnHost }), [
      'nameserver 127.0.0.53',
      'search corp',
      'options edns0 trust-ad',
    ]);
    assert.deepEqual(resolvConf({ nameservers: ['192.0.2.53'] }, [], { isOnHost }), [
      'nameserver 192.0.2.53',
      'search lan example.org',
      'options edns0 trust-ad',
    ]);
  });

  it('takes the last of several lines of the host, and the older word "domain"', () => {
    assert.deepEqual(parseResolvConf('domain a\nsearch b  c\nnameserver 1.1.1.1\nnameserver ::1'), {
      nameservers: ['1.1.1.1', '::1'],
      search: ['b', 'c'],
      options: [],
    });
  });
});
