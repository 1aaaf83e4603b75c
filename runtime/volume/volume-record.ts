import { readFileSync, statSync } from 'node:fs';
import { errnoOf } from '../../common/errors.js';
import { replaceDurably } from '../content/durable-file.js';

/** volume.json beside the data: `{"labels":{},"driverOpts":{},"anonymous":false,"createdAtMs":1}` */
export interface VolumeRecord {
  readonly labels: Readonly<Record<string, string>>;
  /** As Docker's local driver takes them: type, device, o. */
  readonly driverOpts: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  readonly createdAtMs: number;
}

const FILE = 'volume.json';

export async function writeVolumeRecord(folder: string, record: VolumeRecord): Promise<void> {
  await replaceDurably(folder, FILE, JSON.stringify(record));
}

/**
 * A volume made before there were records, or whose record is damaged, is one without options.
 * @returns undefined where there is no volume
 */
export function readVolumeRecord(folder: string, name: string): VolumeRecord | undefined {
  let createdAtMs: number;
  try {
    const { birthtimeMs, mtimeMs } = statSync(`${folder}/_data`);
    createdAtMs = Math.floor(birthtimeMs > 0 ? birthtimeMs : mtimeMs);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  const anonymous = /^[0-9a-f]{64}$/.test(name);
  return readJson(`${folder}/${FILE}`) ?? { labels: {}, driverOpts: {}, anonymous, createdAtMs };
}

function readJson(file: string): VolumeRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    const isRecord = typeof value === 'object' && value !== null && 'driverOpts' in value;
    // written by writeVolumeRecord alone
    return isRecord ? (value as VolumeRecord) : undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
