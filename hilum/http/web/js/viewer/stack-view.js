// A series on the stage: its frames on the canvas, scrolled, windowed, played, described.
import { ApiError, fetchFrame, frameUrl } from "../api.js";
import { showBlank } from "../blank.js";
import { debounce, find, oncePerPaint } from "../dom.js";
import { Cine } from "./cine.js";
import { Display } from "./display.js";
import { FrameLoader } from "./frame-loader.js";
import { clearFrame, seriesTitle, showFrame, showPicture } from "./overlay.js";
import { watchPointer } from "./pointer.js";
import { frameProblem, NO_IMAGES } from "./problems.js";
import { probeRange } from "./range-probe.js";
import { Transport } from "./transport.js";
import { hasWindow, WindowLevel } from "./window-level.js";

/** Frames fetched beforehand, in the direction of the last step and against it. */
const PREFETCH = { ahead: 10, behind: 3 };
const ADDRESS_PAUSE_MS = 250;

export class StackView {
  /** The series in view, or `null`. */
  stack = null;
  #studyUid = "";
  #viewport;
  #canvas;
  #blank;
  #display;
  #loader;
  #transport;
  #cine;
  #inverted;
  /** Where one wants to be in the stack; the canvas follows. */
  #position = 0;
  #direction = 1;
  /** The frame whose pixels are on the canvas. */
  #shown = null;
  /** Windows set by hand are kept while the study is open, by Series Instance UID. */
  #windows = new Map();
  #describe = oncePerPaint(() => this.#describePicture());
  #probing = false;
  #tellMoved;
  #tellOutdated;
  /** A picture was refused because the study had changed. */
  #outdated = false;

