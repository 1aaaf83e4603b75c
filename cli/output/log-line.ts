/** What a line of a log must have to be printed. */
export interface PrintableLine {
  timestampMs: number;
  stream: string;
  /** Without the line end. */
  line: Uint8Array;
}

/** The flags of `logs` that choose lines, as LogOptions has them. */
export interface LogFlags {
  follow: boolean;
  since?: number;
  until?: number;
  tail?: number;
  timestamps: boolean;
}

export function logOptionsOf({ follow, since = 0, until = 0, tail }: LogFlags): {
  follow: boolean;
  sinceMs: number;
  untilMs: number;
  tail: number | undefined;
} {
  return { follow, sinceMs: since, untilMs: until, tail };
}

/** Writes a line to the stream it came from, at the pace of its reader. */
export async function writeLogLine(
  message: PrintableLine,
  { timestamps, prefix = '' }: { timestamps: boolean; prefix?: string },
): Promise<void> {
  const time = timestamps ? `${new Date(message.timestampMs).toISOString()} ` : '';
  const out = message.stream === 'LOG_STREAM_STDERR' ? process.stderr : process.stdout;
  const line = Buffer.concat([Buffer.from(time + prefix), message.line, Buffer.from('\n')]);
  if (!out.write(line)) await new Promise((resolve) => out.once('drain', resolve));
}
