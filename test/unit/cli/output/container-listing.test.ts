import assert from 'node:assert/strict';
import { containerListing } from '../../../../cli/output/container-listing.js';
import { containerRow } from '../../../../cli/output/container-rows.js';
import { formatListing } from '../../../../cli/output/listing.js';
import { Container } from '../../../../proto/gen/hatoba/v1/engine.js';

const NOW = 1_700_000_000_000;
const WEB = containerRow(
  Container.fromPartial({
    id: 'ab'.repeat(32),
    name: 'web',
    image: 'hello-web:1',
    imageId: `sha256:${'12'.repeat(32)}`,
    command: ['httpd', '-f'],
    createdAtMs: NOW - 60_000,
    state: { status: 'exited', exitCode: 3, health: 'none', finishedAtMs: NOW - 5000 },
    ports: [{ protocol: 'PORT_PROTOCOL_TCP', targetPort: 80, publishedPort: 8080 }],
    networks: [{ name: 'bridge', ipAddress: '172.30.0.2' }],
    labels: { tier: 'front' },
  }),
  NOW,
);

function ps(options: { format?: string; filter?: string[]; size?: boolean }): string {
  const listing = containerListing({ size: options.size ?? false, trunc: true });
  return formatListing([WEB], listing, { output: 'table', quiet: false, filter: [], ...options });
}

describe('hatoba ps', () => {
  it('has the fields of docker ps for templates', () => {
    const format =
      '{{.ID}} {{.Names}} {{.State}} {{.Status}} {{.Ports}} {{.Command}} {{.Networks}}';
    assert.equal(
      ps({ format, size: true }),
      `abababababab web exited Exited (3) 5 seconds ago 0.0.0.0:8080->80/tcp "httpd -f" bridge`,
    );
  });

  const FILTERS: readonly [matching: string, other: string][] = [
    ['status=exited', 'status=running'],
    ['name=we', 'name=^/we$'],
    ['name=^/web$', 'name=(web2'],
    ['ancestor=hello-web', 'ancestor=hello'],
    ['ancestor=121212', 'ancestor=hello-web:2'],
    ['exited=3', 'exited=0'],
    ['label=tier=front', 'label=tier=back'],
    ['network=bridge', 'network=host'],
    ['id=abab', 'id=ba'],
    ['is-task=false', 'is-task=true'],
  ];
  for (const [matching, other] of FILTERS) {
    it(`--filter ${matching}, not ${other}`, () => {
      assert.equal(ps({ format: '{{.Names}}', filter: [matching] }), 'web');
      assert.equal(ps({ format: '{{.Names}}', filter: [other] }), '');
    });
  }
});
