/** Freezes a tree of plain objects and arrays; what is frozen already is not entered again. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (ArrayBuffer.isView(value)) return value; // bytes cannot be frozen
  Object.freeze(value);
  for (const child of Object.values(value)) deepFreeze(child);
  return value;
}
