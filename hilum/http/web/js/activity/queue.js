// What waits to be delivered to others: each receiver, and the deliveries that are not done.
import { changeQueue, getQueue } from "../api.js";
import { field, find, fromTemplate, setText } from "../dom.js";
import { count, join, moment, number, received } from "../format.js";
import { studyHash } from "../router.js";
import { kindText } from "./events.js";

const SHOWN = 50;
const STATES = { waiting: "Waiting", dead: "Failed" };

export class QueueList {
  #root;
  #receivers;
  #rows;
  #failed;

  /** @param failed - called with the error of something a button was to do. */
  constructor(root, failed) {
    this.#root = root;
    this.#receivers = find('[data-part="receivers"]', root);
    this.#rows = find("tbody", root);
    this.#failed = failed;
  }

  async refresh(signal) {
    const { data, subscriptions } = await getQueue({ limit: SHOWN, signal });
    this.#receivers.replaceChildren(...subscriptions.map((each) => this.#receiver(each)));
    this.#rows.replaceChildren(...data.map((each) => this.#delivery(each)));
    const waiting = subscriptions.reduce((sum, each) => sum + each.waiting, 0);
    const dead = subscriptions.reduce((sum, each) => sum + each.dead, 0);
    const text = join([waiting && `${number(waiting)} waiting`, dead && `${number(dead)} failed`]);
    setText(field(this.#root, "total"), text || (subscriptions.length ? "Nothing waits" : ""));
    field(this.#root, "blank").hidden = subscriptions.length > 0;
    find("table", this.#root).hidden = data.length === 0;
  }

  #receiver(subscription) {
    const item = fromTemplate("receiver");
    const { name, describe, active, waiting, dead, done, away, oldestSeconds } = subscription;
    item.dataset.state = away ? "away" : dead ? "dead" : "ok";
    setText(field(item, "name"), name);
    setText(field(item, "describe"), active ? describe : `${describe}, no longer set`);
    const counts = [
      `${number(waiting)} waiting`,
      dead && `${number(dead)} failed`,
      `${number(done)} delivered`,
      waiting && oldestSeconds > 60 && `oldest ${Math.round(oldestSeconds / 60)} min`,
    ];
    setText(field(item, "counts"), join(counts));
    setText(field(item, "error"), away ? `Away since ${moment(away.since)}: ${away.error}` : "");
    const retry = find('[data-action="retry-all"]', item);
    retry.hidden = !dead && !away;
    retry.addEventListener("click", () =>
      this.#change("POST", `retry?${new URLSearchParams({ subscription: name })}`),
    );
    return item;
  }

  #delivery({ id, subscription, state, attempts, error, dueAt, queuedAt, event }) {
    const row = fromTemplate("delivery");
    row.dataset.state = state;
    setText(field(row, "state"), STATES[state] ?? state);
    setText(field(row, "subscription"), subscription);
    const link = find("a", row);
    setText(link, kindText(event));
    link.href = studyHash(event.study_instance_uid);
    link.title = event.study_instance_uid;
    const due = Date.parse(dueAt ?? "") - Date.now();
    const next = state === "waiting" && due > 1000 ? `next try in ${Math.ceil(due / 1000)} s` : "";
    setText(field(row, "attempts"), join([count(attempts, "attempt"), next]));
    setText(field(row, "error"), error ?? "");
    const time = field(row, "time");
    setText(time, received(queuedAt));
    time.title = moment(queuedAt);
    const path = encodeURIComponent(id);
    const onClick = (action, run) =>
      find(`[data-action="${action}"]`, row).addEventListener("click", run);
    onClick("retry", () => this.#change("POST", `${path}/retry`));
    onClick("remove", () => this.#change("DELETE", path));
    return row;
  }

  async #change(method, path) {
    try {
      await changeQueue(method, path);
      await this.refresh();
    } catch (error) {
      this.#failed(error);
    }
  }
}
