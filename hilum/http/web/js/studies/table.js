// The rows of the list. A refresh changes the texts that differ and moves no row that
// stays, so that a list one reads holds still while studies arrive.
import { frameUrl } from "../api.js";
import { element, field, find, fromTemplate, setText, setValue } from "../dom.js";
import * as format from "../format.js";
import { hasOhif, ohifUrl } from "../ohif.js";
import { studyHash } from "../router.js";
import { showThumbnail, thumbnailSize } from "../thumbnail.js";

const SEXES = { M: "M", F: "F", O: "other" };

export class StudyTable {
  #body;
  #rows = new Map();

  constructor(table) {
    this.#body = find("tbody", table);
  }

  /** Show placeholders until the first answer is here. */
  showSkeleton(count) {
    this.#rows.clear();
    this.#body.replaceChildren(
      ...Array.from({ length: count }, () => fromTemplate("study-skeleton")),
    );
  }

  /**
   * Show `studies`, in order.
   *
   * @param markNew - whether rows that were not there before are marked as arrived.
   */
  show(studies, markNew = false) {
    const kept = new Map();
    for (const study of studies) {
      const uid = study.studyInstanceUID;
      const row = this.#rows.get(uid) ?? newRow(uid, markNew);
      fill(row, study);
      kept.set(uid, row);
    }
    const gone = [...this.#body.children].filter((row) => kept.get(row.dataset.studyUid) !== row);
    for (const row of gone) row.remove();
    let place = this.#body.firstElementChild;
    for (const row of kept.values()) {
      if (row === place) place = place.nextElementSibling;
      else this.#body.insertBefore(row, place);
    }
    this.#rows = kept;
  }

  /** Focus the row of a study, if it is there. */
  focusStudy(uid) {
    const row = this.#rows.get(uid);
    if (row) find(".study__link", row).focus({ preventScroll: true });
  }

  /** Move the focus by `step` rows; from outside the list to its first row. */
  moveFocus(step) {
    const links = [...this.#rows.values()].map((row) => find(".study__link", row));
    const now = links.indexOf(document.activeElement);
    const next = now < 0 ? 0 : Math.min(Math.max(now + step, 0), links.length - 1);
    links[next]?.focus();
  }
}

function newRow(uid, arrived) {
  const row = fromTemplate("study-row");
  row.dataset.studyUid = uid;
  row.toggleAttribute("data-new", arrived);
  find(".study__link", row).href = studyHash(uid);
  linkToOhif(find('[data-link="ohif"]', row), uid);
  return row;
}

function fill(row, study) {
  const set = (name, text, placeholder) => setValue(field(row, name), text, placeholder);
  const { name, other } = format.personName(study.patientName);
  set("name", name, "No name");
  set("other-name", other);
  set("id", study.patientID, "No ID");
  set("born", format.date(study.patientBirthDate), "–");
  const age = format.age(study.patientBirthDate, study.studyDate);
  set("age-sex", format.join([age, SEXES[study.patientSex] ?? study.patientSex]));
  set("date", format.date(study.studyDate), "–");
  set("time", format.time(study.studyTime));
  set("description", study.studyDescription, "No description");
  set("referrer", format.personName(study.referringPhysicianName).name);
  set("accession", study.accessionNumber, "–");
  set("series", format.number(study.seriesCount));
  set("instances", format.number(study.instanceCount));
  const several = study.frameCount > study.instanceCount;
  set("frames", several ? format.count(study.frameCount, "frame") : "");
  const time = field(row, "received");
  setText(time, format.received(study.receivedAt));
  time.dateTime = study.receivedAt ?? "";
  time.title = format.moment(study.receivedAt);
  for (const clipped of ["name", "description", "accession"]) {
    field(row, clipped).title = field(row, clipped).textContent;
  }
  showModalities(field(row, "modalities"), study.modalities ?? []);
  const url = study.frameCount ? frameUrl(study.studyInstanceUID, 0, thumbnailSize("list")) : null;
  showThumbnail(find(".thumbnail", row), url);
}

async function linkToOhif(link, uid) {
  link.href = ohifUrl(uid);
  link.hidden = !(await hasOhif());
}

function showModalities(place, modalities) {
  const text = modalities.join(" ");
  if (place.dataset.modalities === text) return;
  place.dataset.modalities = text;
  const badges = modalities.map((modality) =>
    element("span", modality, { class: "badge", "data-modality": modality }),
  );
  place.replaceChildren(...badges);
}
