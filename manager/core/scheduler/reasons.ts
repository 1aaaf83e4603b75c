/** The count of nodes that a reason begins with, and its verb, which depends on the count. */
const COUNT = /^\d+ of \d+( nodes?)? \S+ /;
const INNERMOST_DETAIL = / ?\([^()]*\)/g;

/**
 * Whether two messages of a task that waits say the same but for figures: how many nodes each reason
 * rules out, in what order, and the details in parentheses. "2 of 3 nodes lack resources (needs 4
 * CPUs; the largest free is n2 with 2), 1 of 3 has port 80/tcp in use" has the same reasons as "2 of
 * 3 nodes have port 80/tcp in use, 1 of 3 lacks resources (needs 4 CPUs; the largest free is n1 with
 * 1)".
 */
export function haveSameReasons(one: string, other: string): boolean {
  return one === other || gistOf(one) === gistOf(other);
}

/** Conditions such as "KEY in (A, B)" lose their lists, too: then it says the new ones a little later. */
function gistOf(message: string): string {
  let text = message;
  for (let before = ''; before !== text;) {
    before = text;
    text = text.replace(INNERMOST_DETAIL, '');
  }
  const reasons = text.split(/: |; |, (?=\d+ of \d+ )/);
  return reasons
    .map((reason) => reason.replace(COUNT, ''))
    .sort()
    .join('\n');
}
