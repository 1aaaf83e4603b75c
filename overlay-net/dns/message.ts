import { decode } from 'dns-packet';
import { HatobaError } from '../../common/errors.js';

const HEADER_BYTES = 12;
const CLASSIC_UDP_BYTES = 512;
const MAX_UDP_BYTES = 4096;
const POINTER_TO_QUESTION = 0xc000 + HEADER_BYTES;
const TYPE = { A: 1, PTR: 12, OPT: 41 } as const;
const CLASS_IN = 1;
const FLAG = { response: 0x8000, authoritative: 0x0400, truncated: 0x0200, recursion: 0x0080 };
const KEPT_FLAGS = 0x7900; // opcode and recursion desired

/** Response codes that this server gives (RFC 1035, 4.1.1). */
export const RCODE = { ok: 0, serverFailure: 2, nameError: 3, notImplemented: 4 } as const;

export interface Query {
  message: Buffer;
  name: string;
  /** "A", "AAAA", "PTR" …, "UNKNOWN_n" */
  type: string;
  /** Where the question ends in the message. */
  questionEnd: number;
  hasEdns: boolean;
  /** The longest answer that the asker takes by UDP. */
  udpBytes: number;
}

export type AnswerRecord =
  | { type: 'A'; address: string; ttlSeconds: number }
  | { type: 'PTR'; name: string; ttlSeconds: number };

/**
 * Reads a question.
 * @throws {HatobaError} invalid-argument when it is no DNS query with exactly one question
 */
export function parseQuery(message: Buffer): Query {
  const packet = decodeMessage(message);
  const question = packet.questions?.[0];
  if (packet.type !== 'query' || question === undefined || packet.questions?.length !== 1) {
    throw new HatobaError('invalid-argument', 'not a DNS query with one question');
  }
  const questionEnd = endOfQuestion(message);
  if (questionEnd > message.length) {
    throw new HatobaError('invalid-argument', 'a DNS question that runs past its message');
  }
  const edns = packet.additionals?.find((a) => a.type === 'OPT');
  const offered = edns?.type === 'OPT' ? edns.udpPayloadSize : 0;
  return {
    message,
    name: question.name,
    type: question.type,
    questionEnd,
    hasEdns: edns !== undefined,
    udpBytes: Math.min(MAX_UDP_BYTES, Math.max(CLASSIC_UDP_BYTES, offered)),
  };
}

function decodeMessage(message: Buffer): ReturnType<typeof decode> {
  try {
    return decode(message);
  } catch (error) {
    throw new HatobaError('invalid-argument', 'not a DNS message', { cause: error });
  }
}

/** Names in questions are never compressed: there is nothing before them to point to. */
function endOfQuestion(message: Buffer): number {
  let offset = HEADER_BYTES;
  while (offset < message.length && message[offset] !== 0) offset += (message[offset] ?? 0) + 1;
  return offset + 1 + 4;
}

/**
 * An answer to a question. Every record points back to the question for its name, so that 30
 * addresses fit into a classic UDP message.
 * @param options.maxBytes records that do not fit are left out and the answer is marked truncated
 */
export function formatAnswer(
  query: Query,
  records: readonly AnswerRecord[],
  options: { rcode?: number; maxBytes?: number } = {},
): Buffer {
  const { rcode = RCODE.ok, maxBytes = 65535 } = options;
  const question = query.message.subarray(HEADER_BYTES, query.questionEnd);
  const edns = query.hasEdns ? formatEdns() : Buffer.alloc(0);
  const room = maxBytes - HEADER_BYTES - question.length - edns.length;
  const fitting: Buffer[] = [];
  let bytes = 0;
  for (const record of records.map(formatRecord)) {
    if (bytes + record.length > room) break;
    fitting.push(record);
    bytes += record.length;
  }
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(query.message.readUInt16BE(0), 0);
  header.writeUInt16BE(
    (query.message.readUInt16BE(2) & KEPT_FLAGS) |
      FLAG.response |
      FLAG.recursion |
      (rcode === RCODE.ok || rcode === RCODE.nameError ? FLAG.authoritative : 0) |
      (fitting.length < records.length ? FLAG.truncated : 0) |
      rcode,
    2,
  );
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(fitting.length, 6);
  header.writeUInt16BE(edns.length > 0 ? 1 : 0, 10);
  return Buffer.concat([header, question, ...fitting, edns]);
}

function formatRecord(record: AnswerRecord): Buffer {
  const value =
    record.type === 'A'
      ? Buffer.from(record.address.split('.').map(Number))
      : formatName(record.name);
  const head = Buffer.alloc(12);
  head.writeUInt16BE(POINTER_TO_QUESTION, 0);
  head.writeUInt16BE(TYPE[record.type], 2);
  head.writeUInt16BE(CLASS_IN, 4);
  head.writeUInt32BE(record.ttlSeconds, 6);
  head.writeUInt16BE(value.length, 10);
  return Buffer.concat([head, value]);
}

/** Labels longer than 63 bytes cannot be said and are cut. */
function formatName(name: string): Buffer {
  const labels = name
    .split('.')
    .filter((l) => l !== '')
    .map((l) => Buffer.from(l).subarray(0, 63));
  return Buffer.concat([...labels.flatMap((l) => [Buffer.from([l.length]), l]), Buffer.from([0])]);
}

function formatEdns(): Buffer {
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(TYPE.OPT, 1);
  opt.writeUInt16BE(MAX_UDP_BYTES, 3);
  return opt;
}
