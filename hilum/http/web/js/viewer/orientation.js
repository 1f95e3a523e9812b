// Which side of the patient an edge of the picture is (PS3.3 C.7.6.1.1.1, C.7.6.2.1.1).

/** Directions of the patient's axes: x to the left, y to the back, z to the head. */
const POSITIVE = ["L", "P", "H"];
const OPPOSITE = { L: "R", R: "L", P: "A", A: "P", H: "F", F: "H" };
/** An oblique direction is named by what it has a good part of, most of it first. */
const GOOD_PART = 0.3;

/**
 * Letters for the edges, `{top, right, bottom, left}`, or `null` where nobody knows.
 *
 * @param cosines - Image Orientation (Patient), six numbers, or empty.
 * @param directions - Patient Orientation, two texts, for projections; or empty.
 */
export function edgeLetters(cosines, directions = []) {
  const [right, bottom] =
    cosines.length === 6 ? [letters(cosines.slice(0, 3)), letters(cosines.slice(3))] : directions;
  if (!known(right) || !known(bottom)) return null;
  return { top: opposite(bottom), right, bottom, left: opposite(right) };
}

function letters(direction) {
  return direction
    .map((part, axis) => ({
      size: Math.abs(part),
      letter: part > 0 ? POSITIVE[axis] : OPPOSITE[POSITIVE[axis]],
    }))
    .filter(({ size }) => size > GOOD_PART)
    .sort((one, other) => other.size - one.size)
    .map(({ letter }) => letter)
    .join("");
}

const known = (text) => /^[LRAPHF]{1,3}$/.test(text ?? "");
const opposite = (text) => [...text].map((letter) => OPPOSITE[letter]).join("");
