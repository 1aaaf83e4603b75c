import type { Random } from '../../common/random.js';
import { HatobaError } from '../../common/errors.js';

const ADJECTIVES = (
  'able amber bold brave bright brisk calm clear clever cosy crisp deft eager early ' +
  'fair fleet fond gentle glad golden hardy jolly keen kind lively lucky mellow merry ' +
  'neat nimble patient plain proud quick quiet ready rosy salty silver snug spry steady ' +
  'sunny swift tidy trim warm wise'
).split(' ');
/** What is found at a wharf. */
const NOUNS = (
  'anchor barge barrel beacon boom breeze brig buoy cable capstan cargo clipper cog ' +
  'cork crane crew cutter dinghy dock ferry float gull harbour hawser helm hull jetty ' +
  'keel ketch lantern lighter mast mole oar packet pier pilot quay rudder sail schooner ' +
  'skiff sloop spar tide tiller trawler tug'
).split(' ');
const ATTEMPTS = 20;

/** A name for a container that was given none, "brave_ferry"; with a number where that is taken. */
export function pickName(random: Random, isTaken: (name: string) => boolean): string {
  let name = '';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    name = `${pick(ADJECTIVES, random)}_${pick(NOUNS, random)}`;
    if (!isTaken(name)) return name;
  }
  for (let number = 2; ; number++) {
    if (!isTaken(`${name}${number}`)) return `${name}${number}`;
  }
}

/** @throws {HatobaError} invalid-argument when it may not be a container's name */
export function checkName(name: string): string {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/.test(name)) return name;
  throw new HatobaError(
    'invalid-argument',
    `"${name}" cannot be a container's name: it takes 2 to 128 letters, digits, "_", "." and "-", the first a letter or digit`,
  );
}

function pick(words: readonly string[], random: Random): string {
  return words[Math.floor(random.next() * words.length)] ?? '';
}
