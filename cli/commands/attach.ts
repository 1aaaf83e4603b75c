import type { Command } from 'commander';
import { HatobaError } from '../../common/errors.js';
import { unary } from '../../proto/wire/client.js';
import { withEngine, type EngineSession } from '../engine-session.js';
import { ExitCodeError } from '../failure.js';
import { note } from '../output/print.js';
import { withSigProxy } from './options.js';
import { joinContainer } from '../terminal/join-container.js';

interface AttachFlags {
  stdin: boolean;
  detachKeys: string;
  sigProxy: boolean;
}

/** `hatoba attach`. */
export function registerAttach(program: Command): void {
  withSigProxy(
    program
      .command('attach <container>')
      .description('join the input and output of a running container')
      .option('--detach-keys <keys>', 'leave it running: ctrl-p,ctrl-q', '')
      .option('--no-stdin', 'only look on'),
  ).action((container: string, flags: AttachFlags) =>
    withEngine((session) => attach(session, container, flags)),
  );
}

async function attach(
  session: EngineSession,
  container: string,
  flags: AttachFlags,
): Promise<void> {
  const { engine, signal } = session;
  const request = { container, size: false };
  const { id, spec, state } = await unary(engine.containerInspect.bind(engine), request, {
    signal,
  });
  if (state?.status === 'paused') {
    throw new HatobaError(
      'failed-precondition',
      `container ${container} is paused; unpause it first`,
    );
  }
  const result = await joinContainer(session, {
    container: id,
    stdin: flags.stdin && (spec?.openStdin ?? false),
    tty: spec?.tty ?? false,
    detachKeys: flags.detachKeys,
    sigProxy: flags.sigProxy,
    holdsBack: false,
  });
  if (result.kind === 'detached') note(`left ${container} running`);
  else if (result.exitCode !== 0) throw new ExitCodeError(result.exitCode);
}
