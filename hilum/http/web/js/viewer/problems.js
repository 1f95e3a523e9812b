// Why there is no picture, and what one can do about it.

export const NO_IMAGES = {
  title: "No images in this series",
  text: "It holds documents or measurements, such as a report. They are stored and can be retrieved by a workstation.",
};

export const EMPTY_VIEWPORT = {
  title: "",
  text: "Drag a series here, or choose one on the left.",
};

const FRAMES = {
  "no-pixel-data": () => ({
    title: "Nothing to show",
    text: "This instance has no pixel data. It is stored as it was sent.",
  }),
  unsupported: (error) => ({
    title: "This image cannot be decoded here",
    text: `It is stored as it was sent; a workstation that knows its format can retrieve it. ${error.message}`,
  }),
  undecodable: (error) => ({
    title: "This image is damaged",
    text: `It arrived with pixel data that no decoder makes a picture of. ${error.message}`,
  }),
  corrupt: (error) => ({
    title: "This image is damaged",
    text: `Its pixel data cannot be decoded. Send it again from where it came from. ${error.message}`,
  }),
  "not-found": () => ({
    title: "This image is no longer here",
    text: "The study has changed on the node. Go back to the list and open it again.",
  }),
};

/** Describe why a frame cannot be shown. */
export function frameProblem(error, retry) {
  const known = FRAMES[error.code]?.(error);
  if (known) return known;
  return {
    title: "This image did not arrive",
    text: `${error.message} Check that the node runs and that the network is up.`,
    action: { label: "Try again", run: retry },
  };
}

/** Describe why a study cannot be shown. */
export function studyProblem(error, retry) {
  if (error.status === 404 || error.status === 400) {
    return {
      title: "No such study on this node",
      text: "The link may be old, or the study has not arrived yet. This page looks again every few seconds.",
    };
  }
  return {
    title: "The study cannot be opened",
    text: `${error.message} This page keeps trying.`,
    action: { label: "Try now", run: retry },
  };
}
