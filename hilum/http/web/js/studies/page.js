// The list of studies: loads it, keeps it current, loads more as one scrolls on.
import { ApiError, isAbort, listStudies } from "../api.js";
import { showBlank } from "../blank.js";
import { field, find, setText } from "../dom.js";
import { count } from "../format.js";
import { Keymap } from "../keyboard.js";
import { Poll } from "../polling.js";
import { replaceHash, studiesHash } from "../router.js";
import { Filters, filterOf, narrows } from "./filters.js";
import { StudyTable } from "./table.js";

const PAGE_SIZE = 50;
/** A refresh asks for what has been loaded, up to this many. */
const REFRESH_SIZE = 200;
const REFRESH_SECONDS = 4;
const RETRY_SECONDS = 5;

export class StudiesPage {
  #root = find("#main");
  #scroll = find("#studies-scroll");
  #notice = find("#studies-notice");
  #blank = find("#studies-blank");
  #table = new StudyTable(find("#study-table"));
  #filters;
  #end;
  #keys;
  #poll;
  #status;
  #upload;
  #filter = {};
  #studies = [];
  #total = 0;
  #loaded = false;
  #loadingMore = false;

  /**
   * @param status - the node's status, for its address in the empty list.
   * @param upload - called when somebody wants to upload from the empty list.
   */
  constructor(status, upload) {
    this.#status = status;
    this.#upload = upload;
    this.#filters = new Filters(find("#filters"), (values) => this.#narrow(values));
    this.#poll = new Poll((signal) => this.#refresh(signal), REFRESH_SECONDS);
    this.#keys = new Keymap({
      "/": () => this.#filters.focusSearch(),
      ArrowDown: () => this.#table.moveFocus(1),
      ArrowUp: () => this.#table.moveFocus(-1),
    });
    find("[name=search]").addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.#table.moveFocus(0);
    });
    this.#end = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) this.#loadMore();
      },
      { root: this.#scroll, rootMargin: "600px" },
    );
  }

  /**
   * Show the list for the filter in `query`.
   *
   * @param leftStudy - UID of the study one comes back from, if any.
   */
  show(query, leftStudy) {
    this.#root.hidden = false;
    document.title = "Studies · Hilum";
    this.#filters.show(query);
    this.#apply();
    this.#table.focusStudy(leftStudy);
    this.#keys.enable();
    this.#poll.start();
  }

  hide() {
    this.#root.hidden = true;
    this.#keys.disable();
    this.#poll.stop();
  }

  /** Something was stored: look soon whether there is something new. */
  refresh() {
    this.#poll.soon();
  }

  /** The node's address became known: it may stand in the empty list. */
  addressChanged() {
    if (this.#loaded && this.#total === 0) this.#showBlank();
  }

  #narrow(values) {
    replaceHash(studiesHash(values));
    if (this.#apply()) this.#poll.now();
  }

  /** Take the filter over from the fields; whether it is another one. */
  #apply() {
    const filter = filterOf(this.#filters.values);
    if (this.#loaded && JSON.stringify(filter) === JSON.stringify(this.#filter)) return false;
    this.#filter = filter;
    this.#loaded = false;
    this.#scroll.setAttribute("aria-busy", "true");
    if (this.#studies.length === 0) {
      showBlank(this.#blank, null);
      this.#table.showSkeleton(8);
    }
    return true;
  }

  async #refresh(signal) {
    const first = !this.#loaded;
    const wanted = first ? PAGE_SIZE : Math.max(this.#studies.length, PAGE_SIZE);
    const limit = Math.min(wanted, REFRESH_SIZE);
    try {
      const page = await listStudies(this.#filter, { limit, offset: 0, signal });
      const tail = first ? [] : without(this.#studies.slice(limit), page.data);
      this.#studies = [...page.data, ...tail];
      this.#take(page.total, !first);
      if (first) this.#scroll.scrollTop = 0;
      return REFRESH_SECONDS;
    } catch (error) {
      this.#fail(error);
      return RETRY_SECONDS;
    }
  }

  async #loadMore() {
    if (!this.#loaded || this.#loadingMore || this.#studies.length >= this.#total) return;
    this.#loadingMore = true;
    const filter = this.#filter;
    try {
      const page = await listStudies(filter, { limit: PAGE_SIZE, offset: this.#studies.length });
      if (filter !== this.#filter) return;
      this.#studies.push(...without(page.data, this.#studies));
      this.#take(page.total, false);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#loadingMore = false;
    }
  }

  #take(total, markNew) {
    this.#loaded = true;
    this.#total = total ?? this.#studies.length;
    this.#notice.hidden = true;
    this.#scroll.setAttribute("aria-busy", "false");
    this.#table.show(this.#studies, markNew);
    this.#watchEnd();
    setText(field(this.#root, "total"), this.#total ? studyCount(this.#total) : "");
    if (this.#total === 0) this.#showBlank();
    else showBlank(this.#blank, null);
  }

  /** Have the observer say anew whether the list's end is near. */
  #watchEnd() {
    const end = find("#studies-more");
    this.#end.unobserve(end);
    this.#end.observe(end);
  }

  #showBlank() {
    if (narrows(this.#filter)) {
      showBlank(this.#blank, {
        title: "No study matches",
        text: "Search looks in patient name, patient ID, accession number and description. Try fewer letters, another modality, or any date.",
        action: { label: "Clear search and filters", run: () => this.#clear() },
      });
      return;
    }
    const address = this.#status.address;
    showBlank(this.#blank, {
      title: "No studies yet",
      text: address
        ? `Send one from a modality or workstation to ${address}, drop files anywhere on this page, or try the node with its own synthetic studies:`
        : "Send one from a modality or workstation, or drop DICOM files, folders or ZIP archives anywhere on this page.",
      code: address ? `hilum demo ${address}` : "",
      action: { label: "Upload files", run: this.#upload },
    });
  }

  #clear() {
    this.#filters.clear();
    this.#narrow(this.#filters.values);
    this.#filters.focusSearch();
  }

  #fail(error) {
    if (isAbort(error)) return;
    if (!(error instanceof ApiError)) throw error;
    if (this.#loaded) {
      const text = `${error.message} The list is as it was; trying again every few seconds.`;
      setText(field(this.#notice, "text"), text);
      this.#notice.hidden = false;
      return;
    }
    this.#studies = [];
    this.#table.show([]);
    this.#scroll.setAttribute("aria-busy", "false");
    setText(field(this.#root, "total"), "");
    showBlank(this.#blank, {
      title: "The list cannot be shown",
      text: `${error.message} ${advice(error)}`,
      action: { label: "Try now", run: () => this.#poll.now() },
    });
  }
}

function advice(error) {
  if (error.code === "unreachable") {
    return "Check that the node runs and that the network is up; this page keeps trying.";
  }
  if (error.code === "index-unavailable") {
    return "Studies that arrive are still kept and will be listed once the database is back.";
  }
  return "This page keeps trying. If it goes on, the node's log says more.";
}

function without(studies, others) {
  const known = new Set(others.map((study) => study.studyInstanceUID));
  return studies.filter((study) => !known.has(study.studyInstanceUID));
}

const studyCount = (total) => count(total, "study", "studies");
