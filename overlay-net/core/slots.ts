/**
 * Backends of a load balancer in numbered places 0…n-1 without holes. Who stays keeps its place as
 * far as possible, so that a change of one backend changes one or two map elements.
 */
export function assignSlots(previous: readonly string[], wanted: readonly string[]): string[] {
  const fresh = new Set(wanted);
  const slots: (string | undefined)[] = previous.map((b) => (fresh.delete(b) ? b : undefined));
  for (const backend of fresh) {
    const hole = slots.indexOf(undefined);
    if (hole === -1) slots.push(backend);
    else slots[hole] = backend;
  }
  for (let hole = slots.indexOf(undefined); hole !== -1; hole = slots.indexOf(undefined)) {
    const last = slots.pop();
    if (last !== undefined) slots[hole] = last;
  }
  return slots.filter((s) => s !== undefined);
}
