/** As Docker and a shell: found but not executable, not found, and all else. */
const CANNOT_EXECUTE = 126;
const NOT_FOUND = 127;
const FAILED = 128;

/** The exit code of a container that could not be started, by what the runtime said. */
export function startFailureExitCode(message: string): number {
  if (
    /executable file .* not found|no such file or directory.*exec|exec.*no such file/i.test(message)
  ) {
    return NOT_FOUND;
  }
  return /permission denied|exec format error|is a directory/i.test(message)
    ? CANNOT_EXECUTE
    : FAILED;
}
