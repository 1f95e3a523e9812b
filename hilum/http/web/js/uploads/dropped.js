// Files out of a drop or a folder, however deep, one by one: a folder of thousands must not
// hold up the page.

/** Left on discs and in folders by file systems; an index of a medium is no image either. */
const CLUTTER = new Set([".ds_store", "thumbs.db", "desktop.ini", "dicomdir"]);

/** Whether a file found inside a folder is worth sending. */
const isWorthSending = (name) => !CLUTTER.has(name.toLowerCase()) && !name.startsWith("._");

/**
 * The entries of a drop. To be called in the event's own handler: afterwards the browser
 * forgets them.
 */
export function entriesOf(transfer) {
  return [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
}

/** Yield `{file, path}` for every file among `entries` and below them. */
export async function* filesIn(entries) {
  for (const { entry, file } of entries) {
    if (entry?.isDirectory) yield* below(entry);
    else if (file) yield { file, path: file.name };
  }
}

async function* below(folder) {
  const reader = folder.createReader();
  for (;;) {
    // A reader hands out a hundred entries or so a call, and none at the end.
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return;
    for (const entry of batch) {
      if (entry.isDirectory) yield* below(entry);
      else if (isWorthSending(entry.name)) {
        const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
        yield { file, path: entry.fullPath.replace(/^\//, "") };
      }
    }
  }
}

/** Yield `{file, path}` for the files of an `<input type=file>`. */
export function* filesOf(input) {
  for (const file of input.files) {
    const path = file.webkitRelativePath || file.name;
    if (!file.webkitRelativePath || isWorthSending(file.name)) yield { file, path };
  }
}
