// What a file says beyond the study's description: its data set in the DICOM JSON model
// (PS3.18 F.2), without its pixels.
import { getMetadata } from "../api.js";

const KEPT = 24;

/** Data sets of instances, asked for once each; the latest are kept. */
export class Facts {
  /** Oldest use first. */
  #known = new Map();

  /** The data set of an instance; an ApiError if it cannot be had, now or at all. */
  of(studyUid, seriesUid, sopInstanceUid) {
    const promise =
      this.#known.get(sopInstanceUid) ?? getMetadata(studyUid, seriesUid, sopInstanceUid);
    this.#known.delete(sopInstanceUid);
    this.#known.set(sopInstanceUid, promise);
    promise.catch(() => this.#known.delete(sopInstanceUid)); // the next wish asks again
    if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value);
    return promise;
  }

  clear() {
    this.#known.clear();
  }
}

const valuesOf = (dataSet, tag) => dataSet[tag]?.Value ?? [];
const numberOf = (dataSet, tag) => {
  const value = Number(valuesOf(dataSet, tag)[0]);
  return value > 0 ? value : null;
};

/**
 * Frames a second a file is to be shown at (PS3.3 C.7.6.5), or `null`: the rate it
 * recommends, else the one it was taken at, else its cine rate.
 */
export function rateOf(dataSet) {
  const recommended = numberOf(dataSet, "00082144");
  if (recommended) return recommended;
  const frameTime = numberOf(dataSet, "00181063") ?? meanStep(valuesOf(dataSet, "00181065"));
  return frameTime ? 1000 / frameTime : numberOf(dataSet, "00180040");
}

/** Of a Frame Time Vector, whose first value is 0: the mean of the others. */
function meanStep(vector) {
  const steps = vector.slice(1).map(Number);
  const mean = steps.reduce((sum, step) => sum + step, 0) / steps.length;
  return mean > 0 ? mean : null;
}

/** The names a file gives its windows, where it does. */
export const windowNamesOf = (dataSet) => valuesOf(dataSet, "00281055").map((name) => name ?? "");

/** Patient Orientation (0020,0020): towards where rows and columns run, as letters. */
export const patientOrientationOf = (dataSet) => valuesOf(dataSet, "00200020");

/**
 * Image Orientation (Patient) that all frames of an enhanced image share (PS3.3 C.7.6.16.2.4),
 * six numbers, or none.
 */
export function sharedOrientationOf(dataSet) {
  const [groups = {}] = valuesOf(dataSet, "52009229");
  const [plane = {}] = valuesOf(groups ?? {}, "00209116");
  return valuesOf(plane ?? {}, "00200037").map(Number);
}
