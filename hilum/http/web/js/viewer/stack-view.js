// A series in a viewport: its frames on the canvas, scrolled, windowed, played, described.
import { ApiError, fetchFrame, frameUrl } from "../api.js";
import { showBlank } from "../blank.js";
import { debounce, find, oncePerPaint } from "../dom.js";
import { Cine, nextRate, USUAL_RATE } from "./cine.js";
import { Display } from "./display.js";
import { patientOrientationOf, rateOf, sharedOrientationOf, windowNamesOf } from "./facts.js";
import { FrameLoader } from "./frame-loader.js";
import { edgeLetters } from "./orientation.js";
import { clearFrame, seriesTitle, showEdges, showFrame, showPicture } from "./overlay.js";
import { watchPointer } from "./pointer.js";
import { EMPTY_VIEWPORT, frameProblem, NO_IMAGES } from "./problems.js";
import { probeRange } from "./range-probe.js";
import { hasWindow, WindowLevel } from "./window-level.js";

/** Frames fetched beforehand, in the direction of the last step and against it. */
const PREFETCH = { ahead: 10, behind: 3 };
/** A film has at least this much of its future at hand, if the node keeps up. */
const PREFETCH_SECONDS = 0.6;
const REST_MS = 250;

export class StackView {
  /** The series in view, or `null`. */
  stack = null;
  #root;
  #canvas;
  #blank;
  #display;
  #loader;
  #cine;
  #resize;
  #on;
  #facts;
  #windows;
  #studyUid = "";
  /** Where one wants to be in the stack; the canvas follows. */
  #position = 0;
  #direction = 1;
  /** The frame whose pixels are on the canvas. */
  #shown = null;
  /** What the file in view says, once it is known: `{rate, windowNames, directions, cosines}`. */
  #told = {};
  #rateChosen = false;
  #describe = oncePerPaint(() => this.#describePicture());
  #rested;
  #probing = false;
  /** The frame at the present position is to be asked for again when the node answers. */
  #again = false;

