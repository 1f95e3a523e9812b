// The frames of a series in the order one scrolls through them.

/**
 * One frame: `position` in its series, `studyIndex` in the study's order of frames (what the
 * node is asked for), and where it lies in its instance. All three count from 0.
 */
export class Stack {
  /** @param series - one of a study's series, as the node describes it. */
  constructor(series) {
    this.series = series;
    this.frames = series.instances
      .filter((instance) => instance.frameCount > 0)
      .flatMap((instance) =>
        Array.from({ length: instance.frameCount }, (_, frameIndex) => ({
          instance,
          frameIndex,
          studyIndex: instance.firstFrame + frameIndex,
        })),
      )
      .map((frame, position) => ({ ...frame, position }));
  }

  get length() {
    return this.frames.length;
  }

  /** Nearest position the series has. */
  clamp(position) {
    return Math.min(Math.max(position, 0), this.length - 1);
  }

  /** Position of the same frame after instances were added, or -1. */
  find({ instance, frameIndex }) {
    return this.frames.findIndex(
      (frame) =>
        frame.frameIndex === frameIndex &&
        frame.instance.sopInstanceUID === instance.sopInstanceUID,
    );
  }

  /** Positions around `position` in the order they are likely to be wanted. */
  neighbours(position, direction, { ahead, behind }) {
    const steps = [
      ...Array.from({ length: ahead }, (_, i) => (i + 1) * direction),
      ...Array.from({ length: behind }, (_, i) => -(i + 1) * direction),
    ];
    return steps
      .map((step) => position + step)
      .filter((place) => place >= 0 && place < this.length);
  }
}

/** What tells one description of a study from another: its instances and their places. */
export function layoutOf(study) {
  return study.series
    .flatMap((series) => series.instances)
    .map((instance) => `${instance.sopInstanceUID}@${instance.firstFrame}+${instance.frameCount}`)
    .join();
}
