// The viewer: one study; its series down the side, some of them in viewports.
import { ApiError, archiveUrl, getStudy, isAbort } from "../api.js";
import { field, find, setText } from "../dom.js";
import { personName } from "../format.js";
import { Keymap } from "../keyboard.js";
import { hasOhif, ohifUrl } from "../ohif.js";
import { Poll } from "../polling.js";
import { replaceHash, studyHash } from "../router.js";
import { Facts } from "./facts.js";
import { Grid, LAYOUTS } from "./grid.js";
import { MetadataPanel } from "./metadata-panel.js";
import { showHeading } from "./overlay.js";
import { NO_IMAGES, studyProblem } from "./problems.js";
import { Rail } from "./rail.js";
import { layoutOf, Stack } from "./stack.js";
import { Toolbar } from "./toolbar.js";
import { Transport } from "./transport.js";

/** A study may still be arriving: look often at first, seldom once it is quiet. */
const REFRESH_SECONDS = { first: 4, longest: 30 };
const ZOOM_STEP = 1.25;

export class ViewerPage {
  #root = find("#viewer");
  #heading = find("#viewer-heading");
  #notice = find("#viewer-notice");
  #facts = new Facts();
  /** Windows set by hand or chosen are kept while the study is open. */
  #windows = new Map();
  #rail;
  #grid;
  #toolbar;
  #transport;
  #metadata;
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
    this.#poll = new Poll((signal) => this.#refresh(signal), REFRESH_SECONDS.first);
    this.#rail = new Rail(find("#series-list"), (uid) => this.#openSeries(uid, 0));
    this.#metadata = new MetadataPanel(find("#metadata"), this.#facts, () => {
      this.#show(this.#view);
      this.#view.focus();
    });
    this.#toolbar = new Toolbar(find(".tools", this.#heading), {
      window: (window) => {
        this.#view.chooseWindow(window);
        this.#view.focus(); // or letters would search the menu
      },
      layout: (name) => this.#setLayout(name),
      invert: () => this.#view.invert(),
      reset: () => this.#view.reset(),
      fit: () => this.#view.fit(),
      actual: () => this.#view.actualPixels(),
      metadata: () => this.#toggleMetadata(),
      shortcuts,
    });
    this.#transport = new Transport(find("#transport"), {
      seek: (position) => this.#view.seek(position),
      toggle: () => this.#view.togglePlay(),
      faster: (step) => this.#view.faster(step),
      fileRate: () => this.#view.resetRate(),
    });
    const shared = { facts: this.#facts, windows: this.#windows };
    this.#grid = new Grid(find(".grid", this.#root), shared, {
      tool: () => this.#toolbar.tool,
      changed: (view) => this.#show(view),
      rested: (view) => this.#rest(view),
      outdated: () => this.#poll.soon(),
      dropped: (uid) => this.#openSeries(uid, 0),
    });
    this.#keys = this.#makeKeys(leave, shortcuts);
    this.#keepKeysWithPicture();
    this.#show(this.#view);
  }

  /** Show a study, at the series and image that `query` names. */
  show(studyUid, query) {
    if (studyUid !== this.#studyUid) this.#forget();
    this.#studyUid = studyUid;
    const image = Number.parseInt(query.get("image"), 10) || 1;
    this.#wish = { series: query.get("series"), image };
    const layout = query.get("layout"); // without one, studies are seen as the last one was
    if (Object.hasOwn(LAYOUTS, layout) && layout !== this.#grid.layout) this.#setLayout(layout);
    this.#root.hidden = false;
    this.#heading.hidden = false;
    this.#keys.enable();
    if (this.#study) this.#openWish();
    this.#poll.start();
    this.#view.focus();
    find('[data-link="archive"]', this.#heading).href = archiveUrl(this.#studyUid);
    this.#linkToOhif();
  }

  hide() {
    this.#root.hidden = true;
    this.#heading.hidden = true;
    this.#keys.disable();
    this.#poll.stop();
    this.#forget();
    this.#studyUid = "";
  }

  /** The view that keys and tools act on. */
  get #view() {
    return this.#grid.active;
  }

  #forget() {
    this.#study = null;
    this.#pause = REFRESH_SECONDS.first;
    this.#rail.clear();
    this.#grid.close();
    this.#windows.clear();
    this.#facts.clear();
    this.#metadata.clear();
    this.#notice.hidden = true;
    showHeading(this.#heading, null);
    document.title = "Hilum";
  }

  async #refresh(signal) {
    try {
      const study = await getStudy(this.#studyUid, signal);
      this.#notice.hidden = true;
      const quiet = this.#study !== null && layoutOf(study) === layoutOf(this.#study);
      this.#pause = quiet
        ? Math.min(this.#pause * 2, REFRESH_SECONDS.longest)
        : REFRESH_SECONDS.first;
      if (quiet) for (const view of this.#grid.views) view.confirm();
      else this.#take(study);
    } catch (error) {
      if (isAbort(error)) return 0;
      if (!(error instanceof ApiError)) throw error;
      this.#pause = REFRESH_SECONDS.first;
      this.#explain(error);
    }
    return this.#pause;
  }

  /** A study on the screen stays there while the node is away. */
  #explain(error) {
    if (!this.#study) {
      this.#view.showProblem(studyProblem(error, () => this.#poll.now()));
      return;
    }
    const text = `${error.message} What is on the screen stays; trying again every few seconds.`;
    setText(field(this.#notice, "text"), text);
    this.#notice.hidden = false;
  }

  #take(study) {
    const first = this.#study === null;
    this.#study = study;
    document.title = `${personName(study.patientName).name || "No name"} · Hilum`;
    showHeading(this.#heading, study);
    this.#grid.showStudy(study);
    this.#rail.show(study);
    if (first) this.#openWish();
    else this.#reopen();
    this.#fill();
  }

  #openWish() {
    const { series, image } = this.#wish;
    const known = this.#seriesOf(series);
    const usual = this.#study.series.find((one) => one.frameCount > 0) ?? this.#study.series[0];
    this.#openSeries((known ?? usual)?.seriesInstanceUID, known ? image - 1 : 0);
  }

  /** Instances came: what is in view goes on where it was, under its new addresses. */
  #reopen() {
    for (const view of this.#grid.views) {
      const series = this.#seriesOf(view.stack?.series.seriesInstanceUID);
      if (series) view.replace(this.#studyUid, new Stack(series));
      else if (view === this.#view) this.#openWish();
    }
  }

  #seriesOf(uid) {
    return this.#study?.series.find((one) => one.seriesInstanceUID === uid);
  }

  #openSeries(uid, position) {
    const series = this.#seriesOf(uid);
    if (!series) {
      this.#view.showProblem(NO_IMAGES);
      return;
    }
    this.#view.open(this.#studyUid, new Stack(series), position);
  }

  /** Put the series that are not in view yet, in their order, where there is none. */
  #fill() {
    const shown = new Set(this.#shownSeries());
    const rest = this.#study.series.filter(
      (series) => series.frameCount > 0 && !shown.has(series.seriesInstanceUID),
    );
    for (const view of this.#grid.views.filter((one) => !one.stack)) {
      const series = rest.shift();
      if (series) view.open(this.#studyUid, new Stack(series), 0);
      else view.empty();
    }
  }

  #shownSeries() {
    return this.#grid.views.flatMap((view) => view.stack?.series.seriesInstanceUID ?? []);
  }

  #setLayout(name) {
    this.#grid.setLayout(name);
    if (this.#study) this.#fill();
    this.#show(this.#view);
    this.#rest(this.#view);
  }

  #nextLayout() {
    const names = Object.keys(LAYOUTS);
    this.#setLayout(names[(names.indexOf(this.#grid.layout) + 1) % names.length]);
  }

  #stepSeries(step) {
    const all = this.#study?.series ?? [];
    const uid = this.#view.stack?.series.seriesInstanceUID;
    const now = all.findIndex((series) => series.seriesInstanceUID === uid);
    const next = all[now + step];
    if (next) this.#openSeries(next.seriesInstanceUID, 0);
  }

  /** A view shows or does something else. */
  #show(view) {
    this.#rail.mark(this.#view.stack?.series.seriesInstanceUID, this.#shownSeries());
    if (view !== this.#view) return;
    this.#transport.show(view);
    this.#toolbar.show(view, { layout: this.#grid.layout, metadata: this.#metadata.open });
  }

  /** A view rests at an image: keep the address, tell its attributes. */
  #rest(view) {
    if (view !== this.#view || !view.stack || !this.#study) return;
    const { layout } = this.#grid;
    const place = {
      layout: layout === "1x1" ? "" : layout,
      series: view.stack.series.seriesInstanceUID,
      image: view.position + 1,
    };
    replaceHash(studyHash(this.#studyUid, place));
    this.#metadata.show(this.#studyUid, view);
  }

  /** A button that was clicked gives the keys back to the picture; one tabbed to keeps them. */
  #keepKeysWithPicture() {
    for (const part of ["#series-list", "#viewer-heading .tools", "#transport"]) {
      find(part).addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (button && button.dataset.action !== "metadata" && event.detail > 0) this.#view.focus();
      });
    }
  }

  #toggleMetadata() {
    this.#metadata.toggle();
    this.#show(this.#view);
    this.#metadata.show(this.#studyUid, this.#view);
  }

  async #linkToOhif() {
    const link = find('[data-link="ohif"]', this.#heading);
    link.href = ohifUrl(this.#studyUid);
    link.hidden = !(await hasOhif());
  }

  /** Esc takes back one thing after the other, and leaves in the end. */
  #escape(leave) {
    if (this.#metadata.open) this.#metadata.close();
    else if (this.#grid.maximised) this.#grid.maximise();
    else leave();
  }

  #makeKeys(leave, shortcuts) {
    const on = (action) => () => action(this.#view);
    const step = (images) => on((view) => view.step(images));
    const tool = (name) => () => this.#toolbar.choose(name);
    const windowKey = (event) => {
      const window = this.#toolbar.windowOfKey(this.#view, event.key);
      if (window) this.#view.chooseWindow(window);
    };
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
      " ": on((view) => view.togglePlay()),
      ",": on((view) => view.faster(-1)),
      ".": on((view) => view.faster(1)),
      ...Object.fromEntries([..."0123456"].map((key) => [key, windowKey])),
      "+": on((view) => view.zoom(ZOOM_STEP)),
      "=": on((view) => view.zoom(ZOOM_STEP)),
      "-": on((view) => view.zoom(1 / ZOOM_STEP)),
      w: tool("window"),
      z: tool("zoom"),
      p: tool("pan"),
      s: tool("scroll"),
      f: on((view) => view.fit()),
      a: on((view) => view.actualPixels()),
      i: on((view) => view.invert()),
      r: on((view) => view.reset()),
      l: () => this.#nextLayout(),
      v: () => this.#grid.activateNext(1),
      Enter: () => this.#grid.maximise(),
      m: () => this.#toggleMetadata(),
      "?": shortcuts,
      Escape: () => this.#escape(leave),
    });
  }
}
