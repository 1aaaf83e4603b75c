import type { Limit } from '../../proto/gen/hatoba/v1/types.js';
import { ThrottleDevice } from '../../proto/gen/hatoba/v1/types.js';
import type { Fields, Value } from './reader.js';

type Amount = 'nanoCpus' | 'memoryBytes' | 'pids' | 'memoryReservationBytes';

/** What bounds the containers of a service, but for `deploy: resources:`. */
export function limitFields(limits: Limit): Fields {
  return {
    cpus: (v) => setAmount(limits, 'nanoCpus', v, readCpus(v)),
    cpu_shares: (v) => (limits.cpuShares = v.integer() ?? 0),
    cpuset: (v) => (limits.cpusetCpus = v.string() ?? ''),
    mem_limit: (v) => setAmount(limits, 'memoryBytes', v, v.bytes()),
    mem_reservation: (v) => setAmount(limits, 'memoryReservationBytes', v, v.bytes()),
    memswap_limit: (v) => {
      const text = v.string();
      if (text !== undefined) limits.memorySwapBytes = text === '-1' ? -1 : (v.bytes() ?? 0);
    },
    // -1 is "no limit", as docker has it
    pids_limit: (v) => setAmount(limits, 'pids', v, Math.max(0, v.integer(-1) ?? 0)),
    blkio_config: (v) => readBlockIo(v, limits),
  };
}

/** "cpus", "memory" and "pids" of `deploy: resources:`, and what `more` reads. */
export function readResources(value: Value, limits: Limit, more: Fields = {}): void {
  value.fields(
    {
      cpus: (v) => setAmount(limits, 'nanoCpus', v, readCpus(v)),
      memory: (v) => setAmount(limits, 'memoryBytes', v, v.bytes()),
      pids: (v) => setAmount(limits, 'pids', v, v.integer()),
      ...more,
    },
    ['devices'],
  );
}

function readCpus(value: Value): number {
  return Math.round((value.number(0.001) ?? 0) * 1e9);
}

/** The same may be said in two places, but not two things. */
function setAmount(limits: Limit, name: Amount, value: Value, amount = 0): void {
  if (limits[name] !== 0 && amount !== 0 && limits[name] !== amount) {
    value.problem('another limit of this service says otherwise; say it once');
  }
  if (amount !== 0) limits[name] = amount;
}

function readBlockIo(value: Value, limits: Limit): void {
  const bytes = (v: Value): number | undefined => v.bytes();
  const count = (v: Value): number | undefined => v.integer(1);
  value.fields(
    {
      weight: (v) => (limits.blkioWeight = v.integer() ?? 0),
      device_read_bps: (v) => (limits.blkioDeviceReadBps = readThrottles(v, bytes)),
      device_write_bps: (v) => (limits.blkioDeviceWriteBps = readThrottles(v, bytes)),
      device_read_iops: (v) => (limits.blkioDeviceReadIops = readThrottles(v, count)),
      device_write_iops: (v) => (limits.blkioDeviceWriteIops = readThrottles(v, count)),
    },
    ['weight_device'],
  );
}

function readThrottles(value: Value, readRate: (v: Value) => number | undefined): ThrottleDevice[] {
  return value.items().map((item) => {
    const throttle = ThrottleDevice.fromPartial({});
    item.fields({
      path: (v) => (throttle.path = v.string() ?? ''),
      rate: (v) => (throttle.rate = readRate(v) ?? 0),
    });
    return throttle;
  });
}
