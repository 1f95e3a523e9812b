// What happened, newest first. The instances of a study are one line that counts while they
// arrive: a CT is hundreds of them.
import { getEvents } from "../api.js";
import { field, find, fromTemplate, setText } from "../dom.js";
import { count, join, moment, received } from "../format.js";
import { studyHash } from "../router.js";

const SHOWN = 100;
const FETCHED = 300;
/** Studies that arrive side by side, and what they begin, come between a study's images. */
const NEAR = 20;
const KINDS = {
  "new-instance": ["image stored", "images stored"],
  "new-series": ["New series"],
  "new-study": ["New study"],
  "new-patient": ["New patient"],
  conflict: ["conflict", "conflicts"],
};
const DELETED = {
  PATIENT: ["Patient deleted"],
  STUDY: ["Study deleted"],
  SERIES: ["Series deleted"],
  IMAGE: ["image deleted", "images deleted"],
};

const STABLE = {
  "stable-series": "Series",
  "stable-study": "Study",
  "stable-patient": "Patient",
};

/** An event in a few words. */
export function kindText({ kind, level, details }, times = 1) {
  if (STABLE[kind]) return stableText(STABLE[kind], details ?? {});
  const [one, several] = (kind === "deleted" ? DELETED[level] : KINDS[kind]) ?? [kind];
  return several ? count(times, one, several) : one;
}

/** That nothing more came says that all is there only where somebody said how much that is. */
function stableText(what, { complete, instances, expected_instances: expected }) {
  if (complete) return `${what} complete`;
  if (complete === false) return `${what} stable, ${instances} of ${count(expected, "image")}`;
  return `${what} stable`;
}

export class EventList {
  #root;
  #list;
  /** Lines, newest first: `{event, times, row}`; `event` is the newest of the line. */
  #lines = [];
  #last = 0;
  /** What studies are called, by their ids: most events name them by UID alone. */
  #names = new Map();

  constructor(root) {
    this.#root = root;
    this.#list = find("ol", root);
  }

  /** Take over what is not known yet, and let times pass. */
  async refresh(signal) {
    const events = await getEvents({ since: this.#last, limit: FETCHED, signal });
    for (const event of events) this.add(event);
    for (const line of this.#lines) this.#show(line);
    field(this.#root, "blank").hidden = this.#lines.length > 0;
  }

  /** Add what happened after everything before; what is known already is passed over. */
  add(event) {
    if (event.sequence <= this.#last) return;
    this.#last = event.sequence;
    const place = this.#lines.slice(0, NEAR).findIndex((line) => continues(line.event, event));
    const [line] =
      place < 0
        ? [{ event, times: 0, row: fromTemplate("event") }]
        : this.#lines.splice(place, 1);
    line.event = event;
    line.times += 1;
    this.#lines.unshift(line);
    const { StudyDescription: description, AccessionNumber: accession } = event.details?.tags ?? {};
    const name = join([description, accession]);
    if (name) this.#names.set(event.study, name);
    this.#show(line);
    this.#list.prepend(line.row);
    for (const { row } of this.#lines.splice(SHOWN)) row.remove();
    field(this.#root, "blank").hidden = true;
  }

  #show({ event, times, row }) {
    row.dataset.kind = event.kind;
    const link = find("a", row);
    setText(link, kindText(event, times));
    link.href = studyHash(event.study_instance_uid);
    const { origin, tags } = event.details ?? {};
    const what = field(row, "what");
    const name = this.#names.get(event.study) ?? event.study_instance_uid;
    const source = origin?.source && `from ${origin.source}`;
    setText(what, join([tags?.SeriesDescription, name, source]));
    what.title = event.study_instance_uid;
    const time = field(row, "time");
    setText(time, received(event.at));
    time.title = moment(event.at);
  }
}

const continues = (before, event) =>
  event.level === "IMAGE" &&
  before.level === event.level &&
  before.kind === event.kind &&
  before.study === event.study;
