// The series of a study, down the left side.
import { frameUrl } from "../api.js";
import { field, find, fromTemplate, setText } from "../dom.js";
import * as format from "../format.js";
import { showThumbnail, thumbnailSize } from "../thumbnail.js";
import { SERIES_TYPE } from "./grid.js";
import { seriesNumber, seriesTitle } from "./overlay.js";

export class Rail {
  #list;
  #chosen;

  /** @param chosen - called with the Series Instance UID somebody chose. */
  constructor(list, chosen) {
    this.#list = list;
    this.#chosen = chosen;
  }

  show(study) {
    const known = new Map([...this.#list.children].map((item) => [item.dataset.seriesUid, item]));
    const items = study.series.map((series) => {
      const item = known.get(series.seriesInstanceUID) ?? this.#newItem(series);
      fill(item, study, series);
      return item;
    });
    if (items.some((item, index) => item !== this.#list.children[index]) || !items.length) {
      this.#list.replaceChildren(...items);
    }
  }

  /** Mark the series of the active viewport, and those of the others. */
  mark(seriesUid, shown) {
    for (const item of this.#list.children) {
      const current = item.dataset.seriesUid === seriesUid;
      item.toggleAttribute("data-shown", shown.includes(item.dataset.seriesUid));
      const button = find("button", item);
      if (current && button.getAttribute("aria-current") !== "true") {
        item.scrollIntoView({ block: "nearest" });
      }
      button.setAttribute("aria-current", String(current));
    }
  }

  clear() {
    this.#list.replaceChildren();
  }

  #newItem(series) {
    const item = fromTemplate("series-item");
    item.dataset.seriesUid = series.seriesInstanceUID;
    find("button", item).addEventListener("click", () => this.#chosen(series.seriesInstanceUID));
    item.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData(SERIES_TYPE, series.seriesInstanceUID);
      event.dataTransfer.effectAllowed = "copy";
    });
    return item;
  }
}

function fill(item, study, series) {
  setText(field(item, "description"), seriesTitle(series));
  setText(field(item, "number"), seriesNumber(series));
  setText(field(item, "count"), series.frameCount ? format.number(series.frameCount) : "");
  const badge = field(item, "modality");
  setText(badge, series.modality || "–");
  badge.dataset.modality = series.modality;
  find("button", item).title = format.join([
    seriesTitle(series),
    series.bodyPart,
    format.count(series.frameCount ?? 0, "image"),
  ]);
  // The middle of a stack says more of it than its first slice.
  const middle = series.firstFrame + Math.floor(series.frameCount / 2);
  const url = series.frameCount
    ? frameUrl(study.studyInstanceUID, middle, thumbnailSize("rail"))
    : null;
  showThumbnail(find(".thumbnail", item), url);
}
