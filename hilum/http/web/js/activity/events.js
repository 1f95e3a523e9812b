// What happened, newest first. The instances of a study are one line that counts while they
// arrive: a CT is hundreds of them.
import { getEvents } from "../api.js";
import { field, find, fromTemplate, setText } from "../dom.js";
import { count, moment, received } from "../format.js";
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
  "stable-series": ["Series complete"],
  "stable-study": ["Study complete"],
  "stable-patient": ["Patient complete"],
  conflict: ["conflict", "conflicts"],
};
const DELETED = {
  PATIENT: ["Patient deleted"],
  STUDY: ["Study deleted"],
  SERIES: ["Series deleted"],
  IMAGE: ["image deleted", "images deleted"],
};

/** An event in two or three words. */
export function kindText({ kind, level }, times = 1) {
  const [one, several] = (kind === "deleted" ? DELETED[level] : KINDS[kind]) ?? [kind];
  return several ? count(times, one, several) : one;
}

export class EventList {
  #root;
  #list;
  /** Lines, newest first: `{event, times, row}`; `event` is the newest of the line. */
  #lines = [];
  #last = 0;

  constructor(root) {
    this.#root = root;
    this.#list = find("ol", root);
  }

  /** Take over what is not known yet, and let times pass. */
  async refresh(signal) {
    const events = await getEvents({ since: this.#last, limit: FETCHED, signal });
    for (const event of events) this.add(event);
    for (const line of this.#lines) show(line);
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
    show(line);
    this.#list.prepend(line.row);
    for (const { row } of this.#lines.splice(SHOWN)) row.remove();
    field(this.#root, "blank").hidden = true;
  }
}

const continues = (before, event) =>
  event.level === "IMAGE" &&
  before.level === event.level &&
  before.kind === event.kind &&
  before.study === event.study;

function show({ event, times, row }) {
  row.dataset.kind = event.kind;
  const link = find("a", row);
  setText(link, kindText(event, times));
  link.href = studyHash(event.study_instance_uid);
  setText(field(row, "what"), event.study_instance_uid);
  const time = field(row, "time");
  setText(time, received(event.at));
  time.title = moment(event.at);
}