  /**
   * @param stage - element with the viewport and the transport.
   * @param on - `moved(stack, position)` once scrolling rests, `inverted(boolean)`,
   *   `outdated()` when the study is no longer as it was described.
   */
  constructor(stage, on) {
    this.#viewport = find(".viewport", stage);
    this.#canvas = find("canvas", stage);
    this.#blank = find(".viewport__blank", stage);
    this.#display = new Display(this.#canvas);
    this.#inverted = on.inverted;
    this.#tellOutdated = on.outdated;
    this.#tellMoved = debounce(() => {
      if (this.stack) on.moved(this.stack, this.#position);
    }, ADDRESS_PAUSE_MS);
    this.#loader = new FrameLoader({
      fetch: ({ url, frame }, signal) => fetchFrame(url, signal, frame.instance.sopInstanceUID),
      arrived: (request, picture) => this.#draw(request, picture),
      failed: (request, error) => this.#fail(error),
    });
    this.#cine = new Cine(() => this.#playNext());
    this.#transport = new Transport(find(".transport", stage), {
      seek: (position) => this.#seek(position),
      toggle: () => this.togglePlay(),
    });
    watchPointer(this.#canvas, this.#viewport, {
      window: (right, down) => this.#dragWindow(right, down),
      windowEnd: () => this.#prefetch(),
      move: (right, down) => this.#display.move(right, down),
      scroll: (images) => this.step(images),
      zoom: (factor, x, y) => this.#zoom(() => this.#display.zoom(factor, x, y)),
      reset: () => this.reset(),
    });
    new ResizeObserver(this.#describe).observe(this.#viewport);
  }

  focus() {
    this.#canvas.focus({ preventScroll: true });
  }

  /** Show a series from `position` on, counted from 0. */
  open(studyUid, stack, position) {
    this.#pause();
    const another = stack.series.seriesInstanceUID !== this.stack?.series.seriesInstanceUID;
    this.#studyUid = studyUid;
    this.stack = stack;
    if (another) {
      this.#display.fit();
      this.#shown = null;
    }
    if (stack.length === 0) {
      this.showProblem(NO_IMAGES);
      return;
    }
    this.#transport.show(stack.length);
    this.#direction = 1;
    this.#go(stack.clamp(position));
  }

  /** Take a new description of the same series and stay at the same frame. */
  replace(studyUid, stack) {
    const frame = this.stack.frames[this.#position];
    const position = frame ? stack.find(frame) : 0;
    // Frames are asked for by their place in the study, and places have moved.
    this.#loader.clear();
    const playing = this.#cine.playing;
    this.open(studyUid, stack, position < 0 ? this.#position : position);
    if (playing) this.togglePlay();
  }

  /** The study is as it was described: ask again for what was refused. */
  confirm() {
    if (this.#outdated) this.#load();
  }

  /** Forget the study. */
  close() {
    this.#pause();
    this.#loader.clear();
    this.#windows.clear();
    this.stack = null;
    this.#shown = null;
    if (this.#display.inverted) this.invert();
    this.#display.clear();
    this.#canvas.dataset.ready = "false";
    delete this.#canvas.dataset.frame;
    this.#transport.show(0);
    clearFrame(this.#viewport);
    showBlank(this.#blank, null);
    this.#state("loading");
  }

  /** Say on the stage why there is no picture. */
  showProblem(problem) {
    this.#pause();
    this.#shown = null;
    this.#transport.show(this.stack?.length ?? 0);
    clearFrame(this.#viewport);
    showBlank(this.#blank, problem);
    this.#state("blank");
  }

  step(images) {
    this.#seek(this.#position + images);
  }

  togglePlay() {
    if (this.#cine.playing) {
      this.#pause();
      this.#prefetch();
    } else if (this.stack?.length > 1) {
      this.#cine.play(this.stack.frames[this.#position].instance.frameTime);
      this.#transport.showPlaying(this.#cine.framesPerSecond);
    }
  }

  reset() {
    if (!this.stack?.length) return;
    this.#window.reset();
    this.#display.fit();
    if (this.#display.inverted) this.invert();
    this.#go(this.#position);
  }

  invert() {
    this.#display.inverted = !this.#display.inverted;
    this.#inverted(this.#display.inverted);
  }

  zoom(factor) {
    this.#zoom(() => this.#display.zoomCentre(factor));
  }

  #zoom(change) {
    if (!this.#shown) return;
    change();
    this.#describe();
  }

  get #window() {
    const uid = this.stack.series.seriesInstanceUID;
    if (!this.#windows.has(uid)) this.#windows.set(uid, new WindowLevel());
    return this.#windows.get(uid);
  }

  #pause() {
    this.#cine.stop();
    this.#transport.showPaused();
  }

  #seek(position) {
    if (!this.stack?.length) return;
    this.#pause();
    const next = this.stack.clamp(position);
    if (next === this.#position) return;
    this.#direction = Math.sign(next - this.#position);
    this.#go(next);
  }

  #playNext() {
    const next = (this.#position + 1) % this.stack.length;
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
    this.#transport.showPosition(position, this.stack.length);
    this.#load();
    this.#prefetch();
    this.#tellMoved();
  }

  #dragWindow(right, down) {
    const frame = this.#shown;
    if (!frame || !this.stack || !hasWindow(frame.instance)) return;
    if (!this.#window.drag(right, down, frame.instance)) {
      this.#findRange(this.#window, frame);
      return;
    }
    this.#load();
    this.#describe();
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
    this.#outdated = false;
    this.#canvas.dataset.ready = "false";
    this.#state("loading");
    this.#loader.show(this.#request(this.#position));
  }

  #prefetch() {
    if (!this.stack?.length) return;
    const places = this.#cine.playing
      ? Array.from(
          { length: PREFETCH.ahead },
          (_, i) => (this.#position + 1 + i) % this.stack.length,
        )
      : this.stack.neighbours(this.#position, this.#direction, PREFETCH);
    this.#loader.prefetch(places.map((place) => this.#request(place)));
  }

  #request(position) {
    const frame = this.stack.frames[position];
    const { instance, frameIndex, studyIndex } = frame;
    const parameters = hasWindow(instance) ? this.#window.parameters : {};
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
    const label = `Image ${frame.position + 1} of ${this.stack.length}, ${seriesTitle(this.stack.series)}`;
    this.#canvas.setAttribute("aria-label", label);
    const wanted = key === this.#request(this.#position).key;
    dataset.ready = String(wanted);
    showFrame(this.#viewport, this.stack, frame);
    showBlank(this.#blank, null);
    this.#state(wanted ? "ready" : "loading");
    this.#describe();
  }

  #fail(error) {
    if (error.code === "moved") {
      this.#outdated = true;
      this.#tellOutdated(); // the former picture stays, under its own label, until then
      return;
    }
    const { stack } = this;
    this.showProblem(frameProblem(error, () => this.#go(this.#position)));
    showFrame(this.#viewport, stack, stack.frames[this.#position]);
  }

  #describePicture() {
    if (!this.#shown || !this.stack) return;
    showPicture(this.#viewport, this.#shown, this.#window, this.#display.scale);
  }

  #state(state) {
    this.#viewport.dataset.state = state;
  }
}
