import assert from 'node:assert/strict';
import { poolProblems } from '../../../../../manager/core/network/address-pools.js';
import { parseRoutes } from '../../../../../manager/core/network/proc-route.js';
import { formatCidr } from '../../../../../overlay-net/core/ipam.js';

const ROUTES = [
  'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
  'eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
  'eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0',
  'tun0\t0000800A\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0',
].join('\n');

describe('address pools of a new cluster', () => {
  it('are held against the routes of the host, but for the default one', () => {
    const routes = parseRoutes(ROUTES);
    assert.deepEqual(
      routes.map(({ subnet, link }) => `${formatCidr(subnet)} ${link}`),
      ['192.168.0.0/24 eth0', '10.128.0.0/12 tun0'],
    );
    const check = (...defaultAddressPools: string[]): string[] =>
      poolProblems({ defaultAddressPools, subnetSize: 24 }, routes);
    assert.deepEqual(check('10.0.0.0/16', '172.20.0.0/16'), []);
    // subnets that are cut from it keep clear of the routes
    assert.deepEqual(check('10.128.0.0/9'), []);
    assert.match(
      check('10.0.0.0/8').join(),
      /10\.0\.0\.0\/8 overlaps 10\.128\.0\.0\/12, .*\(tun0\)/,
    );
  });

  const wrong: [string[], RegExp][] = [
    [['10.0.0.0/8', '10.1.0.0/16'], /10\.1\.0\.0\/16 overlaps address pool 10\.0\.0\.0\/8/],
    [['10.0.1.0/25'], /10\.0\.1\.0\/25 is smaller than the subnets of \/24/],
    [['10.0.0.1/8'], /"10\.0\.0\.1\/8" is not a subnet: write 10\.0\.0\.0\/8/],
  ];
  for (const [pools, message] of wrong) {
    it(`refuses ${pools.join(', ')}`, () => {
      const problems = poolProblems({ defaultAddressPools: pools, subnetSize: 24 }, []);
      assert.match(problems.join('\n'), message);
    });
  }
});
