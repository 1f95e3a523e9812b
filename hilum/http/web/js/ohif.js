// Links to OHIF, where the node serves it.

const ADDRESS = "ohif/";

/** Whether OHIF is installed on the node; asked once, as long as nobody reloads the page. */
let installed = null;

export function hasOhif(signal) {
  installed ??= fetch(ADDRESS, { method: "HEAD", signal }).then(
    (answer) => answer.ok,
    () => {
      installed = null; // no answer is none: the next one who asks looks again
      return false;
    },
  );
  return installed;
}

export const ohifUrl = (studyUid) =>
  `${ADDRESS}viewer?${new URLSearchParams({ StudyInstanceUIDs: studyUid })}`;
