// What the node does, as it happens: what waits to be delivered, what happened, who sent files,
// and what was deleted and can be had back.
import { ApiError, isAbort } from "../api.js";
import { field, find, setText } from "../dom.js";
import { Poll } from "../polling.js";
import { EventList } from "./events.js";
import { QueueList } from "./queue.js";
import { TrashList } from "./trash.js";
import { UploadLog } from "./uploads.js";

/** Everything is told as it happens; this is for what was missed, and for times that pass. */
const SECONDS = 15;

export class ActivityPage {
  #root = find("#activity");
  #notice = find("#activity-notice");
  #queue = new QueueList(find("#activity-queue"), (error) => this.#tell(error));
  #events = new EventList(find("#activity-events"));
  #trash = new TrashList(find("#activity-trash"), (error) => this.#tell(error));
  #uploads = new UploadLog(find("#activity-uploads"));
  #poll = new Poll((signal) => this.#refresh(signal), SECONDS);

  /** @param live - what happens, as it happens. */
  constructor(live) {
    live.on("event", (event) => this.#happened(event));
    live.on("queue", () => this.#poll.soon());
    live.on("upload", (upload) => this.#uploads.add(upload));
  }

  show() {
    this.#root.hidden = false;
    document.title = "Activity · Hilum";
    this.#poll.start();
  }

  hide() {
    this.#root.hidden = true;
    this.#poll.stop();
  }

  #happened(event) {
    this.#events.add(event);
    if (event.kind === "deleted") this.#poll.soon();
  }

  async #refresh(signal) {
    try {
      await Promise.all(
        [this.#queue, this.#events, this.#uploads, this.#trash].map((part) => part.refresh(signal)),
      );
      this.#notice.hidden = true;
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error) {
    if (isAbort(error)) return;
    if (!(error instanceof ApiError)) throw error;
    setText(field(this.#notice, "text"), error.message);
    this.#notice.hidden = false;
  }
}
