import { decode } from 'dns-packet';
import { HEADER_BYTES, OPCODE_MASK, RCODE, TYPE } from './wire.js';

const CLASSIC_UDP_BYTES = 512;
const MAX_UDP_BYTES = 4096;
const MAX_NAME_BYTES = 254;
const QUESTION_TAIL_BYTES = 4; // type and class
const OPT_BYTES = 11;
const CLASS = { IN: 1, ANY: 255 };

/** A question as it came. */
export interface Query {
  message: Buffer;
  /** As it was written. */
  name: string;
  /** Number of the record type (RFC 1035, 3.2.3). */
  type: number;
  /** Where the question ends in the message; that of the header when it cannot be read. */
  questionEnd: number;
  /** The flags that the asker sent by EDNS (RFC 6891); absent: it knows no EDNS. */
  ednsFlags?: number;
  /** The longest answer that the asker takes by UDP. */
  udpBytes: number;
  /** The error that is the answer, whatever is asked; RCODE.ok: none. */
  fault: number;
}

/** @returns undefined for what is no question at all: nobody waits for an answer to it */
export function parseQuery(message: Buffer): Query | undefined {
  const isQuestion = message.length >= HEADER_BYTES && ((message[2] ?? 0) & 0x80) === 0;
  return isQuestion ? (parseOrdinary(message) ?? parseUnusual(message)) : undefined;
}

/**
 * The question that nearly everyone asks, read without a detour: one name of ASCII letters, class
 * IN, and at most an EDNS record behind it.
 * @returns undefined for every other message, be it right or not
 */
export function parseOrdinary(message: Buffer): Query | undefined {
  const more = message.readUInt16BE(10);
  const isPlain =
    ((message[2] ?? 0) & OPCODE_MASK) === 0 &&
    message.readUInt32BE(4) === 0x00010000 &&
    message.readUInt16BE(8) === 0 &&
    more <= 1;
  const nameEnd = isPlain ? endOfPlainName(message) : -1;
  const questionEnd = nameEnd + QUESTION_TAIL_BYTES;
  const size = questionEnd + more * OPT_BYTES;
  if (nameEnd < 0 || message.length !== size) return undefined;
  const type = message.readUInt16BE(nameEnd);
  if (message.readUInt16BE(nameEnd + 2) !== CLASS.IN || isTransfer(type)) return undefined;
  const query: Query = {
    message,
    name: plainName(message, nameEnd),
    type,
    questionEnd,
    udpBytes: CLASSIC_UDP_BYTES,
    fault: RCODE.ok,
  };
  return more === 0 ? query : withPlainEdns(query);
}

/** An EDNS record of version 0 without options. */
function withPlainEdns(query: Query): Query | undefined {
  const { message, questionEnd: at } = query;
  const isPlain =
    message[at] === 0 &&
    message.readUInt16BE(at + 1) === TYPE.OPT &&
    message.readUInt16BE(at + 5) === 0 &&
    message.readUInt16BE(at + 9) === 0;
  if (!isPlain) return undefined;
  query.ednsFlags = message.readUInt16BE(at + 7);
  query.udpBytes = udpBytes(message.readUInt16BE(at + 3));
  return query;
}

/** Where a name of ASCII labels ends; -1 for any other. */
function endOfPlainName(message: Buffer): number {
  let at = HEADER_BYTES;
  for (;;) {
    const length = message[at];
    if (length === 0) return at + 1;
    if (length === undefined || length > 63) return -1;
    const end = at + 1 + length;
    if (end >= message.length || end - HEADER_BYTES > MAX_NAME_BYTES) return -1;
    for (let i = at + 1; i < end; i++) if ((message[i] ?? 0) > 0x7f) return -1;
    at = end;
  }
}

function plainName(message: Buffer, nameEnd: number): string {
  let name = '';
  let at = HEADER_BYTES;
  while (at < nameEnd - 1) {
    const end = at + 1 + (message[at] ?? 0);
    name += `${name === '' ? '' : '.'}${message.toString('latin1', at + 1, end)}`;
    at = end;
  }
  return name === '' ? '.' : name;
}

/** By way of a full decoder; what is wrong with the message becomes its `fault`. */
export function parseUnusual(message: Buffer): Query {
  const query: Query = {
    message,
    name: '',
    type: 0,
    questionEnd: HEADER_BYTES,
    udpBytes: CLASSIC_UDP_BYTES,
    fault: RCODE.formatError,
  };
  if (((message[2] ?? 0) & OPCODE_MASK) !== 0) return { ...query, fault: RCODE.notImplemented };
  const packet = decodeMessage(message);
  const [question, ...others] = packet?.questions ?? [];
  const questionEnd = endOfQuestion(message);
  if (question === undefined || others.length > 0 || questionEnd === undefined) return query;
  const opt = packet?.additionals?.find((a) => a.type === 'OPT');
  const type = message.readUInt16BE(questionEnd - 4);
  const asked = { ...query, name: question.name, type, questionEnd };
  const isOurs = isOurClass(message.readUInt16BE(questionEnd - 2)) && !isTransfer(type);
  const fault = isOurs ? RCODE.ok : RCODE.refused;
  if (opt?.type !== 'OPT') return { ...asked, fault };
  return {
    ...asked,
    ednsFlags: opt.flags,
    udpBytes: udpBytes(opt.udpPayloadSize),
    fault: opt.ednsVersion === 0 ? fault : RCODE.badVersion,
  };
}

function isOurClass(qclass: number): boolean {
  return qclass === CLASS.IN || qclass === CLASS.ANY;
}

function decodeMessage(message: Buffer): ReturnType<typeof decode> | undefined {
  try {
    return decode(message);
  } catch {
    return undefined; // the asker is told so
  }
}

/** Names in questions are never compressed: there is nothing before them to point to. */
function endOfQuestion(message: Buffer): number | undefined {
  let at = HEADER_BYTES;
  for (let length = message[at]; length !== 0; length = message[at]) {
    if (length === undefined || length > 63) return undefined;
    at += length + 1;
  }
  const end = at + 1 + QUESTION_TAIL_BYTES;
  return end <= message.length ? end : undefined;
}

/** A whole zone is not an answer that fits one message. */
function isTransfer(type: number): boolean {
  return type === TYPE.AXFR || type === TYPE.IXFR;
}

function udpBytes(offered: number): number {
  return Math.min(MAX_UDP_BYTES, Math.max(CLASSIC_UDP_BYTES, offered));
}
