/** The name of what a stack declares, as the cluster knows it: "STACK_KEY" unless it says its own. */
export function fullName(
  stack: string,
  key: string,
  own: { name?: string | undefined; external: boolean },
): string {
  return own.name ?? (own.external ? key : `${stack}_${key}`);
}
