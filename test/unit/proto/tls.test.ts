import assert from 'node:assert/strict';
import type { PeerCertificate } from 'node:tls';
import { NodeRole } from '../../../proto/gen/hatoba/v1/types.js';
import { isAllowed, type Access, type Caller } from '../../../proto/wire/service.js';
import { identityOfCertificate } from '../../../proto/wire/tls.js';

describe('identityOfCertificate', () => {
  const identity = (subject: object): unknown =>
    identityOfCertificate({ subject: subject as PeerCertificate['subject'] });

  it('reads node, role and cluster', () => {
    assert.deepEqual(identity({ CN: 'n1', OU: 'hatoba-worker', O: 'c1' }), {
      nodeId: 'n1',
      role: NodeRole.WORKER,
      clusterId: 'c1',
    });
    const manager = identity({ CN: 'n1', OU: 'hatoba-manager', O: 'c1' });
    assert.equal((manager as { role: string }).role, NodeRole.MANAGER);
  });

  const foreign: [string, object][] = [
    ['another unit', { CN: 'n1', OU: 'admins', O: 'c1' }],
    ['a unit that is a property of every object', { CN: 'n1', OU: 'constructor', O: 'c1' }],
    ['two units', { CN: 'n1', OU: ['hatoba-worker', 'hatoba-manager'], O: 'c1' }],
    ['no name', { OU: 'hatoba-worker', O: 'c1' }],
    ['an empty name', { CN: '', OU: 'hatoba-worker', O: 'c1' }],
    ['no cluster', { CN: 'n1', OU: 'hatoba-worker' }],
  ];
  for (const [name, subject] of foreign) {
    it(`is nobody with ${name}`, () => assert.equal(identity(subject), undefined));
  }
});

describe('isAllowed', () => {
  const callers: Record<string, Caller> = {
    local: { kind: 'local' },
    manager: { kind: 'node', nodeId: 'm', role: NodeRole.MANAGER, clusterId: 'c' },
    worker: { kind: 'node', nodeId: 'w', role: NodeRole.WORKER, clusterId: 'c' },
    anonymous: { kind: 'anonymous' },
  };
  const table: Record<Access, string[]> = {
    anyone: ['local', 'manager', 'worker', 'anonymous'],
    node: ['manager', 'worker'],
    operator: ['local', 'manager'],
  };
  for (const [access, expected] of Object.entries(table) as [Access, string[]][]) {
    it(`${access}: ${expected.join(', ')}`, () => {
      const allowed = Object.keys(callers).filter((name) => {
        const caller = callers[name];
        return caller !== undefined && isAllowed(access, caller);
      });
      assert.deepEqual(allowed, expected);
    });
  }
});
