import assert from 'node:assert/strict';
import { assertEven } from '../../support/spread.js';

describe('an even spread', () => {
  it('is each within a tenth of its share', () => assertEven([2200, 1800, 2000]));

  it('is not one that is further away', () => {
    assert.throws(() => assertEven([2300, 1750, 1950]), /more than a tenth from even/);
  });

  it('cannot be told from too few', () => {
    assert.throws(() => assertEven([100, 100, 100]), /300 are too few to tell/);
  });
});
