// Ways for files to get in: drop them anywhere, or choose them.
import { find } from "../dom.js";
import { entriesOf, filesIn, filesOf } from "./dropped.js";

/** Offer dropping and choosing files; `add` takes an (async) iterable of `{file, path}`. */
export function offerIntake(add) {
  watchDrops(find("#drop"), add);
  const choice = find("#upload-choice");
  for (const kind of ["file", "folder"]) {
    const input = find(`#${kind}-input`);
    input.addEventListener("change", () => {
      add([...filesOf(input)]);
      input.value = ""; // the same files may be chosen again
    });
    find(`[data-action="choose-${kind === "file" ? "files" : "folder"}"]`, choice).addEventListener(
      "click",
      () => {
        choice.close();
        input.click();
      },
    );
  }
}

function watchDrops(overlay, add) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) overlay.hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    overlay.hidden = true;
    add(filesIn(entriesOf(event.dataTransfer)));
  });
}