  /**
   * @param root - a `.viewport`.
   * @param shared - `{facts, windows}`: what files say, and windows by Series Instance UID,
   *   both of the study that is open.
   * @param on - `changed(view)` when what it shows or does is another; `rested(view)` once
   *   scrolling rests; `outdated()` when the study is no longer as it was described, or the
   *   node away; `press(view)`, `double(view)` of a pointer; `tool()` names the one in use.
   */
  constructor(root, { facts, windows }, on) {
    this.#root = root;
    this.#on = on;
    this.#facts = facts;
    this.#windows = windows;
    this.#canvas = find("canvas", root);
    this.#blank = find(".viewport__blank", root);
    this.#display = new Display(this.#canvas);
    this.#rested = debounce(() => {
      if (this.stack) this.#rest();
    }, REST_MS);
    this.#loader = new FrameLoader({
      fetch: ({ url, frame }, signal) => fetchFrame(url, signal, frame.instance.sopInstanceUID),
      arrived: (request, picture) => this.#draw(request, picture),
      failed: (_request, error) => this.#fail(error),
    });
    this.#cine = new Cine(() => this.#playNext());
    this.#canvas.addEventListener("focus", () => on.press(this));
    root.addEventListener("pointerdown", () => on.press(this));
    watchPointer(this.#canvas, root, {
      tool: on.tool,
      length: () => this.length,
      press: () => on.press(this),
      double: () => on.double(this),
      window: (right, down) => this.#dragWindow(right, down),
      windowEnd: () => this.#prefetch(),
      move: (right, down) => this.#place(() => this.#display.move(right, down)),
      zoom: (factor, x, y) => this.#place(() => this.#display.zoom(factor, x, y)),
      scroll: (images) => this.step(images),
    });
    this.#resize = new ResizeObserver(() => {
      this.#display.resized();
      this.#describe();
    });
    this.#resize.observe(root);
  }

  get root() {
    return this.#root;
  }

  get length() {
    return this.stack?.length ?? 0;
  }

  get position() {
    return this.#position;
  }

  /** The frame in view, or `null`. */
  get frame() {
    return this.stack?.frames[this.#position] ?? null;
  }

  get inverted() {
    return this.#display.inverted;
  }

  get playing() {
    return this.#cine.playing;
  }

  get rate() {
    return this.#cine.rate;
  }

  /** The rate that the file asks for, or the usual one. */
  get fileRate() {
    const frameTime = this.frame?.instance.frameTime;
    return this.#told.rate ?? (frameTime > 0 ? 1000 / frameTime : USUAL_RATE);
  }

  get windowNames() {
    return this.#told.windowNames ?? [];
  }

  /** The window of the series, or `null` without a series. */
  get window() {
    if (!this.stack) return null;
    const uid = this.stack.series.seriesInstanceUID;
    if (!this.#windows.has(uid)) this.#windows.set(uid, new WindowLevel());
    return this.#windows.get(uid);
  }

  focus() {
    this.#canvas.focus({ preventScroll: true });
  }

  /** Share memory and requests with so many viewports. */
  divide(viewports) {
    this.#loader.divide(viewports);
  }

  /** Show a series from `position` on, counted from 0. */
  open(studyUid, stack, position) {
    this.#cine.stop();
    const another = stack.series.seriesInstanceUID !== this.stack?.series.seriesInstanceUID;
    this.#studyUid = studyUid;
    this.stack = stack;
    if (another) {
      this.#display.fit();
      this.#shown = null;
      this.#told = {};
      this.#rateChosen = false;
    }
    if (stack.length === 0) {
      this.showProblem(NO_IMAGES);
      return;
    }
    this.#direction = 1;
    this.#go(stack.clamp(position));
    this.#takeFileRate();
    this.#learn();
  }

  /** Take a new description of the same series and stay at the same frame. */
  replace(studyUid, stack) {
    const { frame } = this;
    const position = frame ? stack.find(frame) : 0;
    // Frames are asked for by their place in the study, and places have moved.
    this.#loader.clear();
    const { playing } = this;
    this.open(studyUid, stack, position < 0 ? this.#position : position);
    if (playing) this.togglePlay();
  }

  /** The study is as it was described: ask again for what was refused. */
  confirm() {
    if (this.#again) this.#load();
  }

  /** Show nothing, and say that a series may be put here. */
  empty() {
    this.#forget();
    this.showProblem(EMPTY_VIEWPORT);
    this.#state("empty");
  }

  /** Forget the study. */
  close() {
    this.#forget();
    showBlank(this.#blank, null);
    this.#state("loading");
    this.#on.changed(this);
  }

  /** Be of no use any more. */
  dispose() {
    this.#forget();
    this.#resize.disconnect();
  }

  #forget() {
    this.#cine.stop();
    this.#loader.clear();
    this.stack = null;
    this.#shown = null;
    this.#told = {};
    this.#position = 0;
    this.#again = false;
    this.#display.inverted = false;
    this.#display.clear();
    this.#canvas.dataset.ready = "false";
    delete this.#canvas.dataset.frame;
    this.#canvas.setAttribute("aria-label", "No image");
    clearFrame(this.#root);
  }

  /** Say in the viewport why there is no picture. */
  showProblem(problem) {
    this.#cine.stop();
    this.#shown = null;
    clearFrame(this.#root);
    showBlank(this.#blank, problem);
    this.#state("blank");
    this.#on.changed(this);
  }

  step(images) {
    this.seek(this.#position + images);
  }

  seek(position) {
    if (!this.length) return;
    this.#pause();
    const next = this.stack.clamp(position);
    if (next === this.#position) return;
    this.#direction = Math.sign(next - this.#position);
    this.#go(next);
  }

  togglePlay() {
    if (this.playing) {
      this.#pause();
      this.#prefetch();
    } else if (this.length > 1) {
      this.#cine.play();
      this.#prefetch();
      this.#on.changed(this);
    }
  }

  /** Play at the next rate up (1) or down (-1). */
  faster(step) {
    this.#rateChosen = true;
    this.#cine.rate = nextRate(this.#cine.rate, step);
    this.#on.changed(this);
  }

  /** Play at the rate that the file asks for. */
  resetRate() {
    this.#rateChosen = false;
    this.#takeFileRate();
  }

  reset() {
    if (!this.length) return;
    this.window.reset();
    this.#display.inverted = false;
    this.#display.fit();
    this.#go(this.#position);
  }

  invert() {
    this.#display.inverted = !this.#display.inverted;
    this.#describe();
    this.#on.changed(this);
  }

  /** See the series through a window, see `WindowLevel.choose`. */
  chooseWindow(window) {
    if (!this.frame || !hasWindow(this.frame.instance)) return;
    this.window.choose(window);
    this.#go(this.#position);
  }

  zoom(factor) {
    this.#place(() => this.#display.zoomCentre(factor));
  }

  fit() {
    this.#place(() => this.#display.fit());
  }

  actualPixels() {
    this.#place(() => this.#display.actualPixels());
  }

  #place(change) {
    if (!this.#shown) return;
    change();
    this.#describe();
  }

  #pause() {
    if (!this.playing) return;
    this.#cine.stop();
    this.#on.changed(this);
  }

  #playNext() {
    const next = (this.#position + 1) % this.length;
    this.#direction = 1;
    if (!this.#loader.has(this.#request(next).key)) {
      this.#prefetch();
      return false;
    }
    this.#go(next);
    return true;
  }

  #go(position) {
    this.#position = position;
    this.#load();
    this.#prefetch();
    this.#on.changed(this);
    this.#rested();
  }

  #dragWindow(right, down) {
    const frame = this.#shown;
    if (!frame || !this.stack || !hasWindow(frame.instance)) return;
    if (!this.window.drag(right, down, frame.instance)) {
      this.#findRange(this.window, frame);
      return;
    }
    this.#load();
    this.#describe();
    this.#on.changed(this);
  }

  /** Learn where dragging is to start on an image without a window of its own. */
  async #findRange(window, { instance, studyIndex }) {
    if (this.#probing) return;
    this.#probing = true;
    const urlFor = (parameters) => frameUrl(this.#studyUid, studyIndex, parameters);
    try {
      window.range = await probeRange(urlFor, instance.photometricInterpretation === "MONOCHROME1");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the next drag tries again
    } finally {
      this.#probing = false;
    }
  }

  /** Have the frame at the present position drawn, now or when it is here. */
  #load() {
    this.#again = false;
    this.#canvas.dataset.ready = "false";
    this.#state("loading");
    this.#loader.show(this.#request(this.#position));
  }

  #prefetch() {
    if (!this.length) return;
    const places = this.playing
      ? this.#future()
      : this.stack.neighbours(this.#position, this.#direction, PREFETCH);
    this.#loader.prefetch(places.map((place) => this.#request(place)));
  }

  /** Positions that a film comes to next, round its end. */
  #future() {
    const wished = Math.max(PREFETCH.ahead, Math.ceil(this.#cine.rate * PREFETCH_SECONDS));
    const ahead = Math.min(wished, this.length - 1);
    return Array.from({ length: ahead }, (_, i) => (this.#position + 1 + i) % this.length);
  }

  #request(position) {
    const frame = this.stack.frames[position];
    const { instance, frameIndex, studyIndex } = frame;
    const parameters = hasWindow(instance) ? this.window.parametersFor(instance) : {};
    return {
      key: [instance.sopInstanceUID, frameIndex, parameters.center, parameters.width].join("/"),
      url: frameUrl(this.#studyUid, studyIndex, parameters),
      group: this.stack.series.seriesInstanceUID,
      frame,
    };
  }

  #draw({ key, frame }, picture) {
    this.#display.draw(picture);
    this.#shown = frame;
    const { dataset } = this.#canvas;
    dataset.frame = frame.studyIndex;
    dataset.position = frame.position;
    dataset.instance = frame.instance.sopInstanceUID;
    dataset.key = key;
    const label = `Image ${frame.position + 1} of ${this.stack.length}, ${seriesTitle(this.stack.series)}`;
    this.#canvas.setAttribute("aria-label", label);
    const wanted = key === this.#request(this.#position).key;
    dataset.ready = String(wanted);
    showFrame(this.#root, this.stack, frame);
    showBlank(this.#blank, null);
    this.#state(wanted ? "ready" : "loading");
    this.#describe();
  }

  #fail(error) {
    this.#again = error.code === "moved" || error.temporary;
    if (error.code === "moved" || error.code === "unreachable") this.#on.outdated();
    if (error.code === "moved") return; // the former picture stays, under its own label
    const { stack } = this;
    this.showProblem(frameProblem(error, () => this.#go(this.#position)));
    showFrame(this.#root, stack, stack.frames[this.#position]);
  }

  #describePicture() {
    if (!this.#shown || !this.stack) return;
    const { instance } = this.#shown;
    showPicture(this.#root, this.#shown, this.window, this.#display);
    const { imageOrientationPatient: own } = instance;
    const { cosines = [], directions } = this.#told;
    showEdges(this.#root, edgeLetters(own.length ? own : cosines, directions));
  }

  /** Scrolling rests: there is time to learn more of the file, and to tell where one is. */
  #rest() {
    this.#on.rested(this);
    if (!this.playing) this.#learn();
  }

  /** Ask what the study's description does not say, where it matters. */
  async #learn() {
    const { stack, frame } = this;
    const told = this.#told;
    const { instance } = frame;
    const film = instance.frameCount > 1;
    const known = film ? told.instance === instance.sopInstanceUID : told.instance !== undefined;
    if (known || !(film || instance.windows.length > 1)) return;
    told.instance = instance.sopInstanceUID;
    let dataSet;
    try {
      const { seriesInstanceUID } = stack.series;
      dataSet = await this.#facts.of(this.#studyUid, seriesInstanceUID, instance.sopInstanceUID);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return; // one does without
    }
    if (this.#told !== told || this.frame?.instance !== instance) return;
    told.rate = rateOf(dataSet);
    told.windowNames = windowNamesOf(dataSet);
    told.directions = patientOrientationOf(dataSet);
    told.cosines = sharedOrientationOf(dataSet);
    this.#takeFileRate();
    this.#describe();
  }

  #takeFileRate() {
    if (!this.#rateChosen) this.#cine.rate = this.fileRate;
    this.#on.changed(this);
  }

  #state(state) {
    this.#root.dataset.state = state;
  }
}
