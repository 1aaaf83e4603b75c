import assert from 'node:assert/strict';
import { formatListing, formatObject, hasLabel, type Listing } from '../../../../cli/output/listing.js'; // prettier-ignore

interface Row {
  id: string;
  name: string;
  state: string;
  labels: Record<string, string>;
}
const ROWS: readonly Row[] = [
  { id: 'a1', name: 'web', state: 'running', labels: { tier: 'front', zone: 'x' } },
  { id: 'b2', name: 'db', state: 'exited', labels: { tier: 'back' } },
  { id: 'c3', name: 'web-2', state: 'paused', labels: {} },
];
const LISTING: Listing<Row> = {
  key: (r) => r.id,
  columns: [
    { title: 'ID', field: 'ID', value: (r) => r.id },
    { title: 'NAMES', field: 'Names', value: (r) => r.name },
  ],
  fields: { State: (r) => r.state },
  filters: {
    status: (r, value) => r.state === value,
    label: (r, value) => hasLabel(r.labels, value),
  },
};
const OPTIONS = { output: 'table', quiet: false, filter: [] } as const;

function ids(...filter: string[]): string {
  return formatListing(ROWS, LISTING, { ...OPTIONS, quiet: true, filter });
}
function by(format: string): string {
  return formatListing(ROWS.slice(0, 2), LISTING, { ...OPTIONS, format });
}

describe('the filters of a listing', () => {
  it('with one key widen, with several narrow', () => {
    assert.equal(ids('status=running', 'status=paused'), 'a1\nc3');
    assert.equal(ids('status=running', 'status=paused', 'name=web-'), 'c3');
  });

  it('of labels must all hold, by key or by value', () => {
    assert.equal(ids('label=tier'), 'a1\nb2');
    assert.equal(ids('label=tier=back'), 'b2');
    assert.equal(ids('label=tier', 'label=zone=x'), 'a1');
  });

  it('are also the fields of the JSON form; others are named', () => {
    assert.equal(ids('state=exited'), 'b2');
    assert.throws(() => ids('colour=red'), /no "colour"; there are status, label, id, name, state/);
    assert.throws(() => ids('web'), /takes key=value, not "web"/);
  });
});

describe('--format of a listing', () => {
  it('prints a line for each, with the names of docker or of the JSON form', () => {
    assert.equal(by('{{.ID}}: {{.Names}} {{.State}} {{.labels.tier}}'), 'a1: web running front\nb2: db exited back'); // prettier-ignore
  });

  it('"table" keeps the columns and their titles', () => {
    assert.equal(
      by('table {{.Names}}\\t{{.State}}'),
      'NAMES   STATE\nweb     running\ndb      exited',
    );
    assert.equal(by('table'), 'ID   NAMES\na1   web\nb2   db');
  });

  it('"json" is one object a line', () => {
    const [first] = by('json').split('\n');
    assert.deepEqual(JSON.parse(first ?? ''), { ID: 'a1', Names: 'web', State: 'running', ...ROWS[0] }); // prettier-ignore
  });
});

describe('--format of inspect', () => {
  it('prints a line for each object', () => {
    const list = [{ State: { Pid: 1 } }, { State: { Pid: 2 } }];
    assert.equal(formatObject(list, { output: 'json', format: '{{.State.Pid}}' }), '1\n2');
    assert.equal(formatObject(list, { output: 'json', format: 'json' }), JSON.stringify(list));
  });
});
