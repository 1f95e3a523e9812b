// What the corners of the picture say, and the heading above it.
import { field, find, setText } from "../dom.js";
import * as format from "../format.js";
import { hasWindow } from "./window-level.js";

/** Fill one corner: one line a text, the first of them stronger if `strong`. */
function fillCorner(viewport, name, lines, strong = false) {
  const corner = find(`[data-corner="${name}"]`, viewport);
  while (corner.children.length < lines.length) corner.append(document.createElement("span"));
  for (const [index, line] of [...corner.children].entries()) setText(line, lines[index] ?? "");
  corner.firstElementChild?.toggleAttribute("data-strong", strong);
}

/** Who and what is examined, in the heading of the page; `null` empties it. */
export function showHeading(heading, study) {
  find('[data-link="archive"]', heading).hidden = !study;
  if (!study) {
    setText(field(heading, "patient"), "");
    setText(field(heading, "study"), "");
    return;
  }
  const { patient, other } = patientOf(study);
  setText(field(heading, "patient"), format.join([patient, other], "  "));
  setText(
    field(heading, "study"),
    format.join([study.studyDescription, dayOf(study), study.patientID]),
  );
}

/** The same in the two upper corners of a viewport; `null` empties them. */
export function showStudy(viewport, study) {
  if (!study) {
    fillCorner(viewport, "patient", []);
    fillCorner(viewport, "study", []);
    return;
  }
  const { patient, other } = patientOf(study);
  const age = format.age(study.patientBirthDate, study.studyDate);
  const birth = format.join([format.date(study.patientBirthDate), age, study.patientSex]);
  fillCorner(viewport, "patient", [patient, other, study.patientID, birth], true);
  const lines = [study.studyDescription, dayOf(study), study.accessionNumber];
  fillCorner(viewport, "study", lines, true);
}

function patientOf(study) {
  const { name, other } = format.personName(study.patientName);
  return { patient: name || "No name", other };
}

const dayOf = (study) =>
  format.join([format.date(study.studyDate), format.time(study.studyTime)], " ");

/** Which series and which of its images is on the canvas. */
export function showFrame(viewport, stack, frame) {
  const { series } = stack;
  const { instance } = frame;
  const image = instance.instanceNumber ? `Instance ${instance.instanceNumber}` : "";
  const part =
    instance.frameCount > 1 ? `frame ${frame.frameIndex + 1} of ${instance.frameCount}` : "";
  fillCorner(viewport, "series", [
    format.join([seriesNumber(series), seriesTitle(series)]),
    format.join([image, part]),
    `Image ${frame.position + 1} / ${stack.length}`,
  ]);
}

/** How it is shown: size, zoom, window. */
export function showPicture(viewport, frame, window, { scale, inverted }) {
  const { instance } = frame;
  const size = instance.columns && instance.rows ? `${instance.columns} × ${instance.rows}` : "";
  fillCorner(viewport, "picture", [
    size,
    `Zoom ${Math.round(scale * 100)} %`,
    hasWindow(instance) ? window.textFor(instance) : "Colour",
    inverted ? "Inverted" : "",
  ]);
}

/** Which side of the patient each edge is; `null` if nobody knows. */
export function showEdges(viewport, letters) {
  for (const edge of ["top", "right", "bottom", "left"]) {
    setText(find(`[data-edge="${edge}"]`, viewport), letters?.[edge] ?? "");
  }
}

export function clearFrame(viewport) {
  fillCorner(viewport, "series", []);
  fillCorner(viewport, "picture", []);
  showEdges(viewport, null);
}

export const seriesTitle = (series) => series.seriesDescription || "No description";
export const seriesNumber = (series) =>
  series.seriesNumber === null || series.seriesNumber === undefined
    ? ""
    : `Series ${series.seriesNumber}`;
