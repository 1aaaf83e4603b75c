import assert from 'node:assert/strict';
import fc from 'fast-check';
import { compileTemplate } from '../../../../common/template/template.js';
import { HatobaError } from '../../../../common/errors.js';

const WEB = {
  Name: '/web',
  State: { Status: 'running', Pid: 42, OOMKilled: false },
  Args: ['-c', 'sleep 1'],
  Config: { Labels: { 'com.example/tier': 'front' }, Entrypoint: null },
  NetworkSettings: {
    Networks: { bridge: { IPAddress: '172.30.0.2' }, back: { IPAddress: '10.1.0.9' } },
    Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }] },
  },
};
const EXAMPLES: readonly [template: string, text: string][] = [
  ['{{.Name}} is {{.State.Status}} as {{.State.Pid}}', '/web is running as 42'],
  ['{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}', '10.1.0.9 172.30.0.2 '],
  ['{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}};{{end}}', 'back=10.1.0.9;bridge=172.30.0.2;'],
  ['{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', '8080'],
  ['{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}', ' 80/tcp -> 8080 '],
  ['{{index .Config.Labels "com.example/tier"}}', 'front'],
  ['{{json .State}}', '{"Status":"running","Pid":42,"OOMKilled":false}'],
  ['{{.State | json}}', '{"Status":"running","Pid":42,"OOMKilled":false}'],
  ['{{.Args}} {{.Config.Labels}} {{.Config.Entrypoint}}', '[-c sleep 1] map[com.example/tier:front] <nil>'],
  ['{{join .Args "+"}} {{len .Args}} {{upper .Name}}', '-c+sleep 1 2 /WEB'],
  ['{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}', 'none'],
  ['{{if eq .State.Status "exited"}}a{{else if .State.OOMKilled}}b{{else}}c{{end}}', 'c'],
  ['{{with .State}}{{.Pid}} of {{$.Name}}{{end}}', '42 of /web'],
  ['{{range .Missing}}x{{else}}nothing{{end}}', 'nothing'],
  ['a {{- .State.Pid -}} b', 'a42b'],
  ['{{println .Name .State.Pid}}{{/* a remark */}}', '/web 42\n'],
  ['{{printf "%s:%d" .Name .State.Pid}}', '/web:42'],
  ['no action', 'no action'],
]; // prettier-ignore

describe('compileTemplate', () => {
  for (const [template, text] of EXAMPLES) {
    it(template, () => {
      assert.equal(compileTemplate(template)(WEB), text);
    });
  }

  const MISTAKES: readonly [template: string, message: RegExp][] = [
    ['{{.Stat}}', /no field "Stat"; there are Name, State,/],
    ['{{.State.Health.Status}}', /no field "State\.Health"; there are Status, Pid/],
    ['{{json .Nope}}', /no field "Nope"/],
    ['{{.Name', /not closed/],
    ['{{range .Args}}x', /no "\{\{end\}\}"/],
    ['x{{end}}', /nothing that it belongs to/],
    ['{{shout .Name}}', /unknown function "shout"; known are json/],
    ['{{.Name .Args}}', /too much/],
    ['{{$x}}', /no variable "\$x"/],
    ['{{}}', /not understood/],
    ['{{"a}}', /not understood/],
  ];
  for (const [template, message] of MISTAKES) {
    it(`${template} is told of`, () => {
      assert.throws(() => compileTemplate(template)(WEB), message);
    });
  }

  it('prints nothing for what index does not find, unless that is a mistake', () => {
    const text = 'tier={{index .Config.Labels "tier"}}';
    assert.equal(compileTemplate(text)(WEB), 'tier=');
    assert.throws(
      () => compileTemplate(text, { isStrict: true })(WEB),
      /nothing to print: \(index \.Config\.Labels tier\) is missing/,
    );
    const asked = '{{if index .Config.Labels "tier"}}a{{else}}b{{end}}';
    assert.equal(compileTemplate(asked, { isStrict: true })(WEB), 'b');
  });

  it('never fails in another way, whatever is written', () => {
    const words = [
      '{{', '}}', '.', 'Name', '$', 'range ', 'if ', 'else', 'end', ' | ', 'json ', '(', ')', '"', '-', ' ', '0',
    ]; // prettier-ignore
    const templates = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom(...words), { maxLength: 20 }).map((w) => w.join('')),
    );
    fc.assert(
      fc.property(templates, (template) => {
        try {
          assert.equal(typeof compileTemplate(template)(WEB), 'string');
        } catch (error) {
          assert.ok(error instanceof HatobaError, String(error));
        }
      }),
    );
  });
});
