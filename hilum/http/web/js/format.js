// DICOM values as people read them. Every function takes what the node sends, which is
// what equipment sent: empty, padded and malformed values come out readable, never lost.

/**
 * A person name (PS3.5 6.2.1) as "FAMILY, Given Middle Suffix".
 *
 * `other` holds the ideographic and phonetic groups where they say something else. A name
 * that has no alphabetic group is shown by the first it has.
 */
export function personName(value) {
  const groups = (value ?? "").split("=").map((group, index) => readableName(group, index === 0));
  const shown = groups.findIndex((group) => group !== "");
  if (shown < 0) return { name: "", other: "" };
  const others = groups.slice(shown + 1).filter((group) => group && group !== groups[shown]);
  return { name: groups[shown], other: others.join(" · ") };
}

/** The comma marks the family name in alphabetic writing; other writing has it first anyway. */
function readableName(group, alphabetic) {
  const [family = "", given = "", middle = "", , suffix = ""] = group
    .split("^")
    .map((component) => component.trim());
  const rest = [given, middle, suffix].filter(Boolean).join(" ");
  return [family, rest].filter(Boolean).join(alphabetic ? ", " : " ");
}

/** "20260118" or "2026.01.18" (before DICOM 3.0) as "2026-01-18"; anything else as it is. */
export function date(value) {
  const match = /^(\d{4})[.-]?(\d{2})[.-]?(\d{2})$/.exec((value ?? "").trim());
  return match ? `${match[1]}-${match[2]}-${match[3]}` : (value ?? "").trim();
}

/** "084210.123", "0842" or "08" as "08:42" or "08"; anything else as it is. */
export function time(value) {
  const match = /^(\d{2})(?::?(\d{2}))?/.exec((value ?? "").trim());
  if (!match) return (value ?? "").trim();
  return match[2] ? `${match[1]}:${match[2]}` : match[1];
}

/** Age on `day` ("YYYYMMDD", else today) of a person born on `birth`: "55 y", "7 mo", "12 d". */
export function age(birth, day) {
  const born = calendarDay(birth);
  const then = calendarDay(day) ?? new Date();
  if (!born || then < born) return "";
  const days = Math.floor((then - born) / 86_400_000);
  let months = (then.getFullYear() - born.getFullYear()) * 12 + then.getMonth() - born.getMonth();
  if (then.getDate() < born.getDate()) months -= 1;
  if (months >= 24) return `${Math.floor(months / 12)} y`;
  return months >= 2 ? `${months} mo` : `${days} d`;
}

function calendarDay(value) {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(date(value));
  return match ? new Date(Number(match[1]), Number(match[2]) - 1, Number(match[3])) : null;
}

/** A moment as "14 min ago" while that says more than a date, then as a date. */
export function received(iso, now = Date.now()) {
  const moment = Date.parse(iso ?? "");
  if (Number.isNaN(moment)) return "";
  const minutes = Math.floor((now - moment) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return localDate(new Date(moment));
}

/** A moment as local date and time, for tooltips. */
export function moment(iso) {
  const then = new Date(iso ?? "");
  if (Number.isNaN(then.getTime())) return "";
  return `${localDate(then)} ${two(then.getHours())}:${two(then.getMinutes())}`;
}

/** A local day as "2026-01-18". */
export function localDate(day) {
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
}

const two = (number) => String(number).padStart(2, "0");

/** 1234567 as "1,234,567". */
export const number = (value) => new Intl.NumberFormat("en").format(value ?? 0);

/** "1 image", "120 images"; "3 studies" where the plural is not regular. */
export const count = (value, noun, plural = `${noun}s`) =>
  `${number(value)} ${value === 1 ? noun : plural}`;

/** A size as "512 B", "1.4 MB", "12 GB" (powers of 1000, as file managers count). */
export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = size;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A window's centre and width, as precise as the width makes it matter. */
export function windowText({ center, width }) {
  const digits = width >= 100 ? 0 : width >= 10 ? 1 : 3;
  const text = (value) => String(Number(value.toFixed(digits)));
  return `C ${text(center)} W ${text(width)}`;
}

/** A message of the node ("no such study") as a sentence. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const ended = /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended[0].toUpperCase() + ended.slice(1);
}

/** Join what there is of `parts`. */
export const join = (parts, separator = " · ") => parts.filter(Boolean).join(separator);
