import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FlowInfo } from '../../linux/ports.js';

const MAKER = fileURLToPath(new URL('./make-flows.ts', import.meta.url));

/** Puts flows into the connection tracking of a network namespace, as if there had been traffic. */
export async function makeFlows(netns: string, flows: readonly FlowInfo[]): Promise<void> {
  const args = [`--net=${netns}`, process.execPath, '--import', 'tsx', MAKER];
  const child = spawn('nsenter', args, { stdio: ['pipe', 'inherit', 'inherit'] });
  child.stdin.end(JSON.stringify(flows));
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`making flows in ${netns} ended with ${code}`);
}
