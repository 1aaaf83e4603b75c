import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { formatBytes, parseBytes } from '../../../common/bytes.js';
import { formatDurationMs, parseDurationMs } from '../../../common/duration.js';
import { HATOBA_VERSION } from '../../../common/version.js';

describe('durations and sizes', () => {
  it('reads durations', () => {
    const cases = {
      '10s': 10_000,
      '1h5m30s20ms': 3_930_020,
      '1.5s': 1500,
      '0': 0,
      '0s': 0,
      '1us': 0,
    };
    for (const [text, ms] of Object.entries(cases)) assert.equal(parseDurationMs(text), ms, text);
    for (const text of ['', '10', 's', '1 s', '-1s', '10sx', '1d']) {
      assert.throws(() => parseDurationMs(text), /is not a duration/, text);
    }
  });

  it('reads back every duration it writes', () => {
    fc.assert(
      fc.property(fc.nat(1e9), (ms) => {
        assert.equal(parseDurationMs(formatDurationMs(ms)), ms);
      }),
    );
  });

  it('reads sizes as powers of 1024', () => {
    const cases = {
      '1024': 1024,
      '64k': 65_536,
      '512M': 2 ** 29,
      '1.5gb': 1.5 * 2 ** 30,
      '1GiB': 2 ** 30,
      '7b': 7,
    };
    for (const [text, bytes] of Object.entries(cases)) assert.equal(parseBytes(text), bytes, text);
    for (const text of ['', 'm', '1x', '-1', '1 2'])
      assert.throws(() => parseBytes(text), /is not a size/);
  });

  it('writes sizes for people', () => {
    assert.deepEqual([0, 1023, 1536, 20 * 2 ** 20, 3 * 2 ** 40].map(formatBytes), [
      '0B',
      '1023B',
      '1.5KiB',
      '20MiB',
      '3TiB',
    ]);
  });
});

it('the version is that of package.json', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  assert.equal(HATOBA_VERSION, version);
});
