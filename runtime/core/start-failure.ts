/** As Docker and a shell: found but not executable, not found, and all else. */
const CANNOT_EXECUTE = 126;
const NOT_FOUND = 127;
const FAILED = 128;

const NOT_FOUND_WORDS = 'executable file not found in $PATH';
const CANNOT_EXECUTE_WORDS = 'permission denied';

/** What crun says of a command it cannot execute, in Docker's words; anything else as it is. */
export function explainStartFailure(message: string, command: string): string {
  return message
    .replace(
      /executable file [`'"].*[`'"] not found.*/,
      () => `exec: "${command}": ${NOT_FOUND_WORDS}`,
    )
    .replace(
      // a folder is "not permitted"
      /open executable: (Permission denied|Operation not permitted)/,
      () => `exec: "${command}": ${CANNOT_EXECUTE_WORDS}`,
    );
}

/** The exit code of a container that could not be started, by such an explanation. */
export function startFailureExitCode(message: string): number {
  if (message.includes(`": ${NOT_FOUND_WORDS}`)) return NOT_FOUND;
  return message.includes(`": ${CANNOT_EXECUTE_WORDS}`) ? CANNOT_EXECUTE : FAILED;
}

/** Whether it was the command alone that could not be run. */
export function isCommandFailure(message: string): boolean {
  return startFailureExitCode(message) !== FAILED;
}
