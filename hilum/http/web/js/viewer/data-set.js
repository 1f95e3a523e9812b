// A data set in the DICOM JSON model (PS3.18 F.2) as the lines of a table.
import { bytes } from "../format.js";

const ITEM = "FFFEE000";

/**
 * Return its attributes as `{tag, keyword, vr, text, depth}`, items of sequences below them.
 *
 * @param keywords - by tag; repeating groups as "60xx3000".
 */
export function linesOf(dataSet, keywords, depth = 0) {
  return Object.keys(dataSet)
    .sort()
    .flatMap((tag) => {
      const attribute = dataSet[tag];
      const { vr } = attribute;
      const line = { tag, keyword: keywordOf(tag, keywords), vr, depth, text: textOf(attribute) };
      return vr === "SQ" ? [line, ...itemsOf(attribute, keywords, depth + 1)] : [line];
    });
}

function itemsOf({ Value = [] }, keywords, depth) {
  return Value.flatMap((item, index) => [
    { tag: ITEM, keyword: `Item ${index + 1}`, vr: "", depth, text: "" },
    ...linesOf(item ?? {}, keywords, depth + 1),
  ]);
}

function keywordOf(tag, keywords) {
  const repeating = `${tag.slice(0, 2)}xx${tag.slice(4)}`;
  const known = keywords[tag] ?? keywords[repeating];
  if (known) return known;
  const isPrivate = Number.parseInt(tag.slice(0, 4), 16) % 2 === 1;
  return isPrivate ? "Private" : "";
}

function textOf({ vr, Value, BulkDataURI, InlineBinary }) {
  if (vr === "SQ") return Value?.length === 1 ? "1 item" : `${Value?.length ?? 0} items`;
  if (BulkDataURI !== undefined) return "bulk data";
  if (InlineBinary !== undefined) return bytes(Math.floor((InlineBinary.length * 3) / 4));
  return (Value ?? []).map((value) => valueText(vr, value)).join(" \\ ");
}

function valueText(vr, value) {
  if (value === null) return "";
  if (vr !== "PN") return String(value);
  const { Alphabetic = "", Ideographic = "", Phonetic = "" } = value;
  return [Alphabetic, Ideographic, Phonetic].join("=").replace(/=+$/, "");
}

/** "00100010" as "(0010,0010)". */
export const tagText = (tag) => (tag === ITEM ? "" : `(${tag.slice(0, 4)},${tag.slice(4)})`);

/** Those of `lines` that have every word of `text` in tag, keyword or value. */
export function matching(lines, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return lines;
  return lines.filter((line) => {
    const searched = [line.tag, tagText(line.tag), line.keyword, line.text].join(" ").toLowerCase();
    return words.every((word) => searched.includes(word));
  });
}
