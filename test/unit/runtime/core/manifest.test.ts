import assert from 'node:assert/strict';
import { toDigest } from '../../../../runtime/core/digest.js';
import { parseImageConfig } from '../../../../runtime/core/image-config.js';
import {
  MEDIA_TYPES,
  choosePlatform,
  layoutImageName,
  parseArchiveManifest,
  parseManifest,
  platformOf,
  type IndexEntry,
} from '../../../../runtime/core/manifest.js';

const A = toDigest(`sha256:${'a'.repeat(64)}`);
const B = toDigest(`sha256:${'b'.repeat(64)}`);
const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe('manifests', () => {
  const config = { mediaType: MEDIA_TYPES.ociConfig, digest: A, size: 3 };
  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: B, size: 7 };

  it('reads an image, by its own type or the one given', () => {
    for (const mediaType of [MEDIA_TYPES.ociManifest, undefined]) {
      const doc = { schemaVersion: 2, mediaType, config, layers: [layer] };
      assert.deepEqual(parseManifest(bytes(doc), MEDIA_TYPES.ociManifest, 'image "x"'), {
        kind: 'image',
        config: { mediaType: config.mediaType, digest: A, sizeBytes: 3 },
        layers: [{ mediaType: layer.mediaType, digest: B, sizeBytes: 7 }],
      });
    }
  });

  it('reads an index', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
    const entry = { ...layer, platform, annotations: { k: 'v' } };
    const parsed = parseManifest(bytes({ manifests: [entry] }), '', 'image "x"');
    assert.ok(parsed.kind === 'index');
    assert.deepEqual(parsed.manifests[0]?.platform, platform);
    assert.deepEqual(parsed.manifests[0].annotations, { k: 'v' });
  });

  const mistakes: { name: string; doc: unknown; message: RegExp }[] = [
    { name: 'no JSON', doc: undefined, message: /manifest of image "x" is not JSON/ },
    { name: 'a list', doc: [], message: /manifest of image "x" must be an object, not a list/ },
    { name: 'schema 1', doc: { schemaVersion: 1 }, message: /schema version 1, which is obsolete/ },
    { name: 'nothing', doc: {}, message: /index of image "x": manifests must be a list/ },
    {
      name: 'a layer without digest',
      doc: { config, layers: [{ size: 1 }] },
      message: /layers\[0\]\.digest must be a text, not undefined/,
    },
    {
      name: 'a digest that leads elsewhere',
      doc: { config, layers: [{ digest: 'sha256:../../etc/passwd', size: 1 }] },
      message: /"sha256:..\/..\/etc\/passwd" is not a digest/,
    },
    {
      name: 'a size below nothing',
      doc: { config, layers: [{ digest: B, size: -1 }] },
      message: /layers\[0\]\.size must be a whole number from 0/,
    },
    {
      name: 'a thousand layers',
      doc: { config, layers: Array.from({ length: 1000 }, () => layer) },
      message: /layers has 1000 members, more than 499/,
    },
    {
      name: 'an artifact',
      doc: { config: { ...config, mediaType: 'application/x' }, layers: [] },
      message: /is no container image: its configuration is of type "application\/x"/,
    },
  ];
  for (const { name, doc, message } of mistakes) {
    it(`refuses ${name}`, () => {
      const body = doc === undefined ? Buffer.from('{') : bytes(doc);
      assert.throws(() => parseManifest(body, '', 'image "x"'), message);
    });
  }

  const entryFor = (os: string, architecture: string, variant = ''): IndexEntry => ({
    mediaType: '',
    digest: A,
    sizeBytes: 1,
    annotations: {},
    platform: { os, architecture, variant },
  });

  it('chooses the manifest of the machine, of variants the newest', () => {
    const all = [
      entryFor('unknown', 'unknown'),
      entryFor('windows', 'arm'),
      entryFor('linux', 'arm', 'v6'),
      entryFor('linux', 'arm', 'v7'),
      entryFor('linux', 'amd64'),
    ];
    assert.equal(choosePlatform(all, platformOf('arm'), 'x'), all[3]);
    assert.equal(choosePlatform(all, platformOf('x64'), 'x'), all[4]);
    const without = { ...entryFor('', ''), platform: undefined };
    assert.equal(choosePlatform([without], platformOf('x64'), 'x'), without);
    assert.throws(() => choosePlatform(all, platformOf('s390x'), 'image "x"'), {
      kind: 'not-found',
      message:
        'image "x" has no manifest for linux/s390x; it has windows/arm, linux/arm/v6, linux/arm/v7, linux/amd64',
    });
  });

  it('reads the manifest of an archive', () => {
    const doc = [{ Config: 'c.json', RepoTags: null, Layers: ['a/layer.tar'] }];
    assert.deepEqual(parseArchiveManifest(bytes(doc)), [
      { configPath: 'c.json', repoTags: [], layerPaths: ['a/layer.tar'] },
    ]);
    assert.throws(() => parseArchiveManifest(bytes([{}])), /\[0\]\.Config must be a text/);
  });

  it('takes a name from an OCI layout only if it is one', () => {
    const ref = 'org.opencontainers.image.ref.name';
    assert.equal(layoutImageName({ [ref]: 'latest' }), undefined);
    assert.equal(layoutImageName({ [ref]: 'web:1' }), 'web:1');
    const whole = { 'io.containerd.image.name': 'docker.io/library/web:2', [ref]: '2' };
    assert.equal(layoutImageName(whole), 'docker.io/library/web:2');
    assert.equal(layoutImageName({}), undefined);
  });
});

