import assert from 'node:assert/strict';
import { status as Code } from '@grpc/grpc-js';
import { HatobaError, kindOf, type ErrorKind } from '../../../../common/errors.js';
import * as pb from '../../../../proto/gen/hatoba/v1/types.js';
import {
  checkCluster,
  checkNode,
  checkNodeDescription,
  checkService,
  checkServiceSpec,
  checkStackSpec,
  checkTask,
} from '../../../../proto/wire/check.js';
import { fromServiceError, toServiceError } from '../../../../proto/wire/status.js';

const SPEC = pb.ServiceSpec.fromPartial({
  name: 'web',
  mode: { $case: 'replicated', value: { replicas: 2 } },
  taskTemplate: { containerSpec: { image: 'web:1' } },
});
const isInvalid = (path: string) => (error: unknown) =>
  kindOf(error) === 'invalid-argument' && (error as Error).message.includes(path);

describe('check', () => {
  it('fills in what is always there, and keeps what was given', () => {
    const service = checkService(pb.Service.fromPartial({ id: 's', spec: SPEC }));
    assert.equal(service.spec.name, 'web');
    assert.deepEqual(service.spec.mode, { $case: 'replicated', value: { replicas: 2 } });
    assert.equal(service.spec.updateConfig.parallelism, 1);
    assert.equal(service.spec.taskTemplate.resources.limits.memoryBytes, 0);
    assert.deepEqual(service.spec.taskTemplate.placement.constraints, []);
    assert.deepEqual(service.endpoint.virtualIps, []);
    assert.equal(service.previousSpec, undefined);
    const task = checkTask(pb.Task.fromPartial({ spec: SPEC.taskTemplate ?? {} }));
    assert.equal(task.status.containerStatus.exitCode, undefined);
    assert.equal(task.status.state, pb.TaskState.NEW);
    assert.equal(checkNode(pb.Node.fromPartial({ spec: {} })).description.resources.nanoCpus, 0);
  });

  const missing: [name: string, path: string, run: () => unknown][] = [
    ['spec of a service', 'service.spec', () => checkService(pb.Service.fromPartial({}))],
    ['mode', 'spec.mode', () => checkServiceSpec({ ...SPEC, mode: undefined })],
    ['template', 'spec.taskTemplate', () => checkServiceSpec({ ...SPEC, taskTemplate: undefined })],
    [
      'container',
      'taskTemplate.containerSpec',
      () => checkServiceSpec({ ...SPEC, taskTemplate: pb.TaskSpec.fromPartial({}) }),
    ],
    [
      'part of a stack',
      'spec.services[1].mode',
      () =>
        checkStackSpec({ name: 's', services: [SPEC, { ...SPEC, mode: undefined }], networks: [] }),
    ],
    ['tokens', 'cluster.joinTokens', () => checkCluster(pb.Cluster.fromPartial({ spec: {} }))],
  ];
  for (const [name, path, run] of missing) {
    it(`refuses a missing ${name}, saying where`, () => assert.throws(run, isInvalid(path)));
  }

  const large: [name: string, path: string, spec: pb.ServiceSpec][] = [
    ['a long text', 'spec.name', { ...SPEC, name: 'x'.repeat(200_000) }],
    ['a NUL', 'spec.name', { ...SPEC, name: 'a\0b' }],
    [
      'a long list',
      'spec.taskTemplate.containerSpec.env',
      pb.ServiceSpec.fromPartial({
        ...SPEC,
        taskTemplate: { containerSpec: { env: Array.from({ length: 10_001 }, () => 'A=b') } },
      }),
    ],
    [
      'a large map',
      'spec.labels',
      {
        ...SPEC,
        labels: Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`l${i}`, ''])),
      },
    ],
    ['a long key', 'spec.labels', { ...SPEC, labels: { ['k'.repeat(200_000)]: '' } }],
    [
      'no number',
      'maxFailureRatio',
      pb.ServiceSpec.fromPartial({
        ...SPEC,
        updateConfig: { maxFailureRatio: NaN },
      }),
    ],
  ];
  for (const [name, path, spec] of large) {
    it(`refuses ${name} from outside, saying where`, () =>
      assert.throws(() => checkServiceSpec(spec), isInvalid(path)));
  }
  it('refuses a message of very many small values', () => {
    const args = Array.from({ length: 9000 }, () => 'x');
    const spec = pb.ServiceSpec.fromPartial({ ...SPEC, taskTemplate: { containerSpec: { args } } });
    const services = Array.from({ length: 30 }, () => spec);
    assert.throws(() => checkStackSpec({ name: 's', services, networks: [] }), isInvalid('values'));
    assert.throws(
      () => checkNodeDescription(pb.NodeDescription.fromPartial({ hostname: 'x'.repeat(200_000) })),
      isInvalid('description.hostname'),
    );
  });

  it('leaves enum numbers it does not know to the decoder, which refuses them', () => {
    const bytes = pb.PortConfig.encode(pb.PortConfig.fromPartial({})).finish();
    const unknown = Uint8Array.from([...bytes, 0x10, 0x63]); // protocol (field 2) = 99
    assert.throws(() => pb.PortConfig.decode(unknown), /99/);
  });
});

describe('status', () => {
  const kinds: Record<ErrorKind, Code> = {
    'invalid-argument': Code.INVALID_ARGUMENT,
    'not-found': Code.NOT_FOUND,
    'already-exists': Code.ALREADY_EXISTS,
    'failed-precondition': Code.FAILED_PRECONDITION,
    conflict: Code.ABORTED,
    'resource-exhausted': Code.RESOURCE_EXHAUSTED,
    unavailable: Code.UNAVAILABLE,
    deadline: Code.DEADLINE_EXCEEDED,
    cancelled: Code.CANCELLED,
    unauthenticated: Code.UNAUTHENTICATED,
    'permission-denied': Code.PERMISSION_DENIED,
    unimplemented: Code.UNIMPLEMENTED,
    internal: Code.INTERNAL,
  };
  for (const [kind, code] of Object.entries(kinds) as [ErrorKind, Code][]) {
    it(`carries ${kind} there and back`, () => {
      const detail = { holder: 'wêb', ports: [80] };
      const error = toServiceError(new HatobaError(kind, 'port 80 is täken', { detail }));
      assert.deepEqual([error.code, error.details], [code, 'port 80 is täken']);
      const back = fromServiceError(error);
      assert.deepEqual([back.kind, back.message, back.detail], [kind, 'port 80 is täken', detail]);
    });
  }

  it('makes of any other error an internal one, and of an abort a cancelled one', () => {
    assert.equal(toServiceError(new TypeError('x is not a function')).code, Code.INTERNAL);
    assert.equal(toServiceError(new DOMException('stop', 'AbortError')).code, Code.CANCELLED);
    assert.equal(fromServiceError(new Error('odd')).kind, 'internal');
    const own = new HatobaError('conflict', 'x');
    assert.equal(fromServiceError(own), own);
  });

  it('takes codes and details of other servers as they come', () => {
    const foreign = Object.assign(toServiceError(new HatobaError('internal', 'x')), {
      code: Code.DATA_LOSS,
    });
    foreign.metadata.set('hatoba-detail-bin', Buffer.from('{not json'));
    const back = fromServiceError(foreign);
    assert.deepEqual([back.kind, back.detail], ['internal', {}]);
  });
});
