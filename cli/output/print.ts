/** The one way to stdout: a whole text and its line end; nothing for an empty text. */
export function print(text: string): void {
  if (text !== '') process.stdout.write(`${text}\n`);
}

/** Notices that are not the answer go to stderr, so that pipes get only the answer. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
