// The node's HTTP interface. Addresses are relative to the page, so that it also works
// under a path of a reverse proxy.

import { sentence } from "./format.js";

const STUDIES = "api/dicom/studies";
const QUEUE = "api/queue";
const TRASH = "api/trash";

/** An answer that is no success, or no answer at all (`status` 0, code "unreachable"). */
export class ApiError extends Error {
  constructor(code, message, status) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === 0 || this.status === 429 || [502, 503, 504, 507].includes(this.status);
  }
}

/** Whether `error` only says that a request was given up on purpose. */
export const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";

async function request(path, signal, method = "GET") {
  try {
    // Revalidate always: the list must not be older than the node's answer.
    return await fetch(path, { method, signal, cache: "no-cache", credentials: "same-origin" });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError("unreachable", "The node does not answer.", 0);
  }
}

/** Codes whose message is for those who run the node, and what to say instead. */
const WORDS = { "index-unavailable": "The node's database does not answer." };

/** Turn the body of a failed answer into an error. */
export function errorFrom(body, status) {
  let error;
  try {
    ({ error } = JSON.parse(body));
  } catch {
    error = undefined; // a proxy's page, say
  }
  const text = WORDS[error?.code] ?? sentence(error?.message ?? "");
  return new ApiError(
    error?.code ?? "error",
    text || `The node answered with status ${status}.`,
    status,
  );
}

async function getJson(path, signal) {
  const answer = await request(path, signal);
  if (!answer.ok) throw errorFrom(await answer.text(), answer.status);
  return answer.json();
}

async function change(method, path) {
  const answer = await request(path, undefined, method);
  if (!answer.ok) throw errorFrom(await answer.text(), answer.status);
}

/**
 * A page of studies, newest first: `{total, data}`.
 *
 * `filter` has `search` (free text), `modality` and `studyDate` ("YYYYMMDD-YYYYMMDD", either
 * end may be missing); empty ones do not count.
 */
export function listStudies(filter, { limit, offset, signal }) {
  const query = new URLSearchParams({ limit, offset });
  for (const [key, value] of Object.entries(filter)) if (value) query.set(key, value);
  return getJson(`${STUDIES}?${query}`, signal);
}

/** One study with its series and their instances. */
export async function getStudy(studyUid, signal) {
  return (await getJson(`${STUDIES}/${encodeURIComponent(studyUid)}`, signal)).data;
}

/** Where a study can be had as a ZIP file. */
export const archiveUrl = (studyUid) => `${STUDIES}/${encodeURIComponent(studyUid)}/archive`;

/** Address of a study's frame as a PNG; `index` counts from 0 over the whole study. */
export function frameUrl(studyUid, index, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const path = `${STUDIES}/${encodeURIComponent(studyUid)}/frames/${index}`;
  return query ? `${path}?${query}` : path;
}

/**
 * A decoded frame: an ImageBitmap with the PNG's own values, no colour management.
 *
 * Frames are asked for by their place in the study, and places move while a study arrives:
 * a picture of another instance than `sopInstanceUid` is an error with the code "moved".
 */
export async function fetchFrame(url, signal, sopInstanceUid) {
  const answer = await request(url, signal);
  if (!answer.ok) throw errorFrom(await answer.text(), answer.status);
  if (sopInstanceUid && answer.headers.get("X-SOP-Instance-UID") !== sopInstanceUid) {
    throw new ApiError("moved", "The study has changed meanwhile.", answer.status);
  }
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  return createImageBitmap(await answer.blob(), options);
}

/** The data set of an instance without its bulk data, in the DICOM JSON model (PS3.18 F.2). */
export async function getMetadata(studyUid, seriesUid, sopInstanceUid) {
  const names = ["studies", studyUid, "series", seriesUid, "instances", sopInstanceUid];
  const path = names.map(encodeURIComponent).join("/");
  return (await getJson(`dicom-web/${path}/metadata`))[0];
}

/** Keywords of the data dictionary (PS3.6) by tag, `{"00100010": "PatientName"}`. */
export async function getDictionary() {
  return (await getJson("api/dicom/dictionary")).data;
}

/** The node's own account of itself; a 503 is an account too. */
export async function getHealth(signal) {
  const answer = await request("health", signal);
  try {
    return { ok: answer.ok, ...(await answer.json()) };
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError("error", `The node answered with status ${answer.status}.`, answer.status);
  }
}

/** What waits to be delivered, or could not be: `{data, subscriptions}`. */
export const getQueue = ({ limit, signal }) =>
  getJson(`${QUEUE}?state=waiting,dead&limit=${limit}`, signal);

/** Try a delivery again (POST), or forget it (DELETE). */
export const changeQueue = (method, path) => change(method, `${QUEUE}/${path}`);

/** What happened after number `since`, oldest first; without one, what happened last. */
export async function getEvents({ since, limit, signal }) {
  const query = new URLSearchParams(since ? { since, limit } : { limit });
  return (await getJson(`api/events?${query}`, signal)).data;
}

/** What was deleted and can be had back: `{data, bytes}`. */
export const getTrash = (signal) => getJson(TRASH, signal);

/** Undo a deletion. */
export const restoreFromTrash = (id) => change("POST", `${TRASH}/${encodeURIComponent(id)}/restore`);

/** Who sent files over HTTP, newest first. */
export const getUploads = async ({ limit, signal }) =>
  (await getJson(`api/uploads?limit=${limit}`, signal)).data;

/** Where files go: multipart form data, field `file`. */
export const UPLOAD_URL = "api/dicom/upload";
