// Loaded into mocha by test/vm/init: an emulated processor takes several times longer for all.
const { Runnable } = require('mocha');

const FACTOR = 6;
const { timeout } = Runnable.prototype;
Runnable.prototype.timeout = function (...ms) {
  return ms.length === 0 ? timeout.call(this) : timeout.call(this, Number(ms[0]) * FACTOR);
};
