// Where the page is, kept in the address: "#/?search=doe" is the list of studies,
// "#/studies/<UID>?series=<UID>&image=12" the viewer, "#/activity" what the node does. A link
// can be kept and passed on.

/** Return `{page, studyUid, query}` for an address's hash. */
function parseHash(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?", 2);
  const parameters = new URLSearchParams(query);
  if (path === "/activity") return { page: "activity", studyUid: null, query: parameters };
  const match = /^\/studies\/([^/]+)$/.exec(path);
  if (!match) return { page: "studies", studyUid: null, query: parameters };
  return { page: "viewer", studyUid: decodeOrKeep(match[1]), query: parameters };
}

function decodeOrKeep(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray percent sign: the node will know no such study
  }
}

export function studiesHash(parameters = {}) {
  return `#/${queryOf(parameters)}`;
}

export function studyHash(studyUid, parameters = {}) {
  return `#/studies/${encodeURIComponent(studyUid)}${queryOf(parameters)}`;
}

function queryOf(parameters) {
  const filled = Object.entries(parameters).filter(([, value]) => value);
  return filled.length ? `?${new URLSearchParams(filled)}` : "";
}

/** Change the address without a new entry in the history and without a route event. */
export function replaceHash(hash) {
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

/** Call `show` with the present route, and again whenever it changes. */
export function onRoute(show) {
  const route = () => show(parseHash(location.hash));
  addEventListener("hashchange", route);
  route();
}
