/** Those a user may send; SIGKILL and SIGSTOP cannot be caught. */
const PASSED_ON = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'] as const;

/** So many times Ctrl-C, and a program that does not listen is left alone. */
const PATIENCE = 3;

/**
 * Gives the signals this process gets to `send` instead, until the returned function is called.
 * @param leave called at the third SIGINT or SIGTERM: the user does not want to wait any longer
 */
export function proxySignals(
  send: (signal: NodeJS.Signals) => void,
  leave: () => void,
): () => void {
  let interrupts = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (signal === 'SIGINT' || signal === 'SIGTERM') interrupts += 1;
    if (interrupts >= PATIENCE) leave();
    else send(signal);
  };
  for (const name of PASSED_ON) process.on(name, onSignal);
  return () => {
    for (const name of PASSED_ON) process.off(name, onSignal);
  };
}