describe('image configurations', () => {
  it('reads all that containers need', () => {
    const doc = {
      architecture: 'amd64',
      os: 'linux',
      created: '2024-01-02T03:04:05Z',
      config: {
        Entrypoint: ['/e'],
        Cmd: null,
        Env: ['A=1'],
        WorkingDir: '/w',
        User: '1:2',
        ExposedPorts: { '80/tcp': {}, '443/tcp': {} },
        Volumes: { '/data': {} },
        StopSignal: 'SIGQUIT',
        Healthcheck: { Test: ['CMD-SHELL', 'x'], Interval: 1_500_000_000, Retries: 2 },
        Labels: { a: 'b' },
      },
      rootfs: { type: 'layers', diff_ids: [A, B] },
    };
    assert.deepEqual(parseImageConfig(bytes(doc), 'x'), {
      created: '2024-01-02T03:04:05Z',
      diffIds: [A, B],
      config: {
        architecture: 'amd64',
        os: 'linux',
        entrypoint: ['/e'],
        cmd: [],
        env: ['A=1'],
        workingDir: '/w',
        user: '1:2',
        exposedPorts: ['443/tcp', '80/tcp'],
        volumes: ['/data'],
        stopSignal: 'SIGQUIT',
        healthcheck: {
          test: ['CMD-SHELL', 'x'],
          intervalMs: 1500,
          timeoutMs: 0,
          startPeriodMs: 0,
          startIntervalMs: 0,
          retries: 2,
        },
        labels: { a: 'b' },
      },
    });
  });

  it('fills in what is missing', () => {
    const { config, created } = parseImageConfig(bytes({ rootfs: {} }), 'x');
    assert.deepEqual([config.os, config.entrypoint, config.healthcheck], ['linux', [], undefined]);
    assert.equal(created, '');
  });

  it('names what is wrong', () => {
    const cases: [unknown, RegExp][] = [
      [{ os: 'windows', rootfs: {} }, /image "x" is for windows; Hatoba runs linux images/],
      [{}, /configuration of image "x": rootfs must be an object/],
      [{ rootfs: {}, config: { Cmd: 'sh' } }, /config\.Cmd must be a list, not string/],
      [{ rootfs: {}, config: { Env: [1] } }, /config\.Env\[0\] must be a text, not number/],
    ];
    for (const [doc, message] of cases) {
      assert.throws(() => parseImageConfig(bytes(doc), 'image "x"'), message);
    }
  });
});
