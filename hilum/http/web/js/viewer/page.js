// The viewer: one study; its series down the side, one of them on the stage.
import { ApiError, getStudy, isAbort } from "../api.js";
import { find } from "../dom.js";
import { personName } from "../format.js";
import { Keymap } from "../keyboard.js";
import { Poll } from "../polling.js";
import { replaceHash, studyHash } from "../router.js";
import { showStudy } from "./overlay.js";
import { NO_IMAGES, studyProblem } from "./problems.js";
import { Rail } from "./rail.js";
import { layoutOf, Stack } from "./stack.js";
import { StackView } from "./stack-view.js";

/** A study may still be arriving: look often at first, seldom once it is quiet. */
const REFRESH_SECONDS = { first: 4, longest: 30 };

export class ViewerPage {
  #root = find("#viewer");
  #heading = find("#viewer-heading");
  #rail = new Rail(find("#series-list"), (uid) => this.#openSeries(uid, 0));
  #view;
  #keys;
  #poll;
  #study = null;
  #studyUid = "";
  /** Series and image (counted from 1) the address asked for. */
  #wish = { series: null, image: 1 };
  #pause = REFRESH_SECONDS.first;

  /**
   * @param leave - called to go back to the list.
   * @param shortcuts - called to show the keys.
   */
  constructor(leave, shortcuts) {
    this.#view = new StackView(find(".stage", this.#root), {
      moved: (stack, position) => this.#keepAddress(stack, position),
      outdated: () => this.#poll.soon(),
      inverted: (inverted) => this.#button("invert").setAttribute("aria-pressed", inverted),
    });
    this.#poll = new Poll((signal) => this.#refresh(signal), REFRESH_SECONDS.first);
    this.#keys = this.#makeKeys(leave, shortcuts);
    this.#button("reset").addEventListener("click", () => this.#view.reset());
    this.#button("invert").addEventListener("click", () => this.#view.invert());
    this.#button("shortcuts").addEventListener("click", shortcuts);
  }

  /** Show a study, at the series and image that `query` names. */
  show(studyUid, query) {
    if (studyUid !== this.#studyUid) this.#forget();
    this.#studyUid = studyUid;
    const image = Number.parseInt(query.get("image"), 10) || 1;
    this.#wish = { series: query.get("series"), image };
    this.#root.hidden = false;
    this.#heading.hidden = false;
    this.#keys.enable();
    if (this.#study) this.#openWish();
    this.#poll.start();
    this.#view.focus();
  }

  hide() {
    this.#root.hidden = true;
    this.#heading.hidden = true;
    this.#keys.disable();
    this.#poll.stop();
    this.#forget();
    this.#studyUid = "";
  }

  #forget() {
    this.#study = null;
    this.#pause = REFRESH_SECONDS.first;
    this.#rail.clear();
    this.#view.close();
    showStudy(this.#heading, this.#root, null);
    document.title = "Hilum";
  }

  async #refresh(signal) {
    try {
      const study = await getStudy(this.#studyUid, signal);
      const quiet = this.#study !== null && layoutOf(study) === layoutOf(this.#study);
      this.#pause = quiet
        ? Math.min(this.#pause * 2, REFRESH_SECONDS.longest)
        : REFRESH_SECONDS.first;
      if (quiet) this.#view.confirm();
      else this.#take(study);
    } catch (error) {
      if (isAbort(error)) return 0;
      if (!(error instanceof ApiError)) throw error;
      // A study on the screen stays there while the node is away.
      if (!this.#study) this.#view.showProblem(studyProblem(error, () => this.#poll.now()));
    }
    return this.#pause;
  }

  #take(study) {
    const first = this.#study === null;
    this.#study = study;
    document.title = `${personName(study.patientName).name || "No name"} · Hilum`;
    showStudy(this.#heading, this.#root, study);
    this.#rail.show(study);
    if (first) this.#openWish();
    else this.#reopen();
  }

  #openWish() {
    const { series, image } = this.#wish;
    const known = this.#study.series.find((one) => one.seriesInstanceUID === series);
    const usual = this.#study.series.find((one) => one.frameCount > 0) ?? this.#study.series[0];
    this.#openSeries((known ?? usual)?.seriesInstanceUID, known ? image - 1 : 0);
  }

  /** Instances came: the series in view goes on where it was, under its new addresses. */
  #reopen() {
    const uid = this.#view.stack?.series.seriesInstanceUID;
    const series = this.#study.series.find((one) => one.seriesInstanceUID === uid);
    if (series) this.#view.replace(this.#studyUid, new Stack(series));
    else this.#openWish();
  }

  #openSeries(uid, position) {
    const series = this.#study.series.find((one) => one.seriesInstanceUID === uid);
    if (!series) {
      this.#view.showProblem(NO_IMAGES);
      return;
    }
    this.#rail.mark(uid);
    this.#view.open(this.#studyUid, new Stack(series), position);
  }

  #stepSeries(step) {
    const all = this.#study?.series ?? [];
    const now = all.findIndex((series) => series === this.#view.stack?.series);
    const next = all[now + step];
    if (next) this.#openSeries(next.seriesInstanceUID, 0);
  }

  #keepAddress(stack, position) {
    const place = { series: stack.series.seriesInstanceUID, image: position + 1 };
    replaceHash(studyHash(this.#studyUid, place));
  }

  #button(action) {
    return find(`[data-action="${action}"]`, this.#heading);
  }

  #makeKeys(leave, shortcuts) {
    const view = this.#view;
    const step = (images) => () => view.step(images);
    return new Keymap({
      ArrowUp: step(-1),
      ArrowLeft: step(-1),
      ArrowDown: step(1),
      ArrowRight: step(1),
      PageUp: step(-10),
      PageDown: step(10),
      Home: step(-Infinity),
      End: step(Infinity),
      "[": () => this.#stepSeries(-1),
      "]": () => this.#stepSeries(1),
      " ": () => view.togglePlay(),
      "+": () => view.zoom(1.25),
      "=": () => view.zoom(1.25),
      "-": () => view.zoom(0.8),
      r: () => view.reset(),
      i: () => view.invert(),
      "?": shortcuts,
      Escape: leave,
    });
  }
}
