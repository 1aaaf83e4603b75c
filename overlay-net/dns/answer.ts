import type { Query } from './query.js';
import { HEADER_BYTES, RCODE, TYPE } from './wire.js';

const OWN_UDP_BYTES = 4096;
const RECORD_HEAD_BYTES = 12;
const OPT_BYTES = 11;
const POINTER_TO_QUESTION = 0xc000 + HEADER_BYTES;
const CLASS_IN = 1;
const FLAG = { response: 0x8000, authoritative: 0x0400, truncated: 0x0200, recursion: 0x0080 };
const KEPT_FLAGS = 0x7910; // opcode, recursion desired, checking disabled

/**
 * Names change with every task, so nobody may keep an answer: a question costs a fraction of a
 * millisecond on the same machine, a stale address costs the connection.
 */
const TTL_SECONDS = 0;

/** A record about the name that was asked for. */
export type AnswerRecord = { type: 'A'; address: string } | { type: 'PTR'; name: string };

/**
 * An answer to a question, which is repeated byte by byte. Every record points back to the question
 * for its name, so that 30 addresses fit into a classic UDP message.
 * @param options.maxBytes records that do not fit are left out and the answer is marked truncated
 */
export function formatAnswer(
  query: Query,
  records: readonly AnswerRecord[],
  options: { rcode?: number; maxBytes?: number } = {},
): Buffer {
  const { rcode = RCODE.ok, maxBytes = 65535 } = options;
  const { message, questionEnd, ednsFlags } = query;
  const values = records.map(formatValue);
  const ednsBytes = ednsFlags === undefined ? 0 : OPT_BYTES;
  let bytes = questionEnd + ednsBytes;
  let count = 0;
  for (const { length } of values) {
    if (bytes + RECORD_HEAD_BYTES + length > maxBytes) break;
    bytes += RECORD_HEAD_BYTES + length;
    count++;
  }
  const answer = Buffer.allocUnsafe(bytes);
  message.copy(answer, 0, 0, questionEnd);
  const isOurs = rcode === RCODE.ok || rcode === RCODE.nameError;
  answer.writeUInt16BE(
    (message.readUInt16BE(2) & KEPT_FLAGS) |
      FLAG.response |
      FLAG.recursion |
      (isOurs ? FLAG.authoritative : 0) |
      (count < records.length ? FLAG.truncated : 0) |
      (rcode & 15),
    2,
  );
  answer.writeUInt16BE(questionEnd > HEADER_BYTES ? 1 : 0, 4);
  answer.writeUInt16BE(count, 6);
  answer.writeUInt16BE(0, 8);
  answer.writeUInt16BE(ednsBytes > 0 ? 1 : 0, 10);
  let at = questionEnd;
  for (let i = 0; i < count; i++) at = writeRecord(answer, at, records[i], values[i]);
  if (ednsFlags !== undefined) writeEdns(answer, at, { rcode, ednsFlags });
  return answer;
}

function writeRecord(
  answer: Buffer,
  at: number,
  record: AnswerRecord | undefined,
  value: Uint8Array | undefined,
): number {
  if (record === undefined || value === undefined) return at;
  answer.writeUInt16BE(POINTER_TO_QUESTION, at);
  answer.writeUInt16BE(TYPE[record.type], at + 2);
  answer.writeUInt16BE(CLASS_IN, at + 4);
  answer.writeUInt32BE(TTL_SECONDS, at + 6);
  answer.writeUInt16BE(value.length, at + 10);
  answer.set(value, at + RECORD_HEAD_BYTES);
  return at + RECORD_HEAD_BYTES + value.length;
}

/** The asker's flags go back to it, as its wish for DNSSEC records must (RFC 3225). */
function writeEdns(
  answer: Buffer,
  at: number,
  { rcode, ednsFlags }: { rcode: number; ednsFlags: number },
): void {
  answer.fill(0, at, at + OPT_BYTES);
  answer.writeUInt16BE(TYPE.OPT, at + 1);
  answer.writeUInt16BE(OWN_UDP_BYTES, at + 3);
  answer.writeUInt8(rcode >> 4, at + 5);
  answer.writeUInt16BE(ednsFlags, at + 7);
}

function formatValue(record: AnswerRecord): Uint8Array {
  return record.type === 'A' ? formatAddress(record.address) : formatName(record.name);
}

/** Four bytes of "10.0.0.1". */
function formatAddress(address: string): Uint8Array {
  const bytes = new Uint8Array(4);
  let at = 0;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === DOT) at++;
    else bytes[at] = (bytes[at] ?? 0) * 10 + code - ZERO;
  }
  return bytes;
}

const DOT = 46;
const ZERO = 48;

/** Labels longer than 63 bytes cannot be said and are cut. */
function formatName(name: string): Uint8Array {
  const labels = name
    .split('.')
    .filter((l) => l !== '')
    .map((l) => Buffer.from(l).subarray(0, 63));
  return Buffer.concat([...labels.flatMap((l) => [Buffer.from([l.length]), l]), Buffer.from([0])]);
}
