import assert from 'node:assert/strict';
import { familiarImageName } from '../../../../common/model/image-name.js';
import {
  familiarReference,
  parseImageReference,
  referenceKey,
} from '../../../../runtime/core/image-ref.js';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

describe('familiarImageName', () => {
  const names: [image: string, familiar: string][] = [
    ['nginx', 'nginx:latest'],
    ['nginx:1.25', 'nginx:1.25'],
    ['docker.io/library/nginx', 'nginx:latest'],
    ['index.docker.io/library/nginx:1', 'nginx:1'],
    ['docker.io/team/web:1', 'team/web:1'],
    ['team/web', 'team/web:latest'],
    ['10.0.0.5:5000/web', '10.0.0.5:5000/web:latest'],
    ['10.0.0.5:5000/web:2', '10.0.0.5:5000/web:2'],
    [`web@${DIGEST}`, `web@${DIGEST}`],
    [`10.0.0.5:5000/web:2@${DIGEST}`, `10.0.0.5:5000/web@${DIGEST}`],
  ];
  for (const [image, familiar] of names) {
    it(`calls ${image.replace(DIGEST, 'DIGEST')} as a node does`, () => {
      assert.equal(familiarImageName(image), familiar);
      const key = referenceKey(parseImageReference(image));
      assert.equal(familiarReference(parseImageReference(key)), familiar, 'the node itself');
    });
  }
});
