/** A command of a ```console block, and what the page says that it prints. */
export interface ConsoleStep {
  readonly command: string;
  readonly expected: readonly string[];
}

/** The commands of a page in its order: lines that begin with "$ " in ```console blocks. */
export function consoleSteps(markdown: string): ConsoleStep[] {
  const blocks = [...markdown.matchAll(/```console\n([\s\S]*?)```/g)].map((m) => m[1] ?? '');
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((text) => {
        const [command = '', ...expected] = text.trimEnd().split('\n');
        return { command, expected };
      }),
  );
}

/**
 * Whether an output is as the page says. "…" stands for anything within a line; alone on a line,
 * for any lines; blanks count as one.
 */
export function isAsSaid(output: string, expected: readonly string[]): boolean {
  const lines = output.trimEnd() === '' ? [] : output.trimEnd().split('\n');
  const pattern = expected
    .map((line) => (line.trim() === '…' ? '(?:[^\\n]*\\n)*?' : `${linePattern(line)}\\n`))
    .join('');
  const plain = lines.map((line) => `${line.trim().replace(/\s+/g, ' ')}\n`).join('');
  return new RegExp(`^${pattern}$`).test(plain);
}

function linePattern(line: string): string {
  return line
    .trim()
    .replace(/\s+/g, ' ')
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^\\n]*');
}
