// What the corners of the picture say, and the heading above it.
import { field, find, setText } from "../dom.js";
import * as format from "../format.js";
import { hasWindow } from "./window-level.js";

/** Fill one corner: one line a text, the first of them stronger if `strong`. */
function fillCorner(viewport, name, lines, strong = false) {
  const corner = find(`[data-corner="${name}"]`, viewport);
  while (corner.children.length < lines.length) corner.append(document.createElement("span"));
  [...corner.children].forEach((line, index) => setText(line, lines[index] ?? ""));
  corner.firstElementChild?.toggleAttribute("data-strong", strong);
}

/** Who and what: the heading of the page and the two upper corners; `null` empties them. */
export function showStudy(heading, viewport, study) {
  if (!study) {
    setText(field(heading, "patient"), "");
    setText(field(heading, "study"), "");
    fillCorner(viewport, "patient", []);
    fillCorner(viewport, "study", []);
    return;
  }
  const { name, other } = format.personName(study.patientName);
  const patient = name || "No name";
  const day = format.join([format.date(study.studyDate), format.time(study.studyTime)], " ");
  const age = format.age(study.patientBirthDate, study.studyDate);
  setText(field(heading, "patient"), format.join([patient, other], "  "));
  setText(field(heading, "study"), format.join([study.studyDescription, day, study.patientID]));
  fillCorner(
    viewport,
    "patient",
    [
      patient,
      other,
      study.patientID,
      format.join([format.date(study.patientBirthDate), age, study.patientSex]),
    ],
    true,
  );
  fillCorner(viewport, "study", [study.studyDescription, day, study.accessionNumber], true);
}

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

/** How it is shown: window, zoom, size. */
export function showPicture(viewport, frame, window, scale) {
  const { instance } = frame;
  const size = instance.columns && instance.rows ? `${instance.columns} × ${instance.rows}` : "";
  fillCorner(viewport, "picture", [
    size,
    `Zoom ${Math.round(scale * 100)} %`,
    hasWindow(instance) ? window.textFor(instance) : "Colour",
  ]);
}

export function clearFrame(viewport) {
  fillCorner(viewport, "series", []);
  fillCorner(viewport, "picture", []);
}

export const seriesTitle = (series) => series.seriesDescription || "No description";
export const seriesNumber = (series) =>
  series.seriesNumber === null || series.seriesNumber === undefined
    ? ""
    : `Series ${series.seriesNumber}`;
