import assert from 'node:assert/strict';
import { formatTemplate } from '../../../../cli/output/format-template.js';

describe('formatTemplate', () => {
  it('reads \\t and \\n as docker does', () => {
    assert.equal(formatTemplate('{{.Name}}\\t{{.Pid}}\\n')({ Name: 'web', Pid: 4 }), 'web\t4\n');
  });

  it('names its flag in every mistake', () => {
    assert.throws(() => formatTemplate('{{.Name'), /^HatobaError: --format: .* not closed/);
    assert.throws(() => formatTemplate('{{.Nope}}')({}), /^HatobaError: --format: .*"Nope"/);
  });
});
